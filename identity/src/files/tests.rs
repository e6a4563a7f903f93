//! Credentials in a real folder: written, read, half written, and readable by too many.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;

use cluster::ClusterId;

use super::*;
use crate::authority::Authority;
use crate::grant::{Grant, KeyRequest, SigningRequest};
use crate::peer::Who;

const NOW_US: i64 = 1_893_456_000_000_000;

struct Bed {
    folder: tempfile::TempDir,
    files: CredentialFiles,
    authority: Authority,
}

impl Bed {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::create(ClusterId::from_bytes([1; 16]), NOW_US).unwrap();
        Self { files: CredentialFiles::new(folder.path()), folder, authority }
    }

    fn issue(&self) -> StoredCredentials {
        let made = KeyRequest::make().unwrap();
        let grant = Grant { who: Who::Node("data-1".parse().unwrap()), hosts: BTreeSet::new() };
        let request = SigningRequest::check(made.request()).unwrap();
        let issued = self.authority.sign(&request, &grant, NOW_US).unwrap();
        let bundle = Bundle::new([self.authority.certificate().clone()]).unwrap();
        StoredCredentials { chain: issued.chain, key: made.private_key(), bundle }
    }

    fn serial(&self) -> String {
        self.files.load().unwrap().unwrap().facts().serial.clone()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn mode(&self, name: &str) -> u32 {
        fs::metadata(self.path(name)).unwrap().permissions().mode() & 0o777
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn what_is_stored_is_loaded_and_what_is_secret_is_the_owners() {
    let bed = Bed::new();
    assert!(bed.files.load().unwrap().is_none());
    let first = bed.files.store(&bed.issue()).unwrap().facts().serial.clone();
    assert_eq!(bed.serial(), first);
    assert_eq!((bed.mode("ca.pem"), bed.mode("node.pem"), bed.mode("node.key")), (0o644, 0o644, 0o600));

    let second = bed.files.store(&bed.issue()).unwrap().facts().serial.clone();
    assert_eq!(bed.serial(), second);
    assert_ne!(first, second);
    assert_eq!(fs::read_dir(bed.folder.path()).unwrap().count(), 3, "nothing is left beside them");
}

#[test]
fn a_stop_at_any_step_of_a_renewal_leaves_a_pair() {
    let bed = Bed::new();
    let old = bed.files.store(&bed.issue()).unwrap().facts().serial.clone();
    let state: Vec<_> =
        ["node.pem", "node.key"].iter().map(|name| fs::read(bed.path(name)).unwrap()).collect();
    let new = bed.files.store(&bed.issue()).unwrap().facts().serial.clone();
    let renewed: Vec<_> =
        ["node.pem", "node.key"].iter().map(|name| fs::read(bed.path(name)).unwrap()).collect();
    let arrange = |certificate: &[u8], key: &[u8], beside: &[(&str, &[u8])]| {
        fs::write(bed.path("node.pem"), certificate).unwrap();
        fs::write(bed.path("node.key"), key).unwrap();
        for (name, bytes) in beside {
            fs::write(bed.path(name), bytes).unwrap();
            set_mode(&bed.path(name), 0o600);
        }
    };
    // Stopped before the moves: what is beside does not count yet, whole or not.
    arrange(&state[0], &state[1], &[("node.key.new", &renewed[1][..10])]);
    assert_eq!(bed.serial(), old);
    arrange(&state[0], &state[1], &[("node.key.new", &renewed[1]), ("node.pem.new", &renewed[0])]);
    assert_eq!(bed.serial(), old);
    // Stopped between the moves: the certificate beside belongs to the key, and is moved in.
    arrange(&state[0], &renewed[1], &[("node.pem.new", &renewed[0])]);
    assert_eq!(bed.serial(), new);
    assert!(!bed.path("node.pem.new").exists());
    assert_eq!(bed.serial(), new);
    // The same for the first pair there ever was.
    fs::rename(bed.path("node.pem"), bed.path("node.pem.new")).unwrap();
    assert_eq!(bed.serial(), new);
    // What is left over is in nobody's way.
    fs::write(bed.path("node.key.new"), "x").unwrap();
    bed.files.store(&bed.issue()).unwrap();
}

#[test]
fn a_key_of_another_certificate_is_refused_before_anything_changes() {
    let bed = Bed::new();
    let serial = bed.files.store(&bed.issue()).unwrap().facts().serial.clone();
    let mixed = StoredCredentials { key: bed.issue().key, ..bed.issue() };
    assert!(matches!(bed.files.store(&mixed), Err(FilesError::Unusable { source: TlsError::Mismatch, .. })));
    assert_eq!(bed.serial(), serial);
    fs::write(bed.path("node.key"), pem("PRIVATE KEY", mixed.key.secret_der())).unwrap();
    assert!(matches!(bed.files.load(), Err(FilesError::Unusable { source: TlsError::Mismatch, .. })));
}

#[test]
fn secrets_that_everybody_may_read_are_refused() {
    let bed = Bed::new();
    bed.files.store(&bed.issue()).unwrap();
    bed.files.store_sealing_key(&SealingKey::random().unwrap()).unwrap();
    bed.files.store_admin_token(&OperatorToken::random().unwrap()).unwrap();
    for name in ["node.key", "sealing.key", "admin.token"] {
        assert_eq!(bed.mode(name), 0o600, "{name}");
        set_mode(&bed.path(name), 0o644);
    }
    let refused = |error: FilesError| matches!(error, FilesError::ReadableByOthers { mode: 0o644, .. });
    assert!(refused(bed.files.load().unwrap_err()));
    assert!(refused(bed.files.sealing_key().unwrap_err()));
    assert!(refused(CredentialFiles::token(&bed.files.admin_token_path()).unwrap_err()));
    set_mode(&bed.path("node.key"), 0o640);
    assert!(bed.files.load().is_ok(), "a group may");
}

#[test]
fn keys_and_tokens_read_back() {
    let bed = Bed::new();
    let (key, token) = (SealingKey::random().unwrap(), OperatorToken::random().unwrap());
    bed.files.store_sealing_key(&key).unwrap();
    bed.files.store_admin_token(&token).unwrap();
    assert_eq!(bed.files.sealing_key().unwrap(), key);
    assert_eq!(CredentialFiles::token(&bed.files.admin_token_path()).unwrap(), token);

    fs::write(bed.path("sealing.key"), "00").unwrap();
    assert!(matches!(bed.files.sealing_key(), Err(FilesError::Content { .. })));
    fs::write(bed.path("admin.token"), "gpt1.x").unwrap();
    assert!(matches!(CredentialFiles::token(&bed.path("admin.token")), Err(FilesError::Token { .. })));
}

#[test]
fn what_is_missing_is_named() {
    let bed = Bed::new();
    bed.files.store(&bed.issue()).unwrap();
    for name in ["node.pem", "node.key"] {
        let bytes = fs::read(bed.path(name)).unwrap();
        fs::remove_file(bed.path(name)).unwrap();
        let error = bed.files.load().unwrap_err();
        assert!(matches!(&error, FilesError::Incomplete { path } if path.ends_with(name)), "{error:?}");
        fs::write(bed.path(name), bytes).unwrap();
        set_mode(&bed.path(name), 0o600);
    }
    // An operator's folder has the authorities alone.
    fs::remove_file(bed.path("node.pem")).unwrap();
    fs::remove_file(bed.path("node.key")).unwrap();
    assert!(bed.files.load().unwrap().is_none());
    assert_eq!(bed.files.bundle().unwrap().certificates().len(), 1);
}

#[test]
fn the_key_of_an_attempt_to_join_is_used_again_until_it_succeeds() {
    let folder = tempfile::tempdir().unwrap();
    let files = CredentialFiles::new(folder.path());
    let key = |request: &KeyRequest| SigningRequest::check(request.request()).unwrap().public_key().to_vec();
    let first = files.joining_key().unwrap();
    assert_eq!(key(&files.joining_key().unwrap()), key(&first));
    fs::write(folder.path().join("joining.key"), "no key").unwrap();
    assert!(matches!(files.joining_key(), Err(FilesError::Content { .. })));
    fs::remove_file(folder.path().join("joining.key")).unwrap();
    assert_ne!(key(&files.joining_key().unwrap()), key(&first));
}
