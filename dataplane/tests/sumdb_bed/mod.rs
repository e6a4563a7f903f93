//! What the tests of the checksum database share: one that is opened again and again over what it has kept.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::net::TcpListener;
use std::sync::Arc;

use bytes::Bytes;
use common::clock::ManualClock;
use dataplane::sumdb::{Database, MemorySumStore, Reach, SumDb, SumDbMetrics, SumDbOptions, SumSpec};
use prometheus_client::registry::Registry;

use crate::upstream_fake::upstream;
use crate::upstream_log::{NAME, signer};

/// The database that [`signer`] signs for, at `url`.
pub(crate) fn database(url: &str) -> Database {
    match format!("{} {url}", signer().verifier()).parse::<SumSpec>().unwrap() {
        SumSpec::Database(database) => *database,
        SumSpec::Off => panic!("off"),
    }
}

/// Where nobody listens: the port was given out a moment ago, and is free again.
pub(crate) fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

pub(crate) struct Setup {
    pub(crate) store: Arc<MemorySumStore>,
    pub(crate) clock: Arc<ManualClock>,
    metrics: SumDbMetrics,
}

impl Setup {
    pub(crate) fn new() -> Self {
        Self { store: Arc::default(), clock: Arc::new(ManualClock::new(0)), metrics: SumDbMetrics::default() }
    }

    /// The database itself cannot be reached.
    pub(crate) fn open(&self, chain: &str, offline: bool) -> SumDb {
        let corp = gomod::GlobPatterns::parse("corp.example").unwrap();
        let options = SumDbOptions { offline, no_sumdb: corp, ..SumDbOptions::default() };
        SumDb::open(
            &database(&nobody()),
            options,
            Arc::new(upstream(chain)),
            self.store.clone(),
            self.clock.clone(),
            self.metrics.clone(),
        )
        .unwrap()
    }

    pub(crate) fn metrics(&self) -> String {
        let mut registry = Registry::default();
        self.metrics.register(registry.sub_registry_with_prefix("sumdb"));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        text
    }
}

pub(crate) async fn ask(db: &SumDb, path: String) -> Option<Bytes> {
    db.serve(&format!("{NAME}/{path}"), Reach::Database).await.ok().map(|answer| answer.body)
}
