//! The store as the checksum database's keeper of verified facts.

use bytes::Bytes;

use crate::store::{Durability, Store};
use crate::sumdb::{SumStore, SumStoreError};

impl SumStore for Store {
    fn get(&self, key: &str) -> Result<Option<Bytes>, SumStoreError> {
        self.sumdb_get(key).map_err(|error| SumStoreError(error.into()))
    }

    fn put(&self, pairs: Vec<(String, Bytes)>) -> Result<(), SumStoreError> {
        self.sumdb_put(&pairs, Durability::Buffered).map_err(|error| SumStoreError(error.into()))
    }

    fn put_where_there_is_place(&self, pairs: Vec<(String, Bytes)>) -> Result<(), SumStoreError> {
        match self.sumdb_put(&pairs, Durability::Buffered) {
            // The head stays known while the process runs; after that the same log is proven from an older one.
            Err(error) if error.takes_nothing() => Ok(()),
            kept => kept.map_err(|error| SumStoreError(error.into())),
        }
    }
}
