//! The data plane in this process, and its place in a cluster.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use cluster::{Address, NodeName, Zone};
use common::clock::SystemClock;
use common::error_chain::ErrorChain;
use common::shutdown::Shutdown;
use common::tls::{RELOAD_INTERVAL, ServerTls, TlsFiles};
use controlplane::Inviter;
use dataplane::control::{
    Agent, AgentConfig, ControlFamilies, Holdings, JoinError, NodeBegin, NodeIdentity, ViewAge, Views,
    joined_through,
};
use dataplane::http::{AccessLog, TlsSource};
use dataplane::peers::Peers;
use dataplane::plane::{BuildError, Config, DataPlane};
use dataplane::rpc::{Content, Upkeep};
use dataplane::serve::WhenUnavailable;
use dataplane::store::evict::{Algorithm, Keep};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{Seeing, ServeError, bind_all, names};
use crate::build::BUILD;
use crate::otlp::{self, MetricsPush};
use crate::settings::{self, Settings};
use crate::{telemetry_metrics, tls_metrics};

/// The folder of what makes this process a node of a cluster.
const FOLDER: &str = "node";
/// Between two attempts to join the cluster of its own process.
const JOIN_PAUSE: Duration = Duration::from_secs(10);
/// How long the data node waits for the cluster of its own process.
const INVITE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long it waits with serving until that is under way: usually a tenth of a second.
const SETTLE_MAX: Duration = Duration::from_millis(500);
/// How long what other nodes are being sent may take to its end, when this node's own clients have been served.
const LEND_TIMEOUT: Duration = Duration::from_secs(10);
/// How long this node and the others may take to hear of each other before it serves: some of them may be gone.
const GREET_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a node that does not know what its cluster agrees on may take to hear it, and between two looks.
const VIEW_TIMEOUT: Duration = Duration::from_secs(30);
const VIEW_POLL: Duration = Duration::from_millis(5);
const DAY: Duration = Duration::from_hours(24);

/// How the node gets into a cluster.
pub(super) enum Joining {
    /// By the settings, or it is in one already.
    AsToldTo,
    /// That of the control plane in this process, as soon as there is one.
    Within(Inviter),
    /// Into none.
    Nothing,
}

