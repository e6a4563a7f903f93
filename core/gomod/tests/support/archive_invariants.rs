//! Invariants of the readers of zips and of the checksum database's formats.

#![expect(clippy::unwrap_used, reason = "test code: what was read once must be readable again")]

use std::collections::BTreeMap;

use gomod::sumdb::{Lookup, SignerKey, Step, Tile, check_lookup, open_note};
use gomod::zip::{EntryDigests, PreHasher, go_mod, verify};
use gomod::{ModulePath, ModuleVersion, Version};

use super::Target;

pub(crate) const ZIP: Target = ("zip", zip);
pub(crate) const NOTE: Target = ("note", note);
pub(crate) const TILE: Target = ("tile", tile);
pub(crate) const LOOKUP: Target = ("lookup", lookup);

fn module_version() -> ModuleVersion {
    ModuleVersion::new(ModulePath::parse("a.b/c").unwrap(), Version::parse("v1.0.0").unwrap()).unwrap()
}

/// A zip is judged the same with and without a memo, however it was cut while it passed.
fn zip(data: &[u8]) {
    let mv = module_version();
    let outcome = verify(&data, &mv, &EntryDigests::default());
    assert!(go_mod(&data, &mv).is_ok() || outcome.is_err());
    let plain = format!("{outcome:?}");
    for chunk in [1, 64, data.len().max(1)] {
        let mut hasher = PreHasher::new();
        data.chunks(chunk).for_each(|chunk| hasher.push(chunk));
        assert_eq!(format!("{:?}", verify(&data, &mv, &hasher.finish())), plain);
    }
}

fn signer() -> SignerKey {
    SignerKey::from_seed("sum.example/db", &[1; 32]).unwrap()
}

/// Only the signer's own texts open, and each text can be signed so that it opens.
fn note(data: &[u8]) {
    let signer = signer();
    if let Ok(text) = open_note(data, signer.verifier()) {
        assert!(data.starts_with(text.as_bytes()));
        assert!(open_note(signer.sign(text).unwrap().as_bytes(), signer.verifier()) == Ok(text));
    }
}

/// A tile's path has one spelling.
fn tile(data: &[u8]) {
    let Ok(path) = std::str::from_utf8(data) else { return };
    if let Ok(tile) = Tile::parse(path) {
        assert_eq!(tile.to_string(), path);
        assert!(tile.completed().is_complete());
        assert!(tile.width() <= tile.completed().width());
    }
}

/// An answer comes apart and together again, and without tiles nothing is accepted.
fn lookup(data: &[u8]) {
    let none = BTreeMap::new();
    let Ok(lookup) = Lookup::parse(data) else { return };
    assert_eq!(Lookup::render(lookup.id, &lookup.record, &lookup.note), data);
    let mut words = lookup.record.split([' ', '\n']);
    let (Some(Ok(module)), Some(Ok(version))) =
        (words.next().map(ModulePath::parse), words.next().map(Version::parse))
    else {
        return;
    };
    let Ok(mv) = ModuleVersion::new(module, version) else { return };
    let outcome = check_lookup(data, &mv, signer().verifier(), None, &none);
    assert!(outcome.is_err(), "{outcome:?}");
    if matches!(outcome, Err(Step::Need(_))) {
        assert!(lookup.hashes(&mv).is_ok());
        assert!(open_note(lookup.note.as_bytes(), signer().verifier()).is_ok());
    }
}
