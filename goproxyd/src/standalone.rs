//! The role `standalone`: builds the planes from the settings, runs them until the drain is over.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use anyhow::Context;
use common::shutdown::Shutdown;
use common::telemetry::TelemetryCounters;
use common::tls::{RELOAD_INTERVAL, ServerTls, TlsFiles};
use thiserror::Error;

use crate::settings::Settings;

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
    _telemetry: TelemetryCounters,
    shutdown: &Shutdown,
) -> Result<(), ServeError> {
    let tls = load_tls(&settings)?;
    let _listeners = (bind(&settings.listen)?, bind(&settings.admin_listen)?);
    std::fs::create_dir_all(&settings.data_dir)
        .with_context(|| format!("create {}", settings.data_dir.display()))
        .map_err(ServeError::DataDir)?;
    if let Some(tls) = tls {
        tokio::spawn(tls.watch(RELOAD_INTERVAL, shutdown.drain().clone()));
    }
    // The data plane is built and run here: store, upstream, checksum database, listeners, admin endpoints.
    shutdown.drain().cancelled().await;
    Ok(())
}

fn load_tls(settings: &Settings) -> Result<Option<Arc<ServerTls>>, ServeError> {
    let (Some(cert), Some(key)) = (settings.tls_cert.clone(), settings.tls_key.clone()) else {
        return Ok(None);
    };
    let files = TlsFiles { cert, key, client_ca: settings.tls_client_ca.clone() };
    ServerTls::load(files).map(Some).map_err(|error| ServeError::Settings(error.into()))
}

/// Takes all ports before anything else is started, so that a second process fails early.
fn bind(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, ServeError> {
    let bind =
        |address: &SocketAddr| TcpListener::bind(address).with_context(|| format!("listen on {address}"));
    addresses.iter().map(bind).collect::<Result<_, _>>().map_err(ServeError::Failed)
}