/// Serves until `shutdown` asks for a drain and it is over.
#[expect(clippy::too_many_lines, reason = "what is wired here has no other order")]
pub(super) async fn serve(
    settings: Settings,
    seeing: Seeing,
    shutdown: &Shutdown,
    joining: Joining,
) -> Result<(), ServeError> {
    if matches!(joining, Joining::AsToldTo) && settings.join.is_none() && !has_joined(&settings) {
        let text = "a data node belongs to a cluster: give --join and --join-token, as `goproxyctl node add` prints them";
        return Err(ServeError::Settings(anyhow::anyhow!(text)));
    }
    let tls = load_tls(&settings)?;
    // All ports before anything else is started, so that a second process fails early.
    let listeners = bind_all("listen", &settings.listen)?;
    let admin_listeners = bind_all("admin-listen", &settings.admin_listen)?;
    let (node, rpc) = placed(&settings, listeners.first(), &joining).await?;
    let families = Arc::new(ControlFamilies::new(Arc::new(SystemClock)));
    // A node that was told to join a cluster does so before it serves; after that it serves whatever the cluster does.
    let agent = match &joining {
        Joining::AsToldTo => Some(node.join(begin(&settings)?, &families).await?),
        Joining::Within(_) | Joining::Nothing => None,
    };
    let source = tls.clone().map(|tls| Arc::new(move || tls.config()) as TlsSource);
    let config = config(&settings);
    let trace_parent = otlp::trace_parent(&settings);
    let watched = tls.clone();
    let registered = Arc::clone(&families);
    let control = match &joining {
        Joining::Within(inviter) => Some(inviter.clone()),
        Joining::AsToldTo | Joining::Nothing => None,
    };
    let control_is_missing = matches!(joining, Joining::Nothing);
    let mut plane = tokio::task::spawn_blocking(move || {
        let mut registry = Registry::default();
        telemetry_metrics::register(&mut registry, seeing.telemetry);
        tls_metrics::register(&mut registry, watched, Arc::new(SystemClock));
        registered.register(registry.sub_registry_with_prefix("goproxy_cluster"));
        if let Some(control) = control {
            control.register(&mut registry);
        } else if control_is_missing {
            let halted: Gauge = Gauge::default();
            halted.set(1);
            let help = "1 while this member takes part in nothing, else 0";
            registry.sub_registry_with_prefix("goproxy_control").register("halted", help, halted);
        }
        let version_text = format!("{BUILD}\n");
        DataPlane::build(&config, source, Arc::new(SystemClock), registry, version_text, trace_parent)
    })
    .await
    .context("build the data plane")
    .map_err(ServeError::Failed)?
    .map_err(refused)?;
    plane.add_debug_pages(seeing.pages);
    let scheme = if tls.is_some() { "https" } else { "http" };
    if let Some(tls) = tls {
        tokio::spawn(tls.watch(RELOAD_INTERVAL, shutdown.drain().clone()));
    }
    tell_addresses(&listeners, &format!("serving GOPROXY at {scheme}"));
    tell_addresses(&admin_listeners, "serving metrics and health at http");
    let stop = CancellationToken::new();
    let peering = Peering {
        peers: plane.peers(),
        services: (plane.content(), plane.upkeep()),
        name: node.config.identity.name.clone(),
        listener: rpc,
        stop: stop.clone(),
        drain_timeout: settings.drain_timeout.min(LEND_TIMEOUT),
    };
    let holdings: Arc<dyn Holdings> = Arc::new(plane.holdings());
    if agent.is_none() {
        remember(&node.config.folder, families.view_age.clone(), &plane.peers());
    }
    let following = match (agent, joining) {
        (Some(agent), _) => {
            let peers = plane.peers();
            let (views, serving) = (agent.views(), peering.begin(&agent));
            let following = tokio::spawn(follow(agent, holdings, serving, stop.clone()));
            if let Some(Err(error)) = shutdown.drain().run_until_cancelled(knows_its_cluster(&views)).await {
                stop.cancel();
                let _ = following.await;
                return Err(error);
            }
            tell_zone(&views, &node, &settings);
            // By the time that it serves, the others ask it for what it owns.
            peers.greet_all(GREET_TIMEOUT).await;
            following
        }
        (None, Joining::Within(inviter)) => {
            let (settled, settling) = oneshot::channel();
            let (drain, stop) = (shutdown.drain().clone(), stop.clone());
            let following = tokio::spawn(async move {
                if let Some(agent) = joined(&inviter, &node, &families, &drain).await {
                    follow_within(agent, holdings, peering, settled, stop).await;
                }
            });
            // A cluster that begins takes the processor from whoever asks first; modules do not wait for one that does not.
            let _ = tokio::time::timeout(SETTLE_MAX, shutdown.drain().run_until_cancelled(settling)).await;
            following
        }
        (None, Joining::AsToldTo | Joining::Nothing) => tokio::spawn(async {}),
    };
    let push = otlp::options(&settings).map(|options| MetricsPush::start(options, plane.exposition()));
    plane.run(listeners, admin_listeners, shutdown.drain().clone()).await;
    stop.cancel();
    let _ = following.await;
    if let Some(push) = push {
        push.finish().await;
    }
    Ok(())
}

/// What this node is to others, and where they reach it.
async fn placed(
    settings: &Settings,
    listener: Option<&TcpListener>,
    joining: &Joining,
) -> Result<(Node, Option<TcpListener>), ServeError> {
    let control_nodes = match joining {
        Joining::AsToldTo => control_nodes(settings),
        // Whoever is on other machines comes to this one.
        Joining::Within(_) | Joining::Nothing => Vec::new(),
    };
    let here = names::here(settings, &control_nodes).await;
    let (node, rpc) = Node::of(settings, listener, &here, joining)?;
    if matches!(joining, Joining::AsToldTo) {
        let identity = &node.config.identity;
        names::check_reached(identity, &control_nodes, settings.join.as_deref().unwrap_or_default()).await?;
        info!(http = %identity.http, rpc = %identity.rpc, "balancers and other nodes are told these addresses");
    }
    Ok((node, rpc))
}

