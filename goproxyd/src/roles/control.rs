//! The control plane in this process.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Context;
use cluster::Address;
use common::clock::SystemClock;
use common::shutdown::Shutdown;
use controlplane::{Begin, Config, ControlPlane, Inviter, PlaneError, StartError};
use dataplane::admin::Admin;
use http::StatusCode;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::{Seeing, ServeError, bind_all, names};
use crate::build::BUILD;
use crate::otlp::{self, MetricsPush};
use crate::settings::Settings;
use crate::telemetry_metrics;

/// The default of `--rpc-listen`.
const RPC_LISTEN_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8083);

/// A control plane with its sockets.
pub(super) struct Running {
    plane: ControlPlane,
    listener: TcpListener,
    rpc: Address,
}

impl Running {
    /// Binds, takes up the member or makes one, and starts it.
    pub(super) async fn begin(
        settings: &Settings,
        bootstrap: bool,
        fallback: Fallback,
    ) -> Result<Self, ServeError> {
        let listener = rpc_listener(settings, fallback)?;
        let rpc = names::reached_at(settings.rpc_advertise.as_ref(), &listener, &[], settings)?;
        let config = Config {
            data_dir: settings.data_dir.clone(),
            name: names::name(settings)?,
            datacenter: names::datacenter(settings)?,
            rpc_address: rpc.clone(),
            version: names::version(),
            drain_timeout: settings.drain_timeout,
        };
        let begin = begin(settings, bootstrap)?;
        let plane = ControlPlane::build(config, begin, Arc::new(SystemClock)).await.map_err(refused)?;
        Ok(Self { plane, listener, rpc })
    }

    /// Lets a data node of this process in.
    pub(super) fn inviter(&self) -> Inviter {
        self.plane.inviter(self.rpc.clone())
    }

    /// Serves until `drain`.
    pub(super) async fn run(self, drain: CancellationToken) -> Result<(), ServeError> {
        info!(cluster = %self.plane.cluster(), "serving gRPC at {}", self.rpc);
        self.plane.run(self.listener, drain).await.map_err(refused)
    }
}

/// The role `control`: the control plane alone, with the admin endpoints of every process.
pub(super) async fn serve(
    settings: Settings,
    seeing: Seeing,
    shutdown: &Shutdown,
    bootstrap: bool,
) -> Result<(), ServeError> {
    let admin_listeners = bind_all("admin-listen", &settings.admin_listen)?;
    let running = Running::begin(&settings, bootstrap, Fallback::None).await?;
    if running.plane.is_new() {
        tell_how_to_go_on(&settings, &running.rpc, bootstrap);
    }
    let mut registry = Registry::default();
    telemetry_metrics::register(&mut registry, seeing.telemetry);
    running.plane.register(&mut registry);
    let (drain, leads) = (shutdown.drain().clone(), running.plane.readiness());
    let readiness = Box::new(move || {
        let (status, told) = if drain.is_cancelled() {
            (StatusCode::SERVICE_UNAVAILABLE, "this control node is draining\n")
        } else if leads() {
            (StatusCode::OK, "ok\n")
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, "no control node leads\n")
        };
        (status, told.to_owned())
    });
    let admin = Arc::new(Admin::new(registry, readiness, format!("{BUILD}\n"), seeing.pages));
    let stop = CancellationToken::new();
    for listener in admin_listeners {
        if let Ok(address) = listener.local_addr() {
            info!("serving metrics and health at http://{address}");
        }
        tokio::spawn(Arc::clone(&admin).run(listener, stop.clone()));
    }
    let push = otlp::options(&settings).map(|options| MetricsPush::start(options, admin.exposition()));
    let ended = running.run(shutdown.drain().clone()).await;
    stop.cancel();
    if let Some(push) = push {
        push.finish().await;
    }
    ended
}

fn tell_how_to_go_on(settings: &Settings, rpc: &Address, bootstrap: bool) {
    if !bootstrap {
        info!("joined the cluster; it becomes a voter by itself as soon as it has caught up");
        return;
    }
    let folder = settings.data_dir.display();
    info!(
        "made a cluster; go on with: goproxyctl --server {rpc} --ca {folder}/ca.pem --token-file {folder}/admin.token cluster status"
    );
}

fn begin(settings: &Settings, bootstrap: bool) -> Result<Begin, ServeError> {
    let refuse = |text: &str| Err(ServeError::Settings(anyhow::anyhow!(text.to_owned())));
    match (&settings.join, &settings.join_token, bootstrap) {
        (Some(_), _, true) => refuse("--bootstrap makes a cluster and --join joins one: say one of them"),
        (_, None, true) => Ok(Begin::Bootstrap),
        (Some(servers), Some(token), false) => {
            let token = token.expose().parse().context("read --join-token").map_err(ServeError::Settings)?;
            Ok(Begin::Join { servers: servers.clone(), token })
        }
        (_, None, false) => Ok(Begin::Resume),
        (None, Some(_), _) => refuse("--join-token needs --join as well"),
    }
}

/// What to do when the address is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fallback {
    /// Give up.
    None,
    /// Take any port, if nobody asked for this one: whoever starts a second server to try something out need not know of gRPC.
    AnyPort,
}

fn rpc_listener(settings: &Settings, fallback: Fallback) -> Result<TcpListener, ServeError> {
    let by_default = settings.rpc_listen == [RPC_LISTEN_DEFAULT];
    if fallback == Fallback::AnyPort && by_default && dataplane::http::bind(RPC_LISTEN_DEFAULT).is_err() {
        info!(
            "{RPC_LISTEN_DEFAULT} is taken, so goproxyctl finds this process at another port; set --rpc-listen to choose one"
        );
        return bind_all("rpc-listen", &[SocketAddr::new(RPC_LISTEN_DEFAULT.ip(), 0)])?
            .into_iter()
            .next()
            .ok_or_else(one_address);
    }
    let mut listeners = bind_all("rpc-listen", &settings.rpc_listen)?.into_iter();
    match (listeners.next(), listeners.next()) {
        (Some(listener), None) => Ok(listener),
        _ => Err(one_address()),
    }
}

fn one_address() -> ServeError {
    ServeError::Settings(anyhow::anyhow!("--rpc-listen takes one address"))
}

fn refused(error: PlaneError) -> ServeError {
    match &error {
        PlaneError::Start(StartError::Nobody { .. } | StartError::OtherToken { .. }) => {
            ServeError::Settings(error.into())
        }
        PlaneError::Start(start) if start.is_locked_or_damaged() => ServeError::DataDir(error.into()),
        PlaneError::Spawn(_) => ServeError::DataDir(error.into()),
        PlaneError::Start(_)
        | PlaneError::Tls(_)
        | PlaneError::Stopped(_)
        | PlaneError::Descriptions(_)
        | PlaneError::Serve(_) => ServeError::Failed(error.into()),
    }
}
