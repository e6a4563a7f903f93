//! The roles: which planes run in this process, and how they find each other. The planes are libraries; here they are wired.
//!
//! `standalone` is a control node and a data node in one process, which meet as any two processes would: over the control node's
//! gRPC address. There is no second way from one to the other.

mod control;
mod data;
mod names;

use std::net::SocketAddr;

use anyhow::Context;
use common::error_chain::ErrorChain;
use common::shutdown::Shutdown;
use common::telemetry::TelemetryCounters;
use dataplane::admin::DebugPage;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::args::Role;
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
    /// The directory that was named is not one that a cluster goes on from.
    #[error("recover the cluster")]
    Recover(#[source] anyhow::Error),
    /// Anything else.
    #[error("serve")]
    Failed(#[source] anyhow::Error),
    /// A second signal came before the drain was over.
    #[error("a second signal cut the drain short")]
    Forced,
}

/// What operators are shown of every process, whatever its role.
pub(crate) struct Seeing {
    /// What was lost of logs and traces.
    pub(crate) telemetry: TelemetryCounters,
    /// Pages for `/debug/`.
    pub(crate) pages: Vec<DebugPage>,
}

/// Serves in a role until `shutdown` asks for a drain and it is over.
pub(crate) async fn serve(
    role: Role,
    settings: Settings,
    seeing: Seeing,
    shutdown: &Shutdown,
) -> Result<(), ServeError> {
    match role {
        Role::Data => data::serve(settings, seeing, shutdown, data::Joining::AsToldTo).await,
        Role::Control { bootstrap } => control::serve(settings, seeing, shutdown, bootstrap).await,
        Role::Standalone => standalone(settings, seeing, shutdown).await,
    }
}

/// Both planes. The data plane goes on should the control plane fail: that is what it is made for.
async fn standalone(settings: Settings, seeing: Seeing, shutdown: &Shutdown) -> Result<(), ServeError> {
    if settings.join.is_some() {
        let text = "--join is for `goproxyd data` and `goproxyd control`; a standalone process makes a cluster of its own";
        return Err(ServeError::Settings(anyhow::anyhow!(text)));
    }
    let plane = match control::Running::begin(&settings, true, control::Fallback::AnyPort).await {
        Ok(plane) => plane,
        // Whoever fetches modules from it needs none of this. A directory that another process uses is refused by the store.
        Err(ServeError::DataDir(error)) => {
            let error = ErrorChain::new(error.as_ref()).to_string();
            let folder = settings.data_dir.join("control");
            error!(
                error,
                "the control plane of this process does not run; modules are served all the same. Give it what it lacks, or restore {} from a backup, and start again",
                folder.display()
            );
            return data::serve(settings, seeing, shutdown, data::Joining::Nothing).await;
        }
        Err(error) => return Err(error),
    };
    let joining = data::Joining::Within(plane.inviter());
    let control = tokio::spawn(run_beside(plane, shutdown.drain().clone()));
    let served = data::serve(settings, seeing, shutdown, joining).await;
    shutdown.request();
    let controlled = control.await.context("run the control plane").map_err(ServeError::Failed)?;
    served.and(controlled)
}

/// Runs the control plane until `drain`. Should it end before that, it is told at once: nobody waits for it before the data plane ends, which
/// goes on.
async fn run_beside(plane: control::Running, drain: CancellationToken) -> Result<(), ServeError> {
    match plane.run(drain.clone()).await {
        Err(error) if !drain.is_cancelled() => {
            let error = ErrorChain::new(&error).to_string();
            error!(
                error,
                "the control plane of this process has ended; modules are served all the same. Nothing is published, taken down or changed before goproxyd is started again"
            );
            Ok(())
        }
        ended => ended,
    }
}

/// Listens on what `setting` says.
fn bind_all(setting: &str, addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, ServeError> {
    let bind = |address: &SocketAddr| {
        dataplane::http::bind(*address).with_context(|| format!("listen on {address} (--{setting})"))
    };
    addresses.iter().map(bind).collect::<Result<_, _>>().map_err(ServeError::Failed)
}