/// Has what operators said of modules hold from the first answer on, whether the cluster comes up or not.
fn remember(folder: &Path, age: ViewAge, peers: &Peers) {
    match Views::open(folder, age) {
        Ok(views) => peers.remember(Arc::new(views)),
        Err(error) => {
            let error = ErrorChain::new(&error).to_string();
            error!(
                error,
                "what was taken down, quarantined or pinned is not known until the cluster tells it"
            );
        }
    }
}

/// Warns of a `--zone` that is not where the cluster takes this node to be, and by which no copies are spread.
fn tell_zone(views: &Views, node: &Node, settings: &Settings) {
    let Some(view) = views.current() else { return };
    let name = &node.config.identity.name;
    let Some(known) = view.node(name).filter(|known| known.zone != node.zone) else { return };
    if settings.zone != settings::ZONE_DEFAULT {
        warn!(
            zone = %node.zone, cluster_zone = %known.zone,
            "--zone is not the zone that this node was added to its cluster with, which is the one that counts: \
             `goproxyctl node label {name} --zone {}` changes it",
            node.zone
        );
    }
}

/// Follows the cluster of this process; tells `settled` when it has begun to.
async fn follow_within(
    agent: Agent,
    holdings: Arc<dyn Holdings>,
    peering: Peering,
    settled: oneshot::Sender<()>,
    stop: CancellationToken,
) {
    let (peers, views) = (Arc::clone(&peering.peers), agent.views());
    let serving = peering.begin(&agent);
    let settling = async {
        let _ = knows_its_cluster(&views).await;
        let _ = settled.send(());
    };
    tokio::join!(follow(agent, holdings, serving, stop), peers.greet_all(GREET_TIMEOUT), settling);
}

/// Waits until the node knows what its cluster agrees on: what was taken down is not to be served because a file is damaged. The usual
/// case is that the file is there.
async fn knows_its_cluster(views: &Views) -> Result<(), ServeError> {
    let knows = async {
        while views.current().is_none() {
            tokio::time::sleep(VIEW_POLL).await;
        }
    };
    tokio::time::timeout(VIEW_TIMEOUT, knows).await.map_err(|_| {
        let text = "what the cluster agrees on is not on this disk, or damaged, and no control node tells it; \
                    start again when one can be reached";
        ServeError::Failed(anyhow::anyhow!(text))
    })
}

fn tell_addresses(listeners: &[TcpListener], what: &str) {
    for address in listeners.iter().filter_map(|listener| listener.local_addr().ok()) {
        info!("{what}://{address}");
    }
}

/// Who this node is.
struct Node {
    config: AgentConfig,
    zone: Zone,
}

impl Node {
    /// By the settings; with the socket on which other nodes will reach it, where it has one of its own. What listens on every address is
    /// reached at those of `here`.
    fn of(
        settings: &Settings,
        http: Option<&TcpListener>,
        here: &[IpAddr],
        joining: &Joining,
    ) -> Result<(Self, Option<TcpListener>), ServeError> {
        let no_listener = || ServeError::Settings(anyhow::anyhow!("--listen is empty"));
        let http = http.ok_or_else(no_listener)?;
        let http = names::reached_at(settings.advertise.as_ref(), http, here, settings)?;
        let (rpc, listener) = match joining {
            // The address in the settings is the control plane's, which shows another certificate.
            Joining::Within(_) => {
                let ip = settings.rpc_listen.first().ok_or_else(no_listener)?.ip();
                let listener = bind_all("rpc-listen", &[SocketAddr::new(ip, 0)])?
                    .into_iter()
                    .next()
                    .ok_or_else(no_listener)?;
                (names::reached_at(None, &listener, here, settings)?, Some(listener))
            }
            Joining::Nothing => (http.clone(), None),
            Joining::AsToldTo => {
                let listener = bind_all("rpc-listen", &settings.rpc_listen)?
                    .into_iter()
                    .next()
                    .ok_or_else(no_listener)?;
                let rpc = names::reached_at(settings.rpc_advertise.as_ref(), &listener, here, settings)?;
                (rpc, Some(listener))
            }
        };
        let zone = Zone::parse(&settings.zone)
            .with_context(|| format!("--zone {:?}", settings.zone))
            .map_err(ServeError::Settings)?;
        let identity = NodeIdentity {
            name: names::name(settings)?,
            datacenter: names::datacenter(settings)?,
            rpc,
            http,
            version: names::version(),
        };
        let config = AgentConfig { folder: settings.data_dir.join(FOLDER), identity };
        Ok((Self { config, zone }, listener))
    }

