//! A store in a folder of its own, and the server on it as far as its request path goes: no sockets, no origins.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::clock::{Clock as _, SystemClock};
use dataplane::http::{AccessLog, Body, Inbound};
use dataplane::plane::{Config, DataPlane};
use dataplane::serve::WhenUnavailable;
use dataplane::store::evict::{Algorithm, Keep};
use dataplane::store::{
    CHUNK_BYTES, CachedAnswer, Durability, Patch, SealedBlob, Store, StoreOptions, Verified,
};
use dataplane::sumdb::SumSpec;
use dataplane::upstream::Chain;
use gomod::H1;
use http::{HeaderValue, Request, Response};
use prometheus_client::registry::Registry;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tower::Service;

use crate::Sample;

/// A folder for a store; removed when dropped.
#[derive(Debug)]
pub struct Bed {
    dir: TempDir,
}

/// The request path of a server, and what it stands on.
pub struct Server<S> {
    /// Answers requests.
    pub service: S,
    _plane: DataPlane,
    runtime: tokio::runtime::Runtime,
}

impl Default for Bed {
    fn default() -> Self {
        Self { dir: tempfile::tempdir().expect("make a folder") }
    }
}

impl Bed {
    /// Opens the store, with the server's own options but for the bounds on the disk.
    pub fn store(&self) -> Store {
        let options = StoreOptions { full_percent: 100, reserve_bytes: 0, ..StoreOptions::default() };
        Store::open(self.dir.path(), options, Arc::new(SystemClock)).expect("open the store")
    }

    /// A server that holds `samples` and fetches nothing, as `make run` would have it otherwise.
    pub fn server(
        &self,
        samples: &[Sample],
    ) -> Server<impl Service<Inbound, Response = Response<Body>, Error = Infallible> + use<>> {
        let store = self.store();
        for sample in samples {
            commit(&store, sample, sample.h1());
            let body = Bytes::from(format!("{}\n", sample.version.version));
            let list = CachedAnswer { body, fetched_us: SystemClock.now_us(), status: 200 };
            store.put_list(&sample.version.module, &list).expect("store a list");
        }
        drop(store);
        let runtime = tokio::runtime::Runtime::new().expect("start a runtime");
        let registry = Registry::default();
        let built = DataPlane::build(
            &self.config(),
            None,
            Arc::new(SystemClock),
            registry,
            "benchmark".to_owned(),
            None,
        );
        let plane = built.expect("build the data plane");
        Server { service: plane.service(), _plane: plane, runtime }
    }

    fn config(&self) -> Config {
        Config {
            data_dir: self.dir.path().to_owned(),
            cache_bytes: 50 << 30,
            memory_bytes: 256 << 20,
            chain: Chain::off(),
            upstream_ca: None,
            fetches_max: 64,
            private: "".parse().expect("no patterns"),
            sumdb: SumSpec::Off,
            no_sumdb: "".parse().expect("no patterns"),
            sumdb_unavailable: WhenUnavailable::Refuse,
            offline: true,
            list_lifetime: Duration::from_hours(24),
            access_log: AccessLog::Misses,
            connections_max: 10_000,
            in_flight_max: 10_000,
            hsts_max_age: Duration::ZERO,
            drain_timeout: Duration::ZERO,
            eviction: Algorithm::S3Fifo,
            keep: Keep::default(),
            pinned: "".parse().expect("no patterns"),
            handoff_rate_bytes: 1 << 30,
            scrub_rate_bytes: 0,
        }
    }
}

impl<S: Service<Inbound, Response = Response<Body>, Error = Infallible>> Server<S> {
    /// Asks for `path` and waits for the answer, which puts it into memory.
    pub fn warm(&mut self, path: &str) {
        let Ok(response) = self.runtime.block_on(self.service.call(get(path)));
        assert!(response.status().is_success(), "{path}: {}", response.status());
    }
}

/// A GET as a connection hands it to the request path.
pub fn get(path: &str) -> Inbound {
    let request = Request::get(path)
        .header("host", "127.0.0.1:8081")
        .header("user-agent", "Go-http-client/1.1")
        .header("accept-encoding", "gzip")
        .body(())
        .expect("a request");
    Inbound {
        head: request.into_parts().0,
        has_body: false,
        peer: SocketAddr::from(([127, 0, 0, 1], 1)),
        tls: false,
        received: Instant::now(),
        id: HeaderValue::from_static("0123456789abcdef"),
    }
}

/// Stores `sample` whole, in one commit.
pub fn commit(store: &Store, sample: &Sample, h1: H1) {
    let patch = Patch {
        info: Some(sample.info.clone()),
        go_mod: Some(sample.go_mod.clone()),
        zip: Some((seal(store, &sample.zip), h1)),
        verified: Verified::ChecksumDatabase,
        origin: "origin.example".to_owned(),
        ..Patch::default()
    };
    store.commit(&sample.version, patch, Durability::Buffered).expect("commit a version");
}

fn seal(store: &Store, bytes: &Bytes) -> SealedBlob {
    let mut writer = store.begin_blob().expect("begin a blob");
    let mut rest = bytes.clone();
    while !rest.is_empty() {
        let chunk = rest.split_to(rest.len().min(CHUNK_BYTES));
        writer.append(chunk).expect("append a chunk");
    }
    writer.seal(Sha256::digest(bytes).into())
}
