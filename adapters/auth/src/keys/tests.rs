//! PEM, thumbprints, key files, and what `Debug` shows.

use std::collections::HashSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use super::*;
use crate::testing::{block, private_pem, public_pem};

/// A private key as PEM, and its public half.
fn another() -> (String, String) {
    let key = random_key().unwrap();
    let mut spki = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00".to_vec();
    spki.extend(key.verifying_key().as_bytes());
    let public = block("PUBLIC KEY", &base64ct::Base64::encode_string(&spki));
    (pem::write(&key).to_string(), public)
}

fn kids(keys: &SigningKeys) -> Vec<String> {
    keys.jwks().keys.into_iter().map(|key| key.kid).collect()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// A file that has `text` in it and is the owner's alone.
fn private_file(folder: &Path, text: impl AsRef<[u8]>) -> std::path::PathBuf {
    let path = folder.join("keys.pem");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    path
}

#[test]
fn the_thumbprint_is_that_of_rfc_8037() {
    let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    assert_eq!(thumbprint(x), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
}

#[test]
fn keys_are_read_as_openssl_writes_them() {
    let keys = SigningKeys::from_pem(&private_pem()).unwrap();
    let published = keys.jwks().keys;
    assert_eq!(published.len(), 1);
    assert_eq!(published[0].x, "Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE");
    assert_eq!(keys.signing().1, published[0].kid);

    let padded = format!("\r\n\n{}\n \n", private_pem().replace('\n', "\r\n"));
    assert_eq!(kids(&SigningKeys::from_pem(&padded).unwrap()), kids(&keys));
    // A public key is as good as a private one for verifying.
    let twice = format!("{}{}", private_pem(), public_pem());
    assert_eq!(kids(&SigningKeys::from_pem(&twice).unwrap()), kids(&keys));
}

#[test]
fn what_is_written_can_be_read() {
    let key = random_key().unwrap();
    let Ok([pem::Key::Private(read)]) =
        pem::parse(&pem::write(&key)).map(|keys| <[_; 1]>::try_from(keys).ok().unwrap())
    else {
        panic!("one private key");
    };
    assert_eq!(read, key);
}

#[test]
fn s11_the_first_key_signs_and_all_are_published() {
    let ((next, next_public), (_, old_public)) = (another(), another());
    let announced = SigningKeys::from_pem(&format!("{}{next_public}{old_public}", private_pem())).unwrap();
    assert_eq!(kids(&announced).len(), 3);
    let switched = SigningKeys::from_pem(&format!("{next}{}{old_public}", public_pem())).unwrap();
    assert_eq!(switched.signing().1, kids(&announced)[1]);
    assert_eq!(
        kids(&switched).into_iter().collect::<HashSet<_>>(),
        kids(&announced).into_iter().collect::<HashSet<_>>()
    );
    for kid in kids(&switched) {
        assert_eq!(switched.accepted(&kid).unwrap().kid, kid);
    }
    assert!(switched.accepted("").is_none());
}

#[test]
fn the_key_set_is_json_as_in_rfc_8037_and_has_no_private_member() {
    let json = serde_json::to_value(SigningKeys::from_pem(&private_pem()).unwrap().jwks()).unwrap();
    let expected = serde_json::json!({ "keys": [{
        "kty": "OKP",
        "crv": "Ed25519",
        "x": "Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE",
        "kid": thumbprint("Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE"),
        "alg": "EdDSA",
        "use": "sig",
    }] });
    assert_eq!(json, expected);
}

#[test]
fn what_is_no_ed25519_key_is_refused() {
    let good = private_pem();
    let body = good.lines().nth(1).unwrap();
    let neutral = {
        let mut spki = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00\x01".to_vec();
        spki.resize(44, 0);
        block("PUBLIC KEY", &base64ct::Base64::encode_string(&spki))
    };
    let malformed = [
        "secret".to_owned(),
        good.replace("PRIVATE", "RSA PRIVATE"),
        good.replace("END PRIVATE", "END PUBLIC"),
        good.replace(body, &body[..60]),
        good.replace(body, &format!("{body}AAAA")),
        good.replace(body, ""),
        good.replace("MC4CAQAw", "MC4CAQEw"),
        good.lines().take(2).collect::<Vec<_>>().join("\n"),
        format!("{good}{}", public_pem().replace("AyEA", "AyEB")),
        format!("{good}trailing\n"),
        format!("leading\n{good}"),
        block("PUBLIC KEY", body),
        block("CERTIFICATE", body),
        // A key of small order.
        format!("{good}{neutral}"),
    ];
    for text in malformed {
        assert!(matches!(SigningKeys::from_pem(&text), Err(KeyError::Malformed)), "{text}");
    }
    assert!(matches!(SigningKeys::from_pem(""), Err(KeyError::NoSigningKey)));
    assert!(matches!(SigningKeys::from_pem(&public_pem()), Err(KeyError::NoSigningKey)));
    let first_public = format!("{}{good}", another().1);
    assert!(matches!(SigningKeys::from_pem(&first_public), Err(KeyError::NoSigningKey)));

    let full = (0..SigningKeys::MAX_KEYS).map(|_| another().0).collect::<String>();
    assert_eq!(kids(&SigningKeys::from_pem(&full).unwrap()).len(), SigningKeys::MAX_KEYS);
    assert!(full.len() < SigningKeys::MAX_FILE_BYTES);
    assert!(matches!(SigningKeys::from_pem(&(full + &good)), Err(KeyError::TooMany)));
}

#[test]
fn a_key_is_made_once_and_is_for_its_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.pem");
    assert!(
        matches!(SigningKeys::load(&path), Err(KeyError::Io(error)) if error.kind() == io::ErrorKind::NotFound)
    );

    let made = SigningKeys::load_or_generate(&path).unwrap();
    assert_eq!(mode(&path), 0o600);
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(kids(&SigningKeys::load_or_generate(&path).unwrap()), kids(&made));
    assert_eq!(kids(&SigningKeys::load(&path).unwrap()), kids(&made));
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left");

    let other = SigningKeys::load_or_generate(&folder.path().join("other.pem")).unwrap();
    assert_ne!(kids(&other), kids(&made));
}

#[test]
fn a_file_that_others_can_reach_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = private_file(folder.path(), private_pem());
    for allowed in [0o600, 0o400, 0o700] {
        fs::set_permissions(&path, Permissions::from_mode(allowed)).unwrap();
        assert!(SigningKeys::load(&path).is_ok(), "{allowed:o}");
    }
    for refused in [0o640, 0o620, 0o610, 0o604, 0o602, 0o601, 0o644, 0o666] {
        fs::set_permissions(&path, Permissions::from_mode(refused)).unwrap();
        for result in [SigningKeys::load(&path), SigningKeys::load_or_generate(&path)] {
            assert!(
                matches!(result, Err(KeyError::ReadableByOthers { mode }) if mode == refused),
                "{refused:o}"
            );
        }
        assert_eq!(mode(&path), refused);
    }
    // It is the file that counts, not a link to it.
    let link = folder.path().join("link");
    symlink(&path, &link).unwrap();
    assert!(matches!(SigningKeys::load(&link), Err(KeyError::ReadableByOthers { .. })));
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    assert!(SigningKeys::load(&link).is_ok());
}