    async fn join(&self, begin: NodeBegin, families: &Arc<ControlFamilies>) -> Result<Agent, ServeError> {
        let agent =
            Agent::build(self.config.clone(), begin, Arc::new(SystemClock), Arc::clone(families)).await;
        agent.map_err(|error| match &error {
            JoinError::Nobody { .. } | JoinError::OtherToken { .. } => ServeError::Settings(error.into()),
            JoinError::Other { .. } | JoinError::Files(_) => ServeError::DataDir(error.into()),
            JoinError::Folder { .. } | JoinError::Refused { .. } | JoinError::Answer { .. } => {
                ServeError::Failed(error.into())
            }
        })
    }
}

/// Whether there are credentials of an earlier start.
fn has_joined(settings: &Settings) -> bool {
    settings.data_dir.join(FOLDER).join("node.pem").exists()
}

/// Where its control nodes are, by the settings and by what it was told when it joined.
fn control_nodes(settings: &Settings) -> Vec<Address> {
    let mut found = settings.join.clone().unwrap_or_default();
    // A folder that cannot be read is refused when the credentials are.
    found.extend(joined_through(&settings.data_dir.join(FOLDER)).unwrap_or_default());
    found
}

fn begin(settings: &Settings) -> Result<NodeBegin, ServeError> {
    match (&settings.join, &settings.join_token) {
        (Some(servers), Some(token)) => {
            let token = token.expose().parse().context("read --join-token").map_err(ServeError::Settings)?;
            Ok(NodeBegin::Join { servers: servers.clone(), token })
        }
        (servers, _) => Ok(NodeBegin::Resume { servers: servers.clone().unwrap_or_default() }),
    }
}

/// Follows the control plane until `stop`; other nodes get to the end of what they are being sent.
async fn follow(
    agent: Agent,
    holdings: Arc<dyn Holdings>,
    serving: Option<JoinHandle<()>>,
    stop: CancellationToken,
) {
    agent.run(holdings, stop).await;
    if let Some(serving) = serving {
        let _ = serving.await;
    }
}

/// What this node has to do with the other nodes.
struct Peering {
    peers: Arc<Peers>,
    services: (Content, Upkeep),
    name: NodeName,
    listener: Option<TcpListener>,
    /// Cancelled when this node's own clients have been served: until then others are answered.
    stop: CancellationToken,
    drain_timeout: Duration,
}

impl Peering {
    /// Asks them from now on, and answers them until `stop`.
    fn begin(self, agent: &Agent) -> Option<JoinHandle<()>> {
        self.peers.attach(self.name, agent.views(), agent.credentials());
        let listener = self.listener?;
        tell_addresses(std::slice::from_ref(&listener), "serving other nodes at grpc");
        let clock = Arc::new(SystemClock);
        let serving = dataplane::rpc::serve(
            self.services,
            listener,
            agent.credentials(),
            clock,
            self.stop,
            self.drain_timeout,
        );
        Some(tokio::spawn(async move {
            if let Err(error) = serving.await {
                let error = ErrorChain::new(&error).to_string();
                tracing::error!(error, "other nodes are not answered any more");
            }
        }))
    }
}

