//! The fork alarm of a server that does not run, for the operator who looks into it.

use std::sync::Arc;

use super::error::{SumDbError, SumDbOpenError};
use super::head::{Fork, Timeline};
use super::metrics::SumDbMetrics;
use super::spec::Database;
use super::store::SumStore;

/// What a server's store has of a fork. Calls block.
#[derive(Debug)]
pub struct StoredAlarm(Timeline);

impl StoredAlarm {
    /// Takes up what is kept of `database`.
    pub fn open(database: &Database, store: Arc<dyn SumStore>) -> Result<Self, SumDbOpenError> {
        Timeline::open(database.key.clone(), store, SumDbMetrics::default()).map(Self)
    }

    /// The two contradicting tree heads, while the alarm is raised.
    pub fn fork(&self) -> Result<Option<Fork>, SumDbError> {
        self.0.fork()
    }

    /// Ends the alarm. The server goes on from its own head; both heads stay in the store.
    pub fn clear(&self) -> Result<(), SumDbError> {
        self.0.clear()
    }
}
