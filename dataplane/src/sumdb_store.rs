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
}
