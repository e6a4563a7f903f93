//! Getting out of states in which nothing can be written, without a restart.
//!
//! There are three: the database was opened for reading, on a disk that took no writes; a write failed though there is
//! room, upon which it writes nothing more; or its background work met damage, with the same end. (For want of space
//! alone it resumes by itself as a rule, given a little of it, which is what a [`reserve`] is for.) Opening it again in place
//! ends each, once the disk takes a file; damage is then looked for, and taken out of service where it can be fetched anew.

mod reserve;

use std::fs::File;
use std::io::{self, Write as _};
use std::ops::ControlFlow;
use std::sync::atomic::Ordering;

use fail::fail_point;
use gomod::ModuleVersion;

use super::counters::Stored;
use super::error::StoreError;
use super::evict::Suspicion;
use super::lease::Doomed;
use super::records::Transient;
use super::rocks::Open;
use super::scrub::{Finding, ScrubReport};
use super::types::{BlobId, Class, Scope};
use super::{Inner, Store, go_on, keys, records};

/// Written, and removed again, to see whether the disk takes writes.
const TRIAL_FILE: &str = "TRIAL";

/// Passes of housekeeping in which the database may resume by itself once there is room.
const FULL_PASSES_MAX: u32 = 3;

/// What healing did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Healed {
    /// The database was opened again.
    pub reopened: bool,
    /// Versions that were taken out of service.
    pub quarantined: Vec<ModuleVersion>,
}

impl Store {
    /// Heals if that is needed; [`super::evict::run_once`] begins with it. Reads wait while the database is
    /// opened again, and looking for damage reads everything.
    pub fn heal(&self) -> Result<Healed, StoreError> {
        let _pass = self.inner.heat.pass();
        let mut healed = Healed::default();
        self.heal_in_pass(&mut healed)?;
        Ok(healed)
    }

    /// Gives the reserve up on a full disk, and makes it again where there is room but no more than `plenty_bytes`. A disk
    /// that has none is no reason to do nothing else.
    pub(super) fn keep_reserve(&self, plenty_bytes: u64) {
        let inner = &self.inner;
        if inner.state.unwritable().is_some() || inner.options.reserve_bytes == 0 {
            return;
        }
        let Ok(disk) = inner.file_system() else { return };
        let buffers = inner.write_buffer_bytes();
        let wanted = reserve::wanted_bytes(buffers, inner.options.eviction.capacity_bytes, disk);
        let (is_there, is_full) = (reserve::is_there(&inner.dir), inner.state.is_out_of_space());
        match reserve::step(is_there, is_full, wanted, disk.available_bytes, plenty_bytes) {
            reserve::Step::Nothing => {}
            reserve::Step::Make(bytes) => {
                if let Err(error) = reserve::make(&inner.dir, bytes) {
                    tracing::debug!(%error, "no room can be reserved: a full disk will have to do without");
                }
            }
            reserve::Step::GiveUp => match reserve::give_up(&inner.dir) {
                Ok(()) => tracing::info!("a full disk is given what was reserved, to remove things from it"),
                Err(error) => tracing::warn!(%error, "failed to give up what is reserved on a full disk"),
            },
        }
    }