#[test]
fn a_file_without_keys_is_refused_and_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    for text in [&b""[..], b"\xff\xfe", b"not a key\n"] {
        let path = private_file(folder.path(), text);
        let refused = SigningKeys::load_or_generate(&path);
        assert!(matches!(refused, Err(KeyError::Malformed | KeyError::NoSigningKey)), "{refused:?}");
        assert_eq!(fs::read(&path).unwrap(), text);
    }
    let padding = "\n".repeat(SigningKeys::MAX_FILE_BYTES - private_pem().len());
    let longest = private_pem() + &padding;
    assert!(SigningKeys::load(&private_file(folder.path(), &longest)).is_ok());
    let too_long = private_file(folder.path(), longest + "\n");
    assert!(matches!(SigningKeys::load(&too_long), Err(KeyError::TooLong)));
}

#[test]
fn a_folder_that_is_not_there_and_a_link_to_nowhere_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("link");
    symlink(folder.path().join("nowhere"), &link).unwrap();
    for path in [folder.path().join("missing/keys.pem"), link, folder.path().join("..")] {
        assert!(SigningKeys::load_or_generate(&path).is_err(), "{}", path.display());
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left");
}

#[test]
fn servers_that_start_at_once_agree_on_one_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.pem");
    let start = std::sync::Barrier::new(8);
    let made: HashSet<Vec<String>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    start.wait();
                    kids(&SigningKeys::load_or_generate(&path).unwrap())
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(made.len(), 1);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left");
}

#[test]
fn s16_nothing_private_is_printed() {
    let text = private_pem();
    let keys = SigningKeys::from_pem(&text).unwrap();
    let shown = format!("{keys:?}");
    assert!(shown.contains(&kids(&keys)[0]), "{shown}");
    let secret = text.lines().nth(1).unwrap();
    // The last characters of the body are the last bytes of the key.
    let tail = &secret[secret.len() - 16..];
    assert!(!shown.contains(tail) && !shown.contains("212, 238"), "{shown}");
    let wrong = text.replace("MC4C", "MC5C");
    let error = SigningKeys::from_pem(&wrong).unwrap_err();
    assert!(!format!("{error:?} {error}").contains(tail));
}
