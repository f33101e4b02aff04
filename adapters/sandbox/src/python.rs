//! The module that is checked in.

use std::io::Read as _;

use sha2::{Digest as _, Sha256};

use crate::NotReady;

const COMPRESSED: &[u8] = include_bytes!("../python/python.wasm.zst");
/// What `python/build.sh` prints of `python.wasm`.
const SHA256: &str = include_str!("../python/python.wasm.sha256");

/// The module, decompressed and checked.
pub(crate) fn module() -> Result<Vec<u8>, NotReady> {
    let broken = |error: String| NotReady(format!("the interpreter's module is broken: {error}"));
    let mut reader =
        ruzstd::decoding::StreamingDecoder::new(COMPRESSED).map_err(|e| broken(e.to_string()))?;
    let mut module = Vec::new();
    reader.read_to_end(&mut module).map_err(|error| broken(error.to_string()))?;
    let sum: String =
        Sha256::digest(&module).iter().fold(String::new(), |sum, byte| sum + &format!("{byte:02x}"));
    if sum != SHA256.trim() {
        return Err(broken(format!("its SHA-256 is {sum}")));
    }
    Ok(module)
}