    /// What was done before an error is in `healed` too.
    pub(super) fn heal_in_pass(&self, healed: &mut Healed) -> Result<(), StoreError> {
        let inner = &self.inner;
        let stopped = inner.state.is_stopped();
        let unwritable = inner.state.unwritable().is_some();
        let full = inner.stays_full();
        if !stopped && !unwritable && !full && !inner.can_open_for_writing() {
            return Ok(());
        }
        if unwritable && let Err(error) = inner.try_disk() {
            tracing::debug!(%error, "the disk takes no writes yet");
            return Ok(());
        }
        inner.reopen()?;
        inner.state.go_on();
        healed.reopened = true;
        if unwritable && inner.rocks.check_open().is_ok() {
            inner.state.can_write();
        }
        // Open for writing, it has what it needs; else the next write says so.
        inner.state.note(&inner.rocks.check_open());
        if !stopped {
            return Ok(());
        }
        tracing::error!("background work met damage and stopped all writing; looking for it");
        // Collecting garbage waits for the outcome, so that what was met is not met again and again.
        inner.heat.damage_stays();
        let mut findings = Vec::new();
        let mut pace = |_: &ScrubReport| {
            if inner.rocks.is_ending() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let walked = self.scrub(&mut pace, &mut |finding| findings.push(finding))?;
        if inner.rocks.is_ending() {
            // The next start has all to begin with.
            return Ok(());
        }
        if findings.is_empty() && walked.hidden == 0 {
            self.look_elsewhere()?;
        }
        let mut staying = walked.hidden;
        for finding in findings {
            // All that it says but its entry in the index feed is good, and that can be written again.
            if matches!(self.mend_feed(&finding), Ok(true)) {
                continue;
            }
            // The walk took its time, and a good copy may have come in the place of a bad one.
            if !self.is_still_bad(&finding)? {
                continue;
            }
            match self.take_out(&finding) {
                Ok(true) => healed.quarantined.push(finding.version),
                // It is in no blob, so that collecting does not meet it.
                Ok(false) if finding.scope == Scope::Record && inner.is_retained(&finding.version) => {}
                Ok(false) | Err(StoreError::Corrupt { .. }) => staying += 1,
                Err(error) => return Err(error),
            }
        }
        if staying == 0 {
            inner.heat.all_verifies();
        } else {
            tracing::error!(
                staying,
                "damage stays where nothing can be fetched in its place; garbage is not collected before all verifies again"
            );
        }
        Ok(())
    }

    fn is_still_bad(&self, finding: &Finding) -> Result<bool, StoreError> {
        let found = self.scrub_one(&finding.version)?.map(|(found, _)| found).unwrap_or_default();
        Ok(found.iter().any(|now| now.scope == finding.scope))
    }

    /// No version is damaged. It may be in what is being deleted, and goes with it, or it may have been a read that failed once; else it is
    /// in what nothing tells of.
    fn look_elsewhere(&self) -> Result<(), StoreError> {
        let inner = &self.inner;
        match inner.heat.suspect(inner.doomed()?) {
            Suspicion::Leaving => {
                tracing::warn!(
                    "no version is damaged; garbage is not collected before what is being deleted is gone"
                );
            }
            Suspicion::Passed => {
                tracing::warn!("all that is stored verifies: a read failed that does not fail again");
            }
            Suspicion::Unknown => {
                inner.heat.stop_collecting();
                tracing::error!("no version is damaged; garbage is not collected until the next start");
            }
        }
        Ok(())
    }

    /// Takes what was found bad out of service if it can be fetched anew; whether it was.
    pub fn take_out(&self, finding: &Finding) -> Result<bool, StoreError> {
        let inner = &self.inner;
        if !inner.is_replaceable(finding) {
            if finding.scope == Scope::Zip {
                inner.heat.damage_stays();
            }
            return Ok(false);
        }
        let record = inner.record(&finding.version).ok().flatten();
        self.quarantine(&finding.version, finding.scope, &finding.detail)?;
        if let Some(zip) = record.and_then(|record| record.zip) {
            inner.heat.damage_leaves(zip.blob);
        }
        Ok(true)
    }
}

impl Inner {
    /// Opens the database again. A write that seemed to fail is there now or is not, so that markers alone tell what is to be deleted:
    /// what was doomed before may be named, and what a removal has left may not be doomed.
    fn reopen(&self) -> Result<(), StoreError> {
        let _deletion = self.hold_off_deletion();
        // Damage here leaves the sums as they are until the next start.
        let sums = |open: &Open| Stored::read(|key| open.get("counter", key)).ok();
        self.rocks.reopen(
            |open| sums(open).into_iter().for_each(|sums| self.counters.before_reopening(sums)),
            |open| self.counters.after_reopening(sums(open)),
        )?;
        let before: Vec<Doomed> = std::iter::from_fn(|| self.leases.next_deletable()).collect();
        match self.marked() {
            // Whoever still writes one has a lease on it.
            Ok(marked) => marked.into_iter().for_each(|doomed| self.leases.doom(doomed)),
            Err(error) => {
                tracing::warn!(%error, "what a failed write has left may take space until the next start");
                for doomed in before {
                    self.leases.put_back(doomed);
                }
            }
        }
        Ok(())
    }

