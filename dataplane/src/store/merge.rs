//! What a commit makes of a record: pure. The first bytes win.
//!
//! Invariant: parts that a version is bound to never change by a commit; it either adds or is refused whole.

use gomod::H1;
use gomod::dirhash::go_mod_h1;

use super::error::{CommitError, Part};
use super::types::{BlobId, Class, Patch, Verified, VersionRecord, ZipManifest};

/// The zip a patch brings, without its bytes.
#[derive(Clone, Debug)]
pub(super) struct Offered {
    pub(super) size: u64,
    pub(super) sha256: [u8; 32],
    pub(super) h1: H1,
}

/// What is to be done about the offered zip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ZipStep {
    /// None was offered, or the same is held.
    Nothing,
    /// It becomes held.
    Hold,
}

/// The record after the commit, still without the place of a newly held zip.
#[derive(Debug)]
pub(super) struct Merged {
    pub(super) record: VersionRecord,
    pub(super) step: ZipStep,
    /// False when the patch brought nothing new.
    pub(super) changed: bool,
}

/// Merges `patch` into what is stored; `offered` describes the patch's zip.
pub(super) fn merge(
    stored: Option<&VersionRecord>,
    patch: &Patch,
    offered: Option<&Offered>,
    now_us: i64,
) -> Result<Merged, CommitError> {
    let new = || VersionRecord { first_seen_us: now_us, ..VersionRecord::default() };
    let mut record = stored.cloned().unwrap_or_else(new);
    if stored.is_none_or(VersionRecord::is_stub) {
        record.origin.clone_from(&patch.origin);
    }
    merge_go_mod(&mut record, patch)?;
    let step = merge_zip(&mut record, offered)?;
    if record.info.is_none() {
        record.info.clone_from(&patch.info);
    }
    record.class = higher_class(record.class, patch.class);
    record.verified = vouched(stored, patch, offered, &record);
    let changed = step == ZipStep::Hold || stored != Some(&record);
    Ok(Merged { record, step, changed })
}

/// Whether somebody vouches for all that the record is bound to: for each part the one who vouched for the record before, or for the patch
/// that brings it. One part says nothing of the other.
fn vouched(
    stored: Option<&VersionRecord>,
    patch: &Patch,
    offered: Option<&Offered>,
    record: &VersionRecord,
) -> Verified {
    let before = stored.filter(|stored| stored.verified == Verified::ChecksumDatabase);
    let now = patch.verified == Verified::ChecksumDatabase;
    let go_mod = before.is_some_and(|before| before.go_mod_h1.is_some()) || now && patch.go_mod.is_some();
    let zip = before.is_some_and(|before| before.zip_h1.is_some()) || now && offered.is_some();
    let (binds_go_mod, binds_zip) = (record.go_mod_h1.is_some(), record.zip_h1.is_some());
    let is_vouched = (binds_go_mod || binds_zip) && (go_mod || !binds_go_mod) && (zip || !binds_zip);
    if is_vouched { Verified::ChecksumDatabase } else { Verified::Unchecked }
}

fn merge_go_mod(record: &mut VersionRecord, patch: &Patch) -> Result<(), CommitError> {
    if let Some(belonging) = patch.go_mod_h1 {
        bind_go_mod(record, belonging)?;
    }
    let Some(go_mod) = &patch.go_mod else { return Ok(()) };
    if record.go_mod.as_ref() != Some(go_mod) {
        bind_go_mod(record, go_mod_h1(go_mod))?;
        record.go_mod = Some(go_mod.clone());
    }
    Ok(())
}

fn bind_go_mod(record: &mut VersionRecord, offered: H1) -> Result<(), CommitError> {
    match record.go_mod_h1 {
        Some(bound) if bound != offered => Err(CommitError::Conflict {
            part: Part::GoMod,
            stored: bound.to_string(),
            offered: offered.to_string(),
        }),
        _ => {
            record.go_mod_h1 = Some(offered);
            Ok(())
        }
    }
}

