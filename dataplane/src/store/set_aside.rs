//! Taking out of service what a reader found bad, but only what is bad: a disk may fail for a moment, and two who meet the same damage must not
//! undo what the first one has had fetched anew.

use gomod::ModuleVersion;

use super::error::StoreError;
use super::feed::Slot;
use super::rocks::Batch;
use super::scrub::Finding;
use super::types::{Class, Scope, VersionRecord};
use super::{Inner, Store, keys, records};

/// What came of damage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetAside {
    /// Everything reads well, or is not there any more.
    Fine,
    /// It is out of service, and fetched anew when it is asked for.
    Out,
    /// It was published, or its origin has lost it, and with it would go what is good: it may be the only copy, and another one has to be
    /// there before it leaves.
    Stays(Finding),
}

/// A version's entry in the index feed.
enum Entry {
    /// It is there, or need not be.
    Good,
    /// It is not there any more, or cannot be read; it belongs at this time.
    Lost(i64),
    /// It has none that is its own.
    Never,
}

impl Store {
    /// Reads all that is held of `mv` again, and takes what is bad out of service, unless that may be the only copy of something good.
    /// An entry of the index feed is written again.
    pub fn set_aside(&self, mv: &ModuleVersion) -> Result<SetAside, StoreError> {
        let mut findings = Vec::new();
        for finding in self.scrub_one(mv)?.map_or_else(Vec::new, |(findings, _)| findings) {
            if !self.mend_feed(&finding)? {
                findings.push(finding);
            }
        }
        let Some(finding) = worst(&findings) else { return Ok(SetAside::Fine) };
        let record = match self.record(mv) {
            Err(StoreError::Corrupt { .. }) if self.inner.may_be_published(mv)? => {
                return Ok(SetAside::Stays(finding));
            }
            // Nothing that it says can be kept.
            Err(StoreError::Corrupt { .. }) => {
                self.quarantine(mv, Scope::Record, &finding.detail)?;
                return Ok(SetAside::Out);
            }
            record => record?,
        };
        let Some(record) = record else { return Ok(SetAside::Fine) };
        let finding = match record.class {
            Class::Published => return Ok(SetAside::Stays(finding)),
            // Its origin has lost it, so what is not bad stays.
            Class::Retained => match findings.into_iter().find(|finding| finding.scope == Scope::Zip) {
                Some(bad_zip) => bad_zip,
                None => return Ok(SetAside::Stays(finding)),
            },
            Class::Cache => finding,
        };
        let removed = match (finding.scope, record.zip) {
            // Another blob than the one that was read is another one's doing.
            (Scope::Zip, Some(zip)) => self.quarantine_blob(mv, zip.blob, &finding.detail)?,
            (Scope::Zip, None) => return Ok(SetAside::Fine),
            (Scope::Record, _) => self.quarantine(mv, Scope::Record, &finding.detail)?,
        };
        Ok(if removed.existed { SetAside::Out } else { SetAside::Fine })
    }

    /// Writes a version's entry in the index feed again if that is what was found bad; whether it was, and nothing else of its record is
    /// bad. Two may meet the same damage, of whom one finds it mended: so what is held is read once more.
    pub fn mend_feed(&self, finding: &Finding) -> Result<bool, StoreError> {
        if finding.scope == Scope::Zip {
            return Ok(false);
        }
        self.write_entry(&finding.version)?;
        let found = self.scrub_one(&finding.version)?;
        Ok(found.is_none_or(|(found, _)| found.iter().all(|finding| finding.scope == Scope::Zip)))
    }

    fn write_entry(&self, mv: &ModuleVersion) -> Result<(), StoreError> {
        let inner = &self.inner;
        let _version = inner.version_locks.lock(mv);
        let record = match inner.record(mv) {
            Err(StoreError::Corrupt { .. }) => None,
            record => record?,
        };
        let Some(mut record) = record else { return Ok(()) };
        let mut batch = Batch::default();
        let slot = inner.put_lost_entry(&mut batch, mv, &mut record)?;
        if batch.is_empty() {
            return Ok(());
        }
        batch.put(keys::record(mv), records::encode_record(&record));
        inner.note(inner.rocks.write("index feed", batch, record.class.durability()))?;
        drop(slot);
        Ok(())
    }
}

