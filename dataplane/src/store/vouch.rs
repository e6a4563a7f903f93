//! Who vouches for what is held, when that is known later than the content.

use bytes::Bytes;
use gomod::{H1, ModuleVersion};

use super::error::StoreError;
use super::records::decode_record;
use super::rocks::Batch;
use super::types::{Class, Durability, Scope, Verified};
use super::{Store, go_on, keys, records};

/// A version that is bound to content that nobody vouches for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unvouched {
    /// The version.
    pub version: ModuleVersion,
    /// The `h1:` hash that its zip is bound to.
    pub zip_h1: Option<H1>,
    /// The same of its go.mod.
    pub go_mod_h1: Option<H1>,
}

impl Store {
    /// Of the next `limit` records in key order, from the first after `after` on, those that somebody should vouch for; and the last record
    /// that was looked at, unless it was the last of all. Who published something vouches for it. What cannot be read is passed over.
    ///
    /// # Errors
    /// When the disk cannot be read.
    pub fn unvouched(
        &self,
        after: Option<&ModuleVersion>,
        limit: usize,
    ) -> Result<(Vec<Unvouched>, Option<ModuleVersion>), StoreError> {
        let start = after.map_or_else(keys::records, |mv| {
            let mut start = keys::record(mv);
            start.push(0);
            start
        });
        let (mut unvouched, mut last, mut seen) = (Vec::new(), None, 0);
        let each = |key: &[u8], value: &[u8]| {
            let Some(version) = keys::parse_record(key) else { return go_on(true) };
            seen += 1;
            last = Some(version.clone());
            if let Ok(record) = decode_record(&Bytes::copy_from_slice(value))
                && record.verified == Verified::Unchecked
                && record.class != Class::Published
                && (record.zip_h1.is_some() || record.go_mod_h1.is_some())
            {
                let (zip_h1, go_mod_h1) = (record.zip_h1, record.go_mod_h1);
                unvouched.push(Unvouched { version, zip_h1, go_mod_h1 });
            }
            go_on(seen < limit)
        };
        let damaged = |error| tracing::debug!(%error, "who vouches for it cannot be read");
        self.inner.rocks.scan_past("version record", &keys::records(), &start, each, damaged)?;
        Ok((unvouched, last.filter(|_| seen >= limit)))
    }

    /// The checksum database vouches for all that a version is bound to, which are these hashes. False when it is bound to others by
    /// now, or there is no such record.
    ///
    /// # Errors
    /// When the record cannot be read or written.
    pub fn vouch(&self, of: &Unvouched) -> Result<bool, StoreError> {
        let inner = &self.inner;
        let _version = inner.version_locks.lock(&of.version);
        let Some(mut record) = inner.record(&of.version)? else { return Ok(false) };
        if (record.zip_h1, record.go_mod_h1) != (of.zip_h1, of.go_mod_h1) {
            return Ok(false);
        }
        let mut batch = Batch::default();
        if record.is_stub() {
            // What the database knows needs no memory here.
            batch.delete(keys::record(&of.version));
        } else {
            record.verified = Verified::ChecksumDatabase;
            batch.put(keys::record(&of.version), records::encode_record(&record));
        }
        inner.note(inner.rocks.write("verification", batch, Durability::Buffered))?;
        Ok(true)
    }

    /// The checksum database lists other content than these hashes, which a version is bound to: its record is removed with its zip, and a
    /// note of it kept. False when it is bound to others by now, was published, or is not there.
    ///
    /// # Errors
    /// When the record cannot be read or written.
    pub fn disown(&self, of: &Unvouched, reason: &str) -> Result<bool, StoreError> {
        // Of one that cannot be read nobody knows what it is bound to.
        self.record(&of.version)?;
        let removed = self.inner.unname(&of.version, Scope::Record, Some(reason), &|record| {
            record.is_some_and(|record| {
                record.class != Class::Published
                    && (record.zip_h1, record.go_mod_h1) == (of.zip_h1, of.go_mod_h1)
            })
        });
        self.inner.collect_some();
        Ok(removed?.existed)
    }
}

#[cfg(test)]
mod tests {
    use gomod::dirhash::go_mod_h1;

    use super::super::VersionRecord;
    use super::super::bed::{open, version};
    use super::super::types::Patch;
    use super::*;

    fn go_mod(class: Class, verified: Verified) -> Patch {
        Patch { go_mod: Some("module example.com/a\n".into()), class, verified, ..Patch::default() }
    }

    fn unvouched(number: u8) -> Unvouched {
        let go_mod_h1 = Some(go_mod_h1(b"module example.com/a\n"));
        Unvouched { version: version(number), zip_h1: None, go_mod_h1 }
    }

    #[test]
    fn what_nobody_vouches_for_is_found_vouched_for_and_disowned_by_its_hashes() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let store = open(dir.path());
        let put = |number, patch| {
            store.commit(&version(number), patch, Durability::Buffered).expect("commit");
        };
        put(0, go_mod(Class::Cache, Verified::Unchecked));
        put(1, go_mod(Class::Cache, Verified::ChecksumDatabase));
        put(2, go_mod(Class::Published, Verified::Unchecked));
        put(3, go_mod(Class::Retained, Verified::Unchecked));
        let all = (vec![unvouched(0), unvouched(3)], None);
        assert_eq!(store.unvouched(None, 100).expect("read"), all);
        assert_eq!(store.unvouched(None, 2).expect("read"), (vec![unvouched(0)], Some(version(1))));
        let rest = (vec![unvouched(3)], None);
        assert_eq!(store.unvouched(Some(&version(1)), 100).expect("read"), rest);

        let other = Unvouched { go_mod_h1: Some(H1::from_bytes([1; 32])), ..unvouched(0) };
        assert!(!store.vouch(&other).expect("vouch") && !store.disown(&other, "test").expect("disown"));
        assert!(!store.disown(&unvouched(2), "test").expect("disown"), "it was published");
        assert!(!store.disown(&unvouched(9), "test").expect("disown"), "there is none");
        assert_eq!(store.quarantined_count().expect("count"), 0);
        assert!(store.vouch(&unvouched(0)).expect("vouch"));
        assert!(store.disown(&unvouched(3), "test").expect("disown"));
        assert_eq!(store.record(&version(3)).expect("read"), None);
        assert_eq!(store.quarantined_count().expect("count"), 1);
        assert_eq!(store.unvouched(None, 100).expect("read"), (Vec::new(), None));
        assert_eq!(store.usage().expect("usage").records, 3);
    }

    #[test]
    fn a_stub_that_is_vouched_for_is_needed_no_more() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let store = open(dir.path());
        let stub = VersionRecord { go_mod_h1: unvouched(0).go_mod_h1, ..VersionRecord::default() };
        let mut batch = Batch::default();
        batch.put(keys::record(&version(0)), records::encode_record(&stub));
        store.inner.rocks.write("test", batch, Durability::Buffered).expect("write");
        assert!(store.record(&version(0)).expect("read").is_some_and(|record| record.is_stub()));
        assert!(store.vouch(&unvouched(0)).expect("vouch"));
        assert_eq!(store.record(&version(0)).expect("read"), None);
    }
}