fn merge_zip(record: &mut VersionRecord, offered: Option<&Offered>) -> Result<ZipStep, CommitError> {
    let Some(offered) = offered else { return Ok(ZipStep::Nothing) };
    let conflict = |stored, offered| CommitError::Conflict { part: Part::Zip, stored, offered };
    match record.zip_h1 {
        Some(bound) if bound != offered.h1 => {
            return Err(conflict(bound.to_string(), offered.h1.to_string()));
        }
        _ => record.zip_h1 = Some(offered.h1),
    }
    match &record.zip {
        Some(held) if held.sha256 == offered.sha256 => Ok(ZipStep::Nothing),
        Some(held) => Err(conflict(sha256_text(&held.sha256), sha256_text(&offered.sha256))),
        None => {
            // The caller fills the place in; it is chosen under the lock of the blob's hash.
            record.zip = Some(ZipManifest {
                blob: BlobId(0),
                size: offered.size,
                sha256: offered.sha256,
                h1: offered.h1,
            });
            Ok(ZipStep::Hold)
        }
    }
}

fn higher_class(a: Class, b: Class) -> Class {
    let rank = |class| match class {
        Class::Cache => 0,
        Class::Retained => 1,
        Class::Published => 2,
    };
    if rank(b) > rank(a) { b } else { a }
}