    /// Blobs that have a marker. One that cannot be read is left to the next start.
    fn marked(&self) -> Result<Vec<Doomed>, StoreError> {
        let mut marked = Vec::new();
        self.rocks.scan("blob marker", &keys::transients(), &[], |key, value| {
            if let (Some(blob), Ok(marker)) = (keys::parse_transient(key), records::decode_transient(value)) {
                let chunks = match marker {
                    Transient::Writing => None,
                    Transient::Doomed { chunks } => Some(chunks),
                };
                marked.push(Doomed { blob, chunks });
            }
            go_on(true)
        })?;
        Ok(marked)
    }

    /// Whether the database is open for reading alone, and there is room to open it for writing: for removing things at
    /// least, where there is too little to store any.
    fn can_open_for_writing(&self) -> bool {
        self.rocks.is_read_only() && (self.check_space().is_ok() || self.has_room_to_open())
    }

    fn has_room_to_open(&self) -> bool {
        let needed = self.write_buffer_bytes().saturating_mul(reserve::BUFFERS_MIN);
        self.file_system().is_ok_and(|disk| disk.available_bytes >= needed)
    }

    /// Whether the database writes nothing for want of space although there is room for removing things, and does not resume by itself: it
    /// wants more than the reserve has.
    fn stays_full(&self) -> bool {
        if !self.state.is_out_of_space() || !self.has_room_to_open() {
            self.heat.full_passes.store(0, Ordering::Relaxed);
            return false;
        }
        let stays = self.heat.full_passes.fetch_add(1, Ordering::Relaxed) >= FULL_PASSES_MAX;
        if stays {
            self.heat.full_passes.store(0, Ordering::Relaxed);
        }
        stays
    }

    fn write_buffer_bytes(&self) -> u64 {
        self.options.write_buffer_bytes as u64
    }

    /// Blobs that nothing names any more, but somebody reads.
    fn doomed(&self) -> Result<Vec<BlobId>, StoreError> {
        let marked = self.marked()?.into_iter();
        Ok(marked.filter(|doomed| doomed.chunks.is_some()).map(|doomed| doomed.blob).collect())
    }

    /// Whether a file can be written and put on stable storage; asked before the database is opened again, since reads wait
    /// for that.
    fn try_disk(&self) -> io::Result<()> {
        fail_point!("store::heal::try_disk", |_| Err(io::ErrorKind::ReadOnlyFilesystem.into()));
        let path = self.dir.join(TRIAL_FILE);
        let mut file = File::create(&path)?;
        let written = file.write_all(b"is this disk writable?\n").and_then(|()| file.sync_all());
        drop(file);
        let removed = std::fs::remove_file(&path);
        written.and(removed)
    }

    fn is_retained(&self, version: &ModuleVersion) -> bool {
        self.record(version).is_ok_and(|record| record.is_some_and(|record| record.class == Class::Retained))
    }

    fn is_replaceable(&self, finding: &Finding) -> bool {
        let Finding { version, scope, detail } = finding;
        let shown = self.options.private.shown(&version.module, version);
        let class = match self.record(version) {
            Ok(record) => record.map(|record| record.class),
            Err(StoreError::Corrupt { .. }) => {
                (!self.may_be_published(version).unwrap_or(true)).then_some(Class::Cache)
            }
            Err(_) => None,
        };
        let may_go = match class {
            Some(Class::Cache) => true,
            // Its origin has lost it, so what is not bad stays: with the record its zip would go, too.
            Some(Class::Retained) => *scope == Scope::Zip,
            Some(Class::Published) | None => false,
        };
        if may_go {
            tracing::warn!(version = %shown, ?scope, detail, "damaged, to be fetched anew");
            return true;
        }
        tracing::error!(version = %shown, ?scope, detail, "damaged, and not to be replaced by fetching");
        false
    }
}

#[cfg(test)]
mod tests {
    use super::super::Orphans;
    use super::super::bed::{open, patch, put, version};
    use super::super::counters::{Changes, Counter};
    use super::super::rocks::Batch;
    use super::super::types::{CHUNK_BYTES, Durability};
    use super::*;

