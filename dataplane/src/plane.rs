//! The data plane as a whole: built from a configuration, run on listeners it is handed, drained.

mod budget;
mod debug;

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use common::clock::Clock;
use gomod::GlobPatterns;
use http::HeaderValue;
use pages::Pages;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::admin::{Admin, DebugPage, Readiness};
use crate::holdings::{InHand, NodeHoldings, Pace};
use crate::housekeeping::Housekeeping;
use crate::http::{
    AccessLog, Body, CacheControl, Desk, HttpFamilies, Inbound, Observer, Patience, Reaper, RequestIds,
    Responder, Router, Server, TlsSource, TraceParent, costs_less_from_file, stack,
};
use crate::peers::{PeerFamilies, Peers};
use crate::private::Private;
use crate::replicate::{OfferQueue, Offers, Progress, SlotSync, Taker, Wanted};
use crate::rpc::{Content, Upkeep};
use crate::scrub::keep_scrubbing;
use crate::serve::{
    BlobReader, Checks, Layers, Memory, Proxy, ProxySettings, ServeFamilies, WhenUnavailable, findings,
    on_damage,
};
use crate::store::evict::{Algorithm, Keep, StoreFamilies};
use crate::store::{Finding, OpenError, Store};
use crate::sumdb::{SumDb, SumDbMetrics, SumDbOpenError, SumDbOptions, SumSpec};
use crate::sumdb_relay::SumRelay;
use crate::upstream::{Chain, ClientError, Clients, Limits, Upstream, UpstreamMetrics, UpstreamOptions};
use budget::{MemoryBudget, policy, store_options};

/// How long housekeeping may take to its end at least: it breaks off what it does after two seconds.
const KEEPING_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a node that ends waits for others to take what it stored last.
const HAND_OVER_TIMEOUT: Duration = Duration::from_secs(2);

/// Everything that decides how a data plane behaves. Plain values, checked by whoever made them.
#[derive(Debug)]
pub struct Config {
    /// Directory of the store.
    pub data_dir: PathBuf,
    /// Bytes that evictable zips may take on disk.
    pub cache_bytes: u64,
    /// Bytes that all caches in memory may take together.
    pub memory_bytes: u64,
    /// Where modules come from.
    pub chain: Chain,
    /// PEM file with the roots to trust when fetching.
    pub upstream_ca: Option<PathBuf>,
    /// Requests out at one origin at a time.
    pub fetches_max: usize,
    /// Modules that no public origin may hear of.
    pub private: GlobPatterns,
    /// The checksum database.
    pub sumdb: SumSpec,
    /// Modules that it is not asked about.
    pub no_sumdb: GlobPatterns,
    /// What to do while it cannot be asked.
    pub sumdb_unavailable: WhenUnavailable,
    /// Fetch nothing.
    pub offline: bool,
    /// How long lists and queries are fresh.
    pub list_lifetime: Duration,
    /// Which answers are logged.
    pub access_log: AccessLog,
    /// Open client connections.
    pub connections_max: usize,
    /// Answers being made or sent.
    pub in_flight_max: usize,
    /// `Strict-Transport-Security` for answers over TLS; zero for none.
    pub hsts_max_age: Duration,
    /// How long running answers may take to finish when draining.
    pub drain_timeout: Duration,
    /// How victims of eviction are found.
    pub eviction: Algorithm,
    /// What retention keeps.
    pub keep: Keep,
    /// Modules of which nothing ever leaves.
    pub pinned: GlobPatterns,
    /// Bytes a second that are copied from other nodes when slots move here.
    pub handoff_rate_bytes: u64,
    /// Bytes a second that are read to see whether everything that is stored verifies; 0 for never.
    pub scrub_rate_bytes: u64,
}