/// `sha256:` and hexadecimal digits.
pub(super) fn sha256_text(sha256: &[u8; 32]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(71);
    text.push_str("sha256:");
    for byte in sha256 {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    fn offered(content: u8, packing: u8) -> Offered {
        Offered { size: 10, sha256: [packing; 32], h1: H1::from_bytes([content; 32]) }
    }

    fn patch(info: Option<&'static str>, go_mod: Option<&'static str>) -> Patch {
        Patch {
            info: info.map(|text| Bytes::from_static(text.as_bytes())),
            go_mod: go_mod.map(|text| Bytes::from_static(text.as_bytes())),
            origin: "origin".into(),
            ..Patch::default()
        }
    }

    #[test]
    fn a_zip_binds_the_go_mod_that_belongs_to_it() {
        let bound = Patch { go_mod_h1: Some(go_mod_h1(b"module a")), ..Patch::default() };
        let first = merge(None, &bound, None, 1).expect("merge").record;
        assert!(merge(Some(&first), &patch(None, Some("module a")), None, 2).is_ok());
        let refused = merge(Some(&first), &patch(None, Some("module b")), None, 2);
        assert!(matches!(refused, Err(CommitError::Conflict { part: Part::GoMod, .. })));
        let held = merge(None, &patch(None, Some("module b")), None, 1).expect("merge").record;
        assert!(merge(Some(&held), &bound, None, 2).is_err());
    }

    #[test]
    fn the_first_info_stays() {
        let first = merge(None, &patch(Some("a"), None), None, 1).expect("merge").record;
        let merged = merge(Some(&first), &patch(Some("b"), None), None, 2).expect("merge");
        assert_eq!(merged.record.info.as_deref(), Some(b"a".as_slice()));
        assert_eq!(merged.record.first_seen_us, 1);
        assert!(!merged.changed);
    }

    #[test]
    fn another_go_mod_is_a_conflict() {
        let first = merge(None, &patch(None, Some("module a\n")), None, 1).expect("merge").record;
        let result = merge(Some(&first), &patch(None, Some("module b\n")), None, 2);
        assert!(matches!(result, Err(CommitError::Conflict { part: Part::GoMod, .. })));
        assert!(!merge(Some(&first), &patch(None, Some("module a\n")), None, 2).expect("merge").changed);
    }

    #[test]
    fn who_vouches_for_one_part_does_not_vouch_for_the_other() {
        let by = |verified, patch: Patch| Patch { verified, ..patch };
        let (nobody, database) = (Verified::Unchecked, Verified::ChecksumDatabase);
        let go_mod = |verified| by(verified, patch(None, Some("module a\n")));
        let merged = |before: Option<&VersionRecord>, patch: &Patch, zip: bool| {
            merge(before, patch, zip.then(|| offered(1, 1)).as_ref(), 1).expect("merge").record
        };
        // The go.mod of whoever sent it, the zip as it is listed; and the other way round.
        let first = merged(None, &go_mod(nobody), false);
        let second = merged(Some(&first), &by(database, patch(None, None)), true);
        assert_eq!((first.verified, second.verified), (nobody, nobody));
        let first = merged(None, &by(nobody, patch(None, None)), true);
        let second = merged(Some(&first), &go_mod(database), false);
        assert_eq!((first.verified, second.verified), (nobody, nobody));
        // The same zip again, this time vouched for.
        let third = merged(Some(&second), &by(database, patch(None, None)), true);
        assert_eq!(third.verified, nobody, "the go.mod was vouched for by a commit that is past");
        let first = merged(None, &go_mod(database), false);
        let second = merged(Some(&first), &by(database, patch(Some("info"), None)), true);
        assert_eq!((first.verified, second.verified), (database, database));
        // What comes later from whom nobody vouches for.
        let other = merged(Some(&first), &by(nobody, patch(None, None)), true);
        assert_eq!(other.verified, nobody);
        assert_eq!(merged(Some(&second), &go_mod(nobody), false).verified, database, "it is the same go.mod");
    }

    #[test]
    fn an_evicted_zip_is_still_bound_to_its_h1() {
        let mut record = merge(None, &patch(None, None), Some(&offered(1, 1)), 1).expect("merge").record;
        record.zip = None;
        let other = merge(Some(&record), &patch(None, None), Some(&offered(2, 1)), 2);
        assert!(matches!(other, Err(CommitError::Conflict { part: Part::Zip, .. })));
        // The same content in another packing is the same content.
        let again = merge(Some(&record), &patch(None, None), Some(&offered(1, 9)), 2).expect("merge");
        assert_eq!(again.step, ZipStep::Hold);
    }

    #[test]
    fn a_stub_takes_in_the_same_content_as_new_and_no_other() {
        let first = merge(None, &patch(Some("a"), Some("module a\n")), Some(&offered(1, 1)), 1);
        let stub = first.expect("merge").record.stub().expect("nobody vouches for it");
        let other = merge(Some(&stub), &patch(None, None), Some(&offered(2, 1)), 2);
        assert!(matches!(other, Err(CommitError::Conflict { part: Part::Zip, .. })));
        let other = merge(Some(&stub), &patch(None, Some("module b\n")), None, 2);
        assert!(matches!(other, Err(CommitError::Conflict { part: Part::GoMod, .. })));
        let again = Patch { origin: "another".into(), ..patch(Some("b"), Some("module a\n")) };
        let Merged { record, step, changed } =
            merge(Some(&stub), &again, Some(&offered(1, 9)), 2).expect("merge");
        assert_eq!((step, changed), (ZipStep::Hold, true));
        assert_eq!((record.info.as_deref(), record.origin.as_str()), (Some(b"b".as_slice()), "another"));
        assert_eq!((record.first_seen_us, record.held_us), (1, None));
    }

    proptest! {
        /// Whatever is committed in whatever order, the bound hashes are those of the first commit.
        #[test]
        fn bindings_never_change(steps in proptest::collection::vec((0..3_u8, 0..3_u8, 0..3_u8), 1..12)) {
            let texts = ["module a\n", "module b\n"];
            let mut record: Option<VersionRecord> = None;
            for (go_mod, content, packing) in steps {
                let patch = patch(None, texts.get(usize::from(go_mod)).copied());
                let zip = (content < 2).then(|| offered(content, packing));
                let before = record.clone();
                if let Ok(merged) = merge(record.as_ref(), &patch, zip.as_ref(), 5) {
                    record = Some(merged.record);
                }
                if let (Some(before), Some(after)) = (before, &record) {
                    for (old, new) in [(before.go_mod_h1, after.go_mod_h1), (before.zip_h1, after.zip_h1)] {
                        prop_assert!(old.is_none() || old == new);
                    }
                    prop_assert!(before.zip.is_none() || before.zip == after.zip);
                }
            }
        }
    }
}
