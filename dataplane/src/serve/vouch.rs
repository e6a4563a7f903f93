//! What this node tells another of content that it holds: where it came from, who vouches for it, and what it hashes to.

use std::sync::Arc;

use gomod::ModuleVersion;
use gomod::zip::EntryDigests;
use proto::data::v1::Provenance;
use sha2::{Digest as _, Sha256};

use super::error::ServeError;
use super::proof::Proof;
use super::proxy::Proxy;
use super::ready::Ready;
use super::received::Received;
use super::spool::{Spool, SpoolReader};
use crate::store::{Class, Verified, VersionRecord};

impl Proxy {
    /// Where a version came from, where that can be told without waiting.
    pub fn provenance_at_hand(&self, version: &ModuleVersion) -> Option<Provenance> {
        self.layers.store.record_at_hand(version)?.ok()?.map(|record| of_record(&record))
    }

    /// Where a version came from. Of what could not be stored, nobody knows any more.
    pub async fn provenance(&self, version: &ModuleVersion) -> Result<Provenance, ServeError> {
        Ok(self.record(version).await?.map(|record| of_record(&record)).unwrap_or_default())
    }

    /// What a zip that is there hashes to.
    pub async fn proof(&self, version: &ModuleVersion, ready: &Arc<Ready>) -> Result<Proof, ServeError> {
        if let Some(proof) = self.proof_of(version).await? {
            return Ok(proof);
        }
        // It could not be stored, so it is in memory, whole.
        let lost = || ServeError::Internal { what: format!("read the zip of {version}") };
        let (bytes, version) = (ready.content.bytes().ok_or_else(lost)?, version.clone());
        let hashing = tokio::task::spawn_blocking(move || {
            let sha256 = Sha256::digest(&bytes).into();
            let size = bytes.len() as u64;
            let received = Received::in_memory(vec![bytes], size);
            let summary = gomod::zip::verify(&received, &version, &EntryDigests::default())
                .map_err(|error| super::ingest::not_a_module_zip(&version, &error))?;
            let (verified, origin) = (Verified::Unchecked, String::new());
            Ok(Proof { sha256, h1: summary.h1, verified, origin, class: Class::Cache })
        });
        hashing.await.map_err(|_| lost())?
    }

    /// The bytes of an arriving zip from `offset` on.
    pub fn spool_from(&self, spool: &Arc<Spool>, offset: u64) -> SpoolReader {
        SpoolReader::new(Arc::clone(spool), Arc::clone(&self.layers.blobs), offset)
    }
}

fn of_record(record: &VersionRecord) -> Provenance {
    to_provenance(record.origin.clone(), record.verified, record.class)
}

/// What another node is told.
pub fn to_provenance(origin: String, verified: Verified, class: Class) -> Provenance {
    Provenance {
        origin,
        verified: verified == Verified::ChecksumDatabase,
        published: class == Class::Published,
        retained: class == Class::Retained,
    }
}

/// How much a copy is worth to the node that tells this of it.
pub(super) fn class_of(provenance: &Provenance) -> Class {
    match provenance {
        Provenance { published: true, .. } => Class::Published,
        Provenance { retained: true, .. } => Class::Retained,
        Provenance { .. } => Class::Cache,
    }
}