/// Why a data plane could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The store would not open.
    #[error("open the store")]
    Store(#[from] OpenError),
    /// The HTTP client for fetching could not be made.
    #[error("prepare fetching")]
    Client(#[from] ClientError),
    /// What is kept of the checksum database does not fit.
    #[error("take up the checksum database")]
    SumDb(#[from] SumDbOpenError),
}

/// What `/readyz` tells.
fn readiness(proxy: Arc<Proxy>) -> Readiness {
    Box::new(move || match proxy.readiness() {
        Ok(ready) => (http::StatusCode::OK, ready.into_owned()),
        Err(error) => {
            let hint = error.hint().unwrap_or_default();
            (error.status(), format!("{error}\n{hint}\n"))
        }
    })
}

/// Keeping copies where the layout wants them.
struct Replication {
    progress: Arc<Progress>,
    queue: Arc<OfferQueue>,
    offered: mpsc::Sender<Wanted>,
    taker: Taker,
    sync: Arc<SlotSync>,
    private: Private,
    clock: Arc<dyn Clock>,
}

/// A data plane, ready to run.
pub struct DataPlane {
    proxy: Arc<Proxy>,
    peers: Arc<Peers>,
    sums: Option<Arc<SumRelay>>,
    replication: Replication,
    server: Arc<Server>,
    admin: Admin,
    housekeeping: Arc<Housekeeping>,
    store: Arc<Store>,
    /// What readers found bad and only another node's copy makes whole.
    findings: mpsc::Receiver<Finding>,
    drain_timeout: Duration,
    scrub_rate_bytes: u64,
}

impl DataPlane {
    /// Opens the store and puts everything together. Blocks. `registry` gets the metrics, `version_text` is what
    /// `/version` tells, `trace_parent` continues the traces of clients.
    #[expect(clippy::too_many_lines, reason = "what is wired here has no other order")]
    pub fn build(
        config: &Config,
        tls: Option<TlsSource>,
        clock: Arc<dyn Clock>,
        mut registry: Registry,
        version_text: String,
        trace_parent: Option<TraceParent>,
    ) -> Result<Self, BuildError> {
        let budget = MemoryBudget::of(config.memory_bytes);
        let store =
            Arc::new(Store::open(&config.data_dir, store_options(config, &budget), Arc::clone(&clock))?);
        let http_families = Arc::new(HttpFamilies::default());
        let families = Families {
            serve: Arc::new(ServeFamilies::default()),
            store: StoreFamilies::default(),
            upstream: UpstreamMetrics::default(),
            sumdb: SumDbMetrics::default(),
            peers: Arc::default(),
        };
        http_families.register(registry.sub_registry_with_prefix("goproxy_http"));
        families.register(&mut registry);
        let memory = Memory::new(budget.cache);
        // What is encrypted is copied in any case.
        let memory =
            Arc::new(if tls.is_none() { memory.sending_at_least_cost(costs_less_from_file) } else { memory });
        let private = Private::new(config.private.clone());
        let serve = Arc::clone(&families.serve);
        let (found, findings) = findings();
        let damage = on_damage(Arc::clone(&store), Arc::clone(&memory), serve, private.clone(), found);
        let blobs =
            Arc::new(BlobReader::new(Arc::clone(&store), Arc::clone(&memory), damage, budget.ahead_chunks));
        let peers = Arc::new(Peers::new(Arc::clone(&clock), Arc::clone(&families.peers)));
        let queue = Arc::<OfferQueue>::default();
        let upstream = upstream(config, &clock, &families)?;
        let sums = relay(config, &upstream, &peers, &clock);
        let sumdb = sumdb(config, sums.as_ref(), &store, &clock, &families)?;
        if let (Some(relay), Some(sumdb)) = (&sums, &sumdb) {
            relay.lend_from(sumdb);
        }
        let private = Private::new(config.private.clone());
        let layers = Layers {
            memory: Arc::clone(&memory),
            store: Arc::clone(&store),
            peers: Arc::clone(&peers),
            offers: Arc::clone(&queue),
            upstream,
            checks: Checks::new(sumdb, config.sumdb_unavailable, private.clone()),
            clock: Arc::clone(&clock),
            blobs: Arc::clone(&blobs),
            metrics: Arc::clone(&families.serve),
        };
        let settings = ProxySettings {
            offline: config.offline,
            private: private.clone(),
            list_lifetime: config.list_lifetime,
            transit_chunks: budget.transit_chunks,
        };
        let proxy = Arc::new(Proxy::new(settings, layers));
        let router = Router::new(Arc::clone(&proxy), responder(config, blobs), private, trace_parent);
        let server = server(config, tls, http_families, router, memory.pages().cloned());
        let pages = debug::pages(&proxy, &store, &memory);
        let admin = Admin::new(registry, readiness(Arc::clone(&proxy)), version_text, pages);
        let (offered, taker) = Taker::new(Arc::clone(&peers), Arc::clone(&clock));
        let progress = Arc::<Progress>::default();
        let sync = Arc::new(SlotSync::new(
            Arc::clone(&proxy),
            Arc::clone(&peers),
            Arc::clone(&store),
            Arc::clone(&progress),
            Arc::clone(&queue),
            &config.data_dir,
            config.handoff_rate_bytes,
        ));
        let private = Private::new(config.private.clone());
        let clock_of_offers = Arc::clone(&clock);
        let replication =
            Replication { progress, queue, offered, taker, sync, private, clock: clock_of_offers };
        let housekeeping = Arc::new(Housekeeping {
            store: Arc::clone(&store),
            memory,
            policy: policy(config, &peers),
            families: families.store,
            taken_down: {
                let peers = Arc::clone(&peers);
                Box::new(move || peers.marks(|marks| marks.taken_down().to_vec()).unwrap_or_default())
            },
            clock,
        });
        Ok(Self {
            proxy,
            peers,
            sums,
            replication,
            server,
            admin,
            housekeeping,
            store,
            findings,
            drain_timeout: config.drain_timeout,
            scrub_rate_bytes: config.scrub_rate_bytes,
        })
    }

    /// The request path without its sockets, for measuring it.
    pub fn service(
        &self,
    ) -> impl tower::Service<Inbound, Response = http::Response<Body>, Error = Infallible> + use<> {
        self.server.stack.clone()
    }

    /// The other nodes, for when this one belongs to a cluster.
    pub fn peers(&self) -> Arc<Peers> {
        Arc::clone(&self.peers)
    }

    /// What other nodes are answered with.
    pub fn content(&self) -> Content {
        Content::new(
            Arc::clone(&self.proxy),
            Arc::clone(&self.peers),
            self.sums.clone(),
            Arc::clone(&self.store),
            self.replication.offered.clone(),
        )
    }

    /// What control nodes have this node do with its store.
    pub fn upkeep(&self) -> Upkeep {
        Upkeep {
            proxy: Arc::clone(&self.proxy),
            peers: Arc::clone(&self.peers),
            store: Arc::clone(&self.store),
            housekeeping: Arc::clone(&self.housekeeping),
            sync: Arc::clone(&self.replication.sync),
            scrubbing: Arc::new(Semaphore::new(1)),
        }
    }

    /// What the control plane hears of this node's store.
    pub fn holdings(&self) -> NodeHoldings {
        NodeHoldings {
            proxy: Arc::clone(&self.proxy),
            store: Arc::clone(&self.store),
            progress: Arc::clone(&self.replication.progress),
            http: Arc::clone(&self.server.metrics),
            pace: Pace::default(),
            in_hand: InHand::default(),
        }
    }

    /// More pages for `/debug/`.
    pub fn add_debug_pages(&mut self, pages: Vec<DebugPage>) {
        self.admin.add_pages(pages);
    }

    /// Writes the metrics as `/metrics` shows them, for whoever sends them elsewhere.
    pub fn exposition(&self) -> impl Fn() -> String + Send + Sync + use<> {
        self.admin.exposition()
    }

    /// Serves on `listeners` and `admin_listeners` until `drain`; returns when running answers have finished, or
    /// their time is up, and the store is on disk.
    pub async fn run(
        self,
        listeners: Vec<TcpListener>,
        admin_listeners: Vec<TcpListener>,
        drain: CancellationToken,
    ) {
        let stop = CancellationToken::new();
        let keeping = tokio::spawn(self.housekeeping.run(stop.clone()));
        let sweeping = tokio::spawn(Arc::clone(&self.server).sweep(stop.clone()));
        let served = CancellationToken::new();
        let telling = self.replication.begin(&self.proxy, &self.peers, &drain, &served);
        let (proxy, store) = (Arc::clone(&self.proxy), Arc::clone(&self.store));
        tokio::spawn(Arc::clone(&store).keep_feeling_pulse(stop.clone()));
        tokio::spawn(keep_scrubbing(proxy, store, self.scrub_rate_bytes, drain.clone()));
        tokio::spawn(Arc::clone(&self.proxy).keep_rechecking(drain.clone()));
        tokio::spawn(Arc::clone(&self.proxy).keep_relisting(drain.clone()));
        let (mending, ended) = (Arc::clone(&self.proxy).mend_what_readers_find(self.findings), drain.clone());
        tokio::spawn(async move { ended.run_until_cancelled(mending).await });
        // The admin side outlives the drain: load balancers and operators go on looking at it.
        let admin = Arc::new(self.admin);
        for listener in admin_listeners {
            tokio::spawn(Arc::clone(&admin).run(listener, stop.clone()));
        }
        let serving: Vec<_> = listeners
            .into_iter()
            .map(|listener| {
                tokio::spawn(Arc::clone(&self.server).run(listener, drain.clone(), self.drain_timeout))
            })
            .collect();
        drain.cancelled().await;
        self.proxy.begin_drain();
        for task in serving {
            let _ = task.await;
        }
        served.cancel();
        let _ = tokio::time::timeout(HAND_OVER_TIMEOUT, telling).await;
        stop.cancel();
        let _ = sweeping.await;
        // A pass that rewrites much may take longer than anybody waits; what it has not done, the next start goes on with.
        let _ = tokio::time::timeout(self.drain_timeout.max(KEEPING_TIMEOUT), keeping).await;
        let store = self.store;
        match tokio::task::spawn_blocking(move || store.flush()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "failed to write the store out"),
            Err(error) => tracing::error!(%error, "failed to write the store out"),
        }
    }
}

impl Replication {
    /// Works until `drain`. Who tells other nodes of what is stored here goes on until clients were `served` and they have it.
    fn begin(
        self,
        proxy: &Arc<Proxy>,
        peers: &Arc<Peers>,
        drain: &CancellationToken,
        served: &CancellationToken,
    ) -> JoinHandle<()> {
        let (queue, peers, private, clock) = (self.queue, Arc::clone(peers), self.private, self.clock);
        let offers = Offers { queue, peers, private, clock };
        tokio::spawn(self.taker.run(Arc::clone(proxy), drain.clone()));
        tokio::spawn(self.sync.run(drain.clone()));
        tokio::spawn(offers.run(drain.clone(), served.clone()))
    }
}

struct Families {
    serve: Arc<ServeFamilies>,
    store: StoreFamilies,
    upstream: UpstreamMetrics,
    sumdb: SumDbMetrics,
    peers: Arc<PeerFamilies>,
}

impl Families {
    fn register(&self, registry: &mut Registry) {
        self.serve.register(registry.sub_registry_with_prefix("goproxy_serve"));
        self.store.register(registry.sub_registry_with_prefix("goproxy_store"));
        self.upstream.register(registry.sub_registry_with_prefix("goproxy_upstream"));
        self.sumdb.register(registry.sub_registry_with_prefix("goproxy_sumdb"));
        self.peers.register(registry.sub_registry_with_prefix("goproxy_peer"));
    }
}

fn upstream(config: &Config, clock: &Arc<dyn Clock>, families: &Families) -> Result<Upstream, ClientError> {
    let clients = Clients::new(config.upstream_ca.as_deref().map(Path::new))?;
    let options = UpstreamOptions {
        private: config.private.clone(),
        limits: Limits { places: config.fetches_max, ..Limits::default() },
    };
    let chain = if config.offline { Chain::off() } else { config.chain.clone() };
    Upstream::new(chain, options, clients, Arc::clone(clock), families.upstream.clone())
}

/// How the checksum database is asked, if there is one.
fn relay(
    config: &Config,
    upstream: &Upstream,
    peers: &Arc<Peers>,
    clock: &Arc<dyn Clock>,
) -> Option<Arc<SumRelay>> {
    match &config.sumdb {
        SumSpec::Off => None,
        SumSpec::Database(database) => {
            let (peers, clock) = (Arc::clone(peers), Arc::clone(clock));
            Some(Arc::new(SumRelay::new(upstream.clone(), database.source(), peers, clock)))
        }
    }
}

fn sumdb(
    config: &Config,
    relay: Option<&Arc<SumRelay>>,
    store: &Arc<Store>,
    clock: &Arc<dyn Clock>,
    families: &Families,
) -> Result<Option<Arc<SumDb>>, SumDbOpenError> {
    let (SumSpec::Database(database), Some(relay)) = (&config.sumdb, relay) else { return Ok(None) };
    let options = SumDbOptions {
        no_sumdb: config.no_sumdb.clone(),
        private: config.private.clone(),
        offline: config.offline,
    };
    let (store, clock) = (Arc::clone(store) as _, Arc::clone(clock));
    let transport = Arc::clone(relay) as _;
    SumDb::open(database, options, transport, store, clock, families.sumdb.clone())
        .map(|sumdb| Some(Arc::new(sumdb)))
}

fn responder(config: &Config, blobs: Arc<BlobReader>) -> Responder {
    Responder { blobs, lists: CacheControl::seconds(config.list_lifetime.as_secs()) }
}

fn server(
    config: &Config,
    tls: Option<TlsSource>,
    families: Arc<HttpFamilies>,
    router: Router,
    pages: Option<Arc<Pages>>,
) -> Arc<Server> {
    let max_age = config.hsts_max_age.as_secs();
    let hsts = (max_age > 0).then(|| HeaderValue::try_from(format!("max-age={max_age}")).ok()).flatten();
    let observer = Arc::new(Observer {
        metrics: Arc::clone(&families),
        access_log: config.access_log,
        private: Private::new(config.private.clone()),
        hsts,
    });
    let ids = Arc::new(RequestIds::new(rand::random()));
    let desk = Desk {
        router: router.clone(),
        ids: Arc::clone(&ids),
        metrics: Arc::clone(&families),
        hsts: observer.hsts.clone(),
    };
    Arc::new(Server {
        stack: stack(Arc::clone(&observer), config.in_flight_max, router),
        ids,
        observer,
        desk: (config.access_log != AccessLog::All).then(|| Arc::new(desk)),
        tls,
        reaper: Arc::new(Reaper::new(Patience::default())),
        metrics: families,
        permits: Arc::new(Semaphore::new(config.connections_max.min(Semaphore::MAX_PERMITS))),
        pages,
    })
}