    const ZIP_BYTES: usize = 2 * CHUNK_BYTES;

    /// Has the database opened again, as after a write that failed.
    fn open_again(store: &Store) {
        let failed: Result<(), _> = Err(StoreError::Unwritable { what: "test", why: "test".into() });
        store.inner.note(failed).expect_err("it failed");
        assert!(store.heal().expect("heal").reopened);
    }

    fn assert_holds(store: &Store, number: u8) {
        store.collect().expect("collect");
        let zip = store.open_zip(&version(number)).expect("open").expect("held");
        assert_eq!(zip.chunk(1).expect("chunk"), vec![number; CHUNK_BYTES]);
        assert_eq!(store.orphans().expect("orphans"), Orphans::default());
        assert_eq!(store.inner.marked().expect("markers"), []);
    }

    #[test]
    fn what_a_write_that_seemed_to_fail_has_named_stays() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let store = open(dir.path());
        // The log had it all, but its writer was told of a failure, and gave the blob up.
        put(&store, 1, 1, ZIP_BYTES);
        let blob =
            store.record(&version(1)).expect("record").and_then(|record| record.zip).expect("held").blob;
        let given_up = Doomed { blob, chunks: Some(2) };
        store.inner.leases.doom(given_up);
        open_again(&store);
        assert_eq!(store.inner.leases.next_deletable(), None);
        // Its writer may also be late.
        store.inner.leases.doom(given_up);
        assert_holds(&store, 1);
        put(&store, 1, 1, ZIP_BYTES);
        assert_holds(&store, 1);
    }

    #[test]
    fn sums_are_those_of_what_is_there_when_it_is_opened_again() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let store = open(dir.path());
        put(&store, 1, 1, ZIP_BYTES);
        let bytes = || store.usage().expect("usage").zip_bytes;
        let before = bytes();
        open_again(&store);
        assert_eq!(bytes(), before, "nothing came back");
        // An attempt to open it that failed, and then what another one was told that it failed to write.
        let counters = &store.inner.counters;
        counters.before_reopening(Stored::read(|key| store.inner.rocks.get("counter", key)).expect("sums"));
        let (mut batch, mut changes) = (Batch::default(), Changes::default());
        changes.add(Counter::BlobBytes, 7);
        changes.write_into(&mut batch);
        store.inner.rocks.write("test", batch, Durability::Buffered).expect("write");
        open_again(&store);
        assert_eq!(bytes(), before + 7);
        open_again(&store);
        assert_eq!(bytes(), before + 7, "it is counted once");
    }

    #[test]
    fn what_a_removal_that_seemed_to_fail_has_left_goes_and_what_is_being_written_stays() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let store = open(dir.path());
        put(&store, 1, 1, ZIP_BYTES);
        let zip = store.record(&version(1)).expect("record").and_then(|record| record.zip).expect("held");
        let (mut batch, mut changes) = (Batch::default(), Changes::default());
        batch.delete(keys::record(&version(1)));
        let left = store.inner.unname_blob(&mut batch, &mut changes, &[&version(1)], &zip, false);
        assert!(left.expect("references").is_some());
        store.inner.rocks.write("test", batch, Durability::Buffered).expect("write");
        let (second, third) = (patch(&store, 2, ZIP_BYTES), patch(&store, 3, ZIP_BYTES));
        open_again(&store);
        assert_eq!(store.collect().expect("collect"), 1);
        drop(third);
        store.commit(&version(2), second, Durability::Buffered).expect("commit");
        assert_holds(&store, 2);
    }
}
