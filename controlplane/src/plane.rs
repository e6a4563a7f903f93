//! The control plane as a whole: built from a configuration, run on a listener it is handed, drained.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cluster::{Address, Datacenter, NodeName};
use common::clock::Clock;
use identity::{CallerLayer, HotCredentials, ListenLimits, accept};
use parking_lot::Mutex;
use prometheus_client::registry::Registry;
use proto::control::v1 as pb;
use proto::limits::MESSAGE_BYTES_MAX;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Server;
use tonic_health::pb::health_server::{Health, HealthServer};
use tower::layer::util::{Identity, Stack};

use crate::authorize::Gate;
use crate::calls::Calls;
use crate::control::Control;
use crate::data_nodes::DataNodes;
use crate::invite::Inviter;
use crate::issue::Issuer;
use crate::keep;
use crate::metrics;
use crate::observed::Observed;
use crate::peers::Peers;
use crate::propose::Proposer;
use crate::raft::{self, DiskPace, Fatal, LogStore, OpenError, Peer, RaftNode, SpawnError};
use crate::reconcile;
use crate::services::reflection::AdminsOnly;
use crate::services::{
    Agents, Caches, Certificates, Clusters, Desk, Jobs, Joins, Layouts, Members, Modules, Nodes,
    Peer as PeerDesk, Policies, RaftPeer, Tokens, health, reflection,
};
use crate::start::{Begin, Member, Naming, StartError, prepare};
use crate::transport::GrpcTransport;
use crate::truth::{Shared, Truth};
use crate::watch::Hub;

/// The folder of everything that is a control node's own.
pub(crate) const FOLDER: &str = "control";
/// Streams of one connection; a data node has two, an operator a handful.
const STREAMS_MAX: u32 = 256;
/// A connection on which nothing is heard for so long is asked whether it lives.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a request's headers.
const HEADERS_BYTES_MAX: u32 = 16 * 1024;
/// How long what was answered last may take to leave at the end of a drain.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Everything that decides how a control node behaves.
#[derive(Clone, Debug)]
pub struct Config {
    /// Directory of the process; the control plane has a folder of its own in it.
    pub data_dir: PathBuf,
    /// Name of this member.
    pub name: NodeName,
    /// The region, for a new cluster.
    pub datacenter: Datacenter,
    /// Where others reach this member.
    pub rpc_address: Address,
    /// What this process runs, for people.
    pub version: String,
    /// How long running calls may take to finish when draining.
    pub drain_timeout: Duration,
}