/// Joins, however often it takes; modules are served meanwhile. `None` if the process is to end.
async fn joined(
    inviter: &Inviter,
    node: &Node,
    families: &Arc<ControlFamilies>,
    drain: &CancellationToken,
) -> Option<Agent> {
    loop {
        match drain.run_until_cancelled(join_within(inviter, node, families)).await? {
            Ok(agent) => return Some(agent),
            // The control plane of this process ends as well.
            Err(_) if drain.is_cancelled() => return None,
            Err(error) => {
                let error = ErrorChain::new(&error).to_string();
                tracing::warn!(error, "this process's data node is not in its cluster yet");
            }
        }
        drain.run_until_cancelled(tokio::time::sleep(JOIN_PAUSE)).await?;
    }
}

async fn join_within(
    inviter: &Inviter,
    node: &Node,
    families: &Arc<ControlFamilies>,
) -> Result<Agent, ServeError> {
    let here = vec![inviter.server()];
    match node.join(NodeBegin::Resume { servers: here.clone() }, families).await {
        Err(ServeError::Settings(_)) => {}
        taken => return taken,
    }
    let deadline = Instant::now() + INVITE_TIMEOUT;
    let token = inviter.invite(&node.config.identity.name, &node.zone, deadline).await;
    let token = token.context("let this process's data node in").map_err(ServeError::Failed)?;
    node.join(NodeBegin::Join { servers: here, token }, families).await
}

fn refused(error: BuildError) -> ServeError {
    match error {
        BuildError::Store(ref open) if open.is_locked_or_damaged() => ServeError::DataDir(error.into()),
        BuildError::Client(_) => ServeError::Settings(error.into()),
        BuildError::Store(_) | BuildError::SumDb(_) => ServeError::Failed(error.into()),
    }
}

fn config(settings: &Settings) -> Config {
    let days =
        |duration: Duration| u32::try_from(duration.as_secs().div_ceil(DAY.as_secs())).unwrap_or(u32::MAX);
    Config {
        data_dir: settings.data_dir.clone(),
        cache_bytes: settings.cache_size.bytes(),
        memory_bytes: settings.memory.bytes(),
        chain: settings.upstream.clone(),
        upstream_ca: settings.upstream_ca.clone(),
        fetches_max: settings.max_fetches as usize,
        private: settings.private.clone(),
        sumdb: settings.sumdb.clone(),
        no_sumdb: settings.no_sumdb.clone(),
        sumdb_unavailable: match settings.sumdb_unavailable {
            settings::SumdbUnavailable::Refuse => WhenUnavailable::Refuse,
            settings::SumdbUnavailable::Serve => WhenUnavailable::Serve,
        },
        offline: settings.offline,
        list_lifetime: settings.list_ttl,
        access_log: match settings.access_log {
            settings::AccessLog::Off => AccessLog::Off,
            settings::AccessLog::Misses => AccessLog::Misses,
            settings::AccessLog::All => AccessLog::All,
        },
        connections_max: settings.max_connections as usize,
        in_flight_max: settings.max_requests_in_flight as usize,
        hsts_max_age: settings.hsts_max_age,
        drain_timeout: settings.drain_timeout,
        eviction: match settings.eviction {
            settings::Eviction::S3Fifo => Algorithm::S3Fifo,
            settings::Eviction::Lru => Algorithm::Lru,
        },
        keep: Keep {
            newest: (settings.retain_newest > 0).then_some(settings.retain_newest),
            days: (!settings.retain_accessed.is_zero()).then(|| days(settings.retain_accessed)),
        },
        pinned: settings.pin.clone(),
        handoff_rate_bytes: settings.handoff_rate.bytes(),
        scrub_rate_bytes: settings.scrub_rate.bytes(),
    }
}

fn load_tls(settings: &Settings) -> Result<Option<Arc<ServerTls>>, ServeError> {
    let (Some(cert), Some(key)) = (settings.tls_cert.clone(), settings.tls_key.clone()) else {
        return Ok(None);
    };
    let files = TlsFiles { cert, key, client_ca: settings.tls_client_ca.clone() };
    ServerTls::load(files).map(Some).map_err(|error| ServeError::Settings(error.into()))
}