impl Inner {
    /// Puts the entry of a version in the index feed into a batch if it is lost; it may get another time, which the record has then, and
    /// of which what is returned is to be kept until the batch is written.
    pub(super) fn put_lost_entry(
        &self,
        batch: &mut Batch,
        mv: &ModuleVersion,
        record: &mut VersionRecord,
    ) -> Result<Option<Slot<'_>>, StoreError> {
        match self.entry_of(mv, record)? {
            Entry::Good => Ok(None),
            Entry::Lost(held_us) => {
                batch.put(keys::index(held_us), keys::version_text(mv));
                Ok(None)
            }
            Entry::Never => {
                record.held_us = None;
                Ok(self.index(batch, mv, &mut record.held_us))
            }
        }
    }

    fn entry_of(&self, mv: &ModuleVersion, record: &VersionRecord) -> Result<Entry, StoreError> {
        let Some(held_us) = record.held_us else {
            return Ok(if record.zip.is_some() { Entry::Never } else { Entry::Good });
        };
        let entry = match self.rocks.get("index feed", &keys::index(held_us)) {
            Err(StoreError::Corrupt { .. }) => None,
            entry => entry?,
        };
        Ok(match entry {
            None => Entry::Lost(held_us),
            Some(text) if text == keys::version_text(mv) => Entry::Good,
            Some(_) => Entry::Never,
        })
    }
}

/// A bad record takes its zip along.
fn worst(findings: &[Finding]) -> Option<Finding> {
    let of_record = findings.iter().find(|finding| finding.scope == Scope::Record);
    of_record.or(findings.first()).cloned()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::bed::{open, patch, version};
    use super::super::types::{Durability, Patch};
    use super::*;

    fn put(store: &Store, class: Class) -> VersionRecord {
        let patch = Patch { class, ..patch(store, 1, 3) };
        store.commit(&version(1), patch, Durability::Buffered).expect("commit")
    }

    fn write(store: &Store, batch: Batch) {
        store.inner.rocks.write("test", batch, Durability::Buffered).expect("write");
    }

    fn set_aside(store: &Store) -> SetAside {
        store.set_aside(&version(1)).expect("set aside")
    }

    #[test]
    fn a_lost_entry_of_the_index_feed_is_written_again_and_takes_nothing_along() {
        for class in [Class::Cache, Class::Retained, Class::Published] {
            for other in [None, Some(version(2))] {
                let dir = tempfile::tempdir().expect("temporary folder");
                let store = open(dir.path());
                let mut batch = Batch::default();
                let key = keys::index(put(&store, class).held_us.expect("held"));
                match &other {
                    None => batch.delete(key),
                    Some(other) => batch.put(key, keys::version_text(other)),
                }
                write(&store, batch);
                let (found, _) = store.scrub_one(&version(1)).expect("scrub").expect("held");
                assert_eq!((found.len(), set_aside(&store)), (1, SetAside::Fine));
                // Who found the same finds it mended.
                assert!(found.iter().all(|finding| store.mend_feed(finding).expect("mend")));
                assert_eq!(store.scrub_one(&version(1)).expect("scrub"), Some((Vec::new(), 3)));
                let feed = store.index_since(0, usize::MAX).expect("index");
                let feed: Vec<_> = feed.into_iter().map(|entry| entry.version).collect();
                assert_eq!(feed, other.into_iter().chain([version(1)]).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn of_what_the_origin_has_lost_only_what_is_bad_goes() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let store = open(dir.path());
        let record = put(&store, Class::Retained);
        let blob = record.zip.as_ref().expect("held").blob;
        let bad = VersionRecord { go_mod: Some(Bytes::from_static(b"not what it is bound to")), ..record };
        let mut batch = Batch::default();
        batch.put(keys::record(&version(1)), records::encode_record(&bad));
        write(&store, batch);
        let SetAside::Stays(finding) = set_aside(&store) else { panic!("its zip is good") };
        assert_eq!(finding.scope, Scope::Record);
        assert!(store.open_zip(&version(1)).expect("open").is_some());

        let mut batch = Batch::default();
        batch.put_chunk(keys::chunk(blob, 0), Bytes::from_static(b"bad"));
        write(&store, batch);
        assert_eq!(set_aside(&store), SetAside::Out);
        assert!(store.open_zip(&version(1)).expect("open").is_none());
        assert!(store.record(&version(1)).expect("record").is_some());
    }
}