/// Why a control plane does not run, or runs no more.
#[derive(Debug, thiserror::Error)]
pub enum PlaneError {
    /// It could not begin.
    #[error("begin as a control node")]
    Start(#[from] StartError),
    /// TLS refuses its credentials.
    #[error("use the credentials")]
    Tls(#[from] identity::TlsError),
    /// Raft's member could not begin.
    #[error("start the member")]
    Spawn(#[from] SpawnError),
    /// Raft's member stopped.
    #[error("the member has stopped")]
    Stopped(#[source] Arc<Fatal>),
    /// What operators can call cannot be told.
    #[error("read the descriptions of the services")]
    Descriptions(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The server ended by itself.
    #[error("serve gRPC")]
    Serve(#[from] tonic::transport::Error),
}

/// A control node, ready to run.
pub struct ControlPlane {
    control: Arc<Control>,
    node: RaftNode<cluster::Outcome>,
    credentials: Arc<HotCredentials>,
    keeper: keep::Keeper,
    transport: GrpcTransport,
    stop: CancellationToken,
    drain_timeout: Duration,
    is_new: bool,
}

impl ControlPlane {
    /// Takes up the member in the data directory, or makes one, and starts it. It answers nobody before [`Self::run`].
    #[expect(clippy::too_many_lines, reason = "what is wired here has no other order")]
    pub async fn build(config: Config, begin: Begin, clock: Arc<dyn Clock>) -> Result<Self, PlaneError> {
        let naming = Naming {
            name: config.name.clone(),
            datacenter: config.datacenter.clone(),
            rpc: config.rpc_address.clone(),
            version: config.version.clone(),
        };
        let folder = config.data_dir.join(FOLDER);
        let member = prepare(&folder, &config.data_dir, &naming, begin, &clock).await?;
        let Member { cluster, id, credentials, sealing, bootstrap, known, is_new } = member;
        let credentials = HotCredentials::new(credentials, Arc::clone(&clock))?;
        let stop = CancellationToken::new();
        let (shared, hub) = (Shared::default(), Arc::new(Hub::default()));
        let peers = Arc::new(Peers::new(id, shared.clone(), Arc::clone(&credentials), Arc::clone(&clock)));
        peers.update(known);
        let transport = GrpcTransport::new(cluster, id, Arc::clone(&peers), shared.clone(), stop.clone());
        let disk = Arc::new(DiskPace::default());
        let open = {
            let (shared, hub, folder) = (shared.clone(), Arc::clone(&hub), folder.clone());
            let pace = Arc::clone(&disk);
            move || {
                let disk = LogStore::open(&folder, cluster, id).map_err(OpenError::into_start)?;
                let truth = Truth::new(shared.clone(), Arc::clone(&hub));
                Peer::start(disk.timed_by(Arc::clone(&pace)), &truth, raft::Config::new(rand::random()))
            }
        };
        let reporting = transport.clone();
        let node = RaftNode::spawn(open, move |handle| {
            reporting.report_to(handle.clone());
            reporting
        })?;
        let observed = Arc::new(Mutex::new(Observed::new(Instant::now())));
        let proposer = Proposer {
            observed: Arc::clone(&observed),
            raft: node.handle().clone(),
            peers: Arc::clone(&peers),
            shared: shared.clone(),
            me: id,
        };
        let data_nodes =
            Arc::new(DataNodes::new(shared.clone(), Arc::clone(&credentials), Arc::clone(&clock)));
        let control = Arc::new(Control {
            cluster,
            me: id,
            name: config.name.to_string(),
            version: config.version,
            issuer: Issuer::new(cluster, shared.clone(), sealing),
            gate: Gate::new(shared.clone()),
            raft: node.handle().clone(),
            observed,
            assurance: crate::assurance::Assurance::default(),
            proposer,
            peers,
            data_nodes,
            shared,
            hub,
            disk,
        });
        let keeper = keep::Keeper {
            control: Arc::clone(&control),
            credentials: Arc::clone(&credentials),
            transport: transport.clone(),
            folder,
            shown: config.data_dir,
            rpc: config.rpc_address,
            bootstrap,
            clock,
        };
        Ok(Self {
            control,
            node,
            credentials,
            keeper,
            transport,
            stop,
            drain_timeout: config.drain_timeout,
            is_new,
        })
    }

    /// Whether the member has just come to be: made a cluster, or joined one.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// The cluster's id.
    pub fn cluster(&self) -> cluster::ClusterId {
        self.control.cluster
    }

    /// Lets a data node of this process in; the control plane is reached at `rpc`.
    pub fn inviter(&self, rpc: Address) -> Inviter {
        Inviter { control: Arc::clone(&self.control), rpc }
    }

    /// Registers its metrics.
    pub fn register(&self, registry: &mut Registry) {
        metrics::register(registry.sub_registry_with_prefix("goproxy_control"), &self.control);
    }

    /// Whether a leader is known and the cluster does not go on without this member, which is what a control node has to be ready.
    pub fn readiness(&self) -> impl Fn() -> bool + Send + Sync + use<> {
        let leadership = self.control.raft.leadership();
        let shared = self.control.shared.clone();
        move || leadership.borrow().leader.is_some() && !shared.is_left_behind()
    }

    /// Serves on `listener` until `drain`; returns when running calls have finished, or their time is up, and the log is closed.
    pub async fn run(self, listener: TcpListener, drain: CancellationToken) -> Result<(), PlaneError> {
        let mut halted = self.control.raft.halted();
        let (reporter, health) = tonic_health::server::health_reporter();
        let calls = Calls::default();
        let server = server(&self.control, health, calls.clone())?;
        let mut reporting = tokio::spawn(health::report(Arc::clone(&self.control), reporter, drain.clone()));
        let keeping = tokio::spawn(self.keeper.run(self.stop.clone()));
        let reconciling = tokio::spawn(reconcile::run(Arc::clone(&self.control), self.stop.clone()));
        // Ends with the drain, or with the member: nobody is to wait for one that takes part in nothing any more.
        let closing = drain.child_token();
        let _close = closing.clone().drop_guard();
        let incoming = accept(listener, self.credentials, ListenLimits::default(), closing.clone());
        let serving = server.serve_with_incoming_shutdown(incoming, closing.cancelled_owned());
        let mut serving = std::pin::pin!(serving);
        let ended = tokio::select! {
            ended = &mut serving => ended.map_err(PlaneError::from),
            fatal = halt(&mut halted) => fatal.map_or(Ok(()), |fatal| Err(PlaneError::Stopped(fatal))),
            () = drain.cancelled() => {
                let begun = Instant::now();
                hand_over(&self.control).await;
                // Whoever watches health hears how it is before the watch ends.
                let _ = (&mut reporting).await;
                let ending = async {
                    calls.drain(self.drain_timeout.saturating_sub(begun.elapsed())).await;
                    tokio::time::sleep(CLOSE_TIMEOUT).await;
                };
                tokio::select! {
                    _ = &mut serving => {}
                    () = ending => {}
                }
                Ok(())
            }
        };
        self.stop.cancel();
        self.transport.retain(|_| false);
        reporting.abort();
        let _ = keeping.await;
        let _ = reconciling.await;
        let node = self.node;
        let stopped = tokio::task::spawn_blocking(move || node.stop()).await;
        match (ended, stopped) {
            (Ok(()), Ok(Err(fatal))) => Err(PlaneError::Stopped(fatal)),
            (ended, _) => ended,
        }
    }
}

/// Why the member has stopped for good, when it has.
async fn halt(halted: &mut watch::Receiver<Option<Arc<Fatal>>>) -> Option<Arc<Fatal>> {
    let found = halted.wait_for(|halted| halted.as_ref().is_some_and(|fatal| is_final(fatal))).await;
    found.ok().and_then(|fatal| fatal.clone())
}

/// A full disk passes; everything else does not.
fn is_final(fatal: &Fatal) -> bool {
    !matches!(fatal, Fatal::Disk(raft::DiskError::Full { .. }))
}

/// A leader that goes lets another lead first, so that nobody has to find out that it is gone.
async fn hand_over(control: &Arc<Control>) {
    if !control.leads() {
        return;
    }
    let request = proto::raft::v1::TransferLeadershipRequest { member_id: 0 };
    let deadline = Instant::now() + Duration::from_secs(2);
    if let Err(fault) = crate::services::transfer(control, request, deadline).await {
        tracing::debug!(%fault, "leadership was not handed over");
    }
}

type Router = tonic::transport::server::Router<Stack<CallerLayer, Stack<Calls, Identity>>>;

fn server(
    control: &Arc<Control>,
    health: HealthServer<impl Health>,
    calls: Calls,
) -> Result<Router, PlaneError> {
    use pb::cache_service_server::CacheServiceServer;
    use pb::certificate_service_server::CertificateServiceServer;
    use pb::cluster_service_server::ClusterServiceServer;
    use pb::layout_service_server::LayoutServiceServer;
    use pb::member_service_server::MemberServiceServer;
    use pb::module_service_server::ModuleServiceServer;
    use pb::node_service_server::NodeServiceServer;
    use pb::operation_service_server::OperationServiceServer;
    use pb::policy_service_server::PolicyServiceServer;
    use pb::token_service_server::TokenServiceServer;
    use proto::join::v1::join_service_server::JoinServiceServer;
    use proto::node::v1::node_agent_service_server::NodeAgentServiceServer;
    use proto::raft::v1::peer_service_server::PeerServiceServer;
    use proto::raft::v1::raft_service_server::RaftServiceServer;
    let undescribed = |error: Box<dyn std::error::Error + Send + Sync>| PlaneError::Descriptions(error);
    let told = || reflection::told().map_err(|error| undescribed(error.into()));
    let reflection = told()?.build_v1().map_err(|error| undescribed(error.into()))?;
    let reflection_alpha = told()?.build_v1alpha().map_err(|error| undescribed(error.into()))?;
    let admins = || AdminsOnly(control.gate.clone());
    let desk = Desk { control: Arc::clone(control) };
    macro_rules! bounded {
        ($server:ident, $service:expr) => {
            $server::new($service)
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX)
        };
    }
    let clock = Arc::new(common::clock::SystemClock) as Arc<dyn Clock>;
    Ok(Server::builder()
        .layer(calls)
        .layer(CallerLayer::new(clock))
        .http2_keepalive_interval(Some(KEEP_ALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEP_ALIVE_TIMEOUT))
        .max_concurrent_streams(STREAMS_MAX)
        .http2_max_header_list_size(HEADERS_BYTES_MAX)
        .add_service(bounded!(ClusterServiceServer, Clusters(desk.clone())))
        .add_service(bounded!(MemberServiceServer, Members(desk.clone())))
        .add_service(bounded!(NodeServiceServer, Nodes(desk.clone())))
        .add_service(bounded!(LayoutServiceServer, Layouts(desk.clone())))
        .add_service(bounded!(PolicyServiceServer, Policies(desk.clone())))
        .add_service(bounded!(TokenServiceServer, Tokens(desk.clone())))
        .add_service(bounded!(CertificateServiceServer, Certificates(desk.clone())))
        .add_service(bounded!(OperationServiceServer, Jobs(desk.clone())))
        .add_service(bounded!(ModuleServiceServer, Modules(desk.clone())))
        .add_service(bounded!(CacheServiceServer, Caches(desk.clone())))
        .add_service(bounded!(JoinServiceServer, Joins(desk.clone())))
        .add_service(bounded!(NodeAgentServiceServer, Agents(desk.clone())))
        .add_service(bounded!(PeerServiceServer, PeerDesk(desk.clone())))
        .add_service(bounded!(RaftServiceServer, RaftPeer(desk)))
        .add_service(health)
        .add_service(InterceptedService::new(reflection, admins()))
        .add_service(InterceptedService::new(reflection_alpha, admins())))
}
