//! Who vouches for what is held, when that is known later than the content.

use gomod::{H1, ModuleVersion};

use super::error::StoreError;
use super::rocks::Batch;
use super::types::{Durability, Verified};
use super::{Store, keys, records};

impl Store {
    /// The checksum database vouches for a version that is bound to these hashes. False when there is no such record, or it is bound to
    /// others by now.
    ///
    /// # Errors
    /// When the record cannot be read or written.
    pub fn vouch(
        &self,
        mv: &ModuleVersion,
        zip_h1: Option<H1>,
        go_mod_h1: Option<H1>,
    ) -> Result<bool, StoreError> {
        let inner = &self.inner;
        let _version = inner.version_locks.lock(mv);
        let Some(mut record) = inner.record(mv)? else { return Ok(false) };
        if (record.zip_h1, record.go_mod_h1) != (zip_h1, go_mod_h1) {
            return Ok(false);
        }
        record.verified = Verified::ChecksumDatabase;
        let mut batch = Batch::default();
        batch.put(keys::record(mv), records::encode_record(&record));
        inner.note(inner.rocks.write("verification", batch, Durability::Buffered))?;
        Ok(true)
    }
}
