//! A scrub as a stream of answers to whoever asked for it.

use std::sync::Arc;

use proto::data::v1 as pb;
use proto::{ErrorCode, Fault};
use tokio::sync::mpsc;
use tonic::Status;

use crate::peers::to_name;
use crate::scrub::{Scrubbed, Told, scrub};
use crate::serve::Proxy;
use crate::store::Store;

/// Walks over the store, and tells who asked for it how far it is and how it ended. Dropped, it ends the walk.
pub(super) async fn scrub_and_tell(
    proxy: &Arc<Proxy>,
    store: &Arc<Store>,
    rate: u64,
    bytes_total: u64,
    answers: &mpsc::Sender<Result<pb::ScrubStoreResponse, Status>>,
) {
    let (told, mut hears) = mpsc::channel(1);
    let walking = async {
        let walked = scrub(proxy, store, rate, &told).await;
        drop(told);
        walked
    };
    let telling = async {
        while let Some(told) = hears.recv().await {
            if answers.send(Ok(scrubbed(told, bytes_total))).await.is_err() {
                hears.close();
            }
        }
    };
    let last = match tokio::join!(walking, telling).0 {
        Ok(walked) => Ok(pb::ScrubStoreResponse { done: true, ..progress(walked, bytes_total) }),
        Err(error) => Err(Fault::new(ErrorCode::Internal, error.to_string()).into()),
    };
    let _ = answers.send(last).await;
}

fn progress(so_far: Scrubbed, bytes_total: u64) -> pb::ScrubStoreResponse {
    pb::ScrubStoreResponse {
        version_count: so_far.versions,
        bytes: so_far.bytes,
        bytes_total: bytes_total.max(so_far.bytes),
        bad_count: so_far.bad,
        healed_count: so_far.healed,
        ..pb::ScrubStoreResponse::default()
    }
}

fn scrubbed(told: Told, bytes_total: u64) -> pb::ScrubStoreResponse {
    match told {
        Told::Progress(so_far) => progress(so_far, bytes_total),
        Told::Found { finding, healed, so_far } => pb::ScrubStoreResponse {
            finding: Some(pb::ScrubFinding {
                name: Some(to_name(&finding.version)),
                detail: finding.detail,
                healed,
            }),
            ..progress(so_far, bytes_total)
        },
    }
}
