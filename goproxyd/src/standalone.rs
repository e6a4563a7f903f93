//! The role `standalone`: builds the planes from the settings, runs them until the drain is over.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use common::clock::SystemClock;
use common::shutdown::Shutdown;
use common::telemetry::TelemetryCounters;
use common::tls::{RELOAD_INTERVAL, ServerTls, TlsFiles};
use dataplane::http::{AccessLog, TlsSource, bind};
use dataplane::plane::{BuildError, Config, DataPlane};
use dataplane::serve::WhenUnavailable;
use dataplane::store::evict::{Algorithm, Keep};
use prometheus_client::registry::Registry;
use thiserror::Error;
use tokio::net::TcpListener;
use tracing::info;

use crate::build::BUILD;
use crate::otlp::{self, MetricsPush};
use crate::settings::{self, Settings};
use crate::{telemetry_metrics, tls_metrics};

const DAY: Duration = Duration::from_hours(24);

/// Why serving ended otherwise than by a drain.
#[derive(Debug, Error)]
pub(crate) enum ServeError {
    /// The data directory is locked by another process, or damaged.
    #[error("open the data directory")]
    DataDir(#[source] anyhow::Error),
    /// A setting that only the start can judge, such as a certificate file, is wrong.
    #[error("take up the settings")]
    Settings(#[source] anyhow::Error),
    /// Anything else.
    #[error("serve")]
    Failed(#[source] anyhow::Error),
    /// A second signal came before the drain was over.
    #[error("a second signal cut the drain short")]
    Forced,
}

/// Serves until `shutdown` asks for a drain and it is over.
pub(crate) async fn serve(
    settings: Settings,
    telemetry: TelemetryCounters,
    shutdown: &Shutdown,
) -> Result<(), ServeError> {
    let tls = load_tls(&settings)?;
    // All ports before anything else is started, so that a second process fails early.
    let listeners = bind_all(&settings.listen)?;
    let admin_listeners = bind_all(&settings.admin_listen)?;
    let source = tls.clone().map(|tls| Arc::new(move || tls.config()) as TlsSource);
    let config = config(&settings);
    let trace_parent = otlp::trace_parent(&settings);
    let watched = tls.clone();
    let plane = tokio::task::spawn_blocking(move || {
        let mut registry = Registry::default();
        telemetry_metrics::register(&mut registry, telemetry);
        tls_metrics::register(&mut registry, watched, Arc::new(SystemClock));
        let version_text = format!("{BUILD}\n");
        DataPlane::build(&config, source, Arc::new(SystemClock), registry, version_text, trace_parent)
    })
    .await
    .context("build the data plane")
    .map_err(ServeError::Failed)?
    .map_err(refused)?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    if let Some(tls) = tls {
        tokio::spawn(tls.watch(RELOAD_INTERVAL, shutdown.drain().clone()));
    }
    for listener in &listeners {
        if let Ok(address) = listener.local_addr() {
            info!("serving GOPROXY at {scheme}://{address}");
        }
    }
    for listener in &admin_listeners {
        if let Ok(address) = listener.local_addr() {
            info!("serving metrics and health at http://{address}");
        }
    }
    let push = otlp::options(&settings).map(|options| MetricsPush::start(options, plane.exposition()));
    plane.run(listeners, admin_listeners, shutdown.drain().clone()).await;
    if let Some(push) = push {
        push.finish().await;
    }
    Ok(())
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
    }
}

fn load_tls(settings: &Settings) -> Result<Option<Arc<ServerTls>>, ServeError> {
    let (Some(cert), Some(key)) = (settings.tls_cert.clone(), settings.tls_key.clone()) else {
        return Ok(None);
    };
    let files = TlsFiles { cert, key, client_ca: settings.tls_client_ca.clone() };
    ServerTls::load(files).map(Some).map_err(|error| ServeError::Settings(error.into()))
}

fn bind_all(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, ServeError> {
    let bind = |address: &SocketAddr| bind(*address).with_context(|| format!("listen on {address}"));
    addresses.iter().map(bind).collect::<Result<_, _>>().map_err(ServeError::Failed)
}
