//! The key file: for its owner alone, and never half written.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::{KeyError, SigningKeys, pem, random_key};

/// All that the owner's group and others could be allowed.
const OTHERS: u32 = 0o077;

impl SigningKeys {
    /// The keys in a file, unless others than its owner have access to it.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let text = read_private(path, Self::MAX_FILE_BYTES)?;
        Self::from_pem(std::str::from_utf8(&text).map_err(|_| KeyError::Malformed)?)
    }

    /// The keys in a file, with a new key in it if there is none: for development and for a single server.
    ///
    /// Replicas that each made a key of their own refuse each other's tokens: give them one file and use
    /// [`load`](Self::load). The file's folder has to be there. Of several processes that start at once, all use the
    /// same key.
    pub fn load_or_generate(path: &Path) -> Result<Self, KeyError> {
        match Self::load(path) {
            Err(KeyError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
                create(path, &pem::write(&random_key()?))?;
                Self::load(path)
            }
            loaded => loaded,
        }
    }
}

/// What is in a file of at most so many bytes, unless others than its owner have access to it.
pub(crate) fn read_private(path: &Path, most: usize) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let file = File::open(path)?;
    // The opened file is asked, not the path: nobody can swap one for the other in between.
    let mode = file.metadata()?.permissions().mode() & 0o777;
    if mode & OTHERS != 0 {
        return Err(KeyError::ReadableByOthers { mode });
    }
    // Larger than what is read, so that it does not grow and leave a copy behind.
    let mut text = Zeroizing::new(Vec::with_capacity(2 * most));
    let limit = u64::try_from(most).unwrap_or(u64::MAX);
    file.take(limit + 1).read_to_end(&mut text)?;
    if text.len() > most { Err(KeyError::TooLong) } else { Ok(text) }
}

/// Puts a file there, whole, if there is none.
pub(crate) fn create(path: &Path, text: &str) -> Result<(), KeyError> {
    let draft = draft(path)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    // Unlike a rename, a link replaces nothing.
    let linked = written.and_then(|()| match std::fs::hard_link(&draft, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    });
    std::fs::remove_file(&draft)?;
    linked?;
    File::open(folder(path))?.sync_all()?;
    Ok(())
}

/// Puts a file in the place of the one that is there, whole.
pub(crate) fn replace(path: &Path, text: &str) -> Result<(), KeyError> {
    let draft = draft(path)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    if let Err(error) = written.and_then(|()| std::fs::rename(&draft, path)) {
        std::fs::remove_file(&draft)?;
        return Err(error.into());
    }
    File::open(folder(path))?.sync_all()?;
    Ok(())
}

/// A name beside `path` that no other process uses.
fn draft(path: &Path) -> Result<PathBuf, KeyError> {
    let unique = getrandom::u64().map_err(KeyError::Randomness)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{unique:016x}.new"));
    Ok(path.with_file_name(name))
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}
