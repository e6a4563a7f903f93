//! Taking in what a control node has published, and showing it once its name is bound.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use gomod::H1;
use proto::data::v1 as pb;
use proto::data::v1::stage_version_request::Part;
use proto::{ErrorCode, Fault};
use tonic::{Status, Streaming};

use super::upkeep::{self, invalid, version};
use crate::serve::{Proxy, Publication, ServeError, StageError};

/// How long a control node may send nothing.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// The longest go.mod that is taken.
const GO_MOD_BYTES_MAX: usize = 16 << 20;

/// Stores what comes in `parts`, out of sight.
pub(super) async fn stage(
    proxy: &Arc<Proxy>,
    mut parts: Streaming<pb::StageVersionRequest>,
) -> Result<pb::StageVersionResponse, Status> {
    let head = match next(&mut parts).await? {
        Some(Part::Head(head)) => head,
        Some(Part::Piece(_)) | None => return Err(invalid("the head comes first")),
    };
    if head.go_mod.len() > GO_MOD_BYTES_MAX {
        return Err(Fault::new(ErrorCode::TooLarge, "its go.mod is too long").into());
    }
    let version = Arc::new(version(head.name.as_ref())?);
    let publication = Publication { version, go_mod: head.go_mod, zip_size: head.zip_size };
    let hashes = proxy.stage(publication, Box::pin(pieces(parts))).await.map_err(refused)?;
    let bytes = |h1: H1| Bytes::copy_from_slice(h1.as_bytes());
    Ok(pb::StageVersionResponse { zip_h1: bytes(hashes.zip), go_mod_h1: bytes(hashes.go_mod) })
}

/// Shows what was staged.
pub(super) async fn reveal(
    proxy: &Arc<Proxy>,
    request: &pb::RevealVersionRequest,
) -> Result<pb::RevealVersionResponse, Status> {
    let version = version(request.name.as_ref())?;
    let zip_h1 = <[u8; 32]>::try_from(request.zip_h1.as_ref()).map_err(|_| invalid("zip_h1 is 32 bytes"))?;
    let published_us = request.publish_time.map_or(0, crate::control::time_us);
    let held = proxy.reveal(&version, H1::from_bytes(zip_h1), published_us).await.map_err(refused)?;
    Ok(pb::RevealVersionResponse { held })
}

async fn next(parts: &mut Streaming<pb::StageVersionRequest>) -> Result<Option<Part>, Status> {
    let silence = || Status::from(Fault::new(ErrorCode::Deadline, "nothing more came"));
    let part = tokio::time::timeout(SILENCE_MAX, parts.message()).await.map_err(|_| silence())??;
    part.map(|part| part.part.ok_or_else(|| invalid("a part that this version does not know"))).transpose()
}

/// The zip's bytes, in order; an error when they do not go on.
fn pieces(parts: Streaming<pb::StageVersionRequest>) -> impl Stream<Item = Result<Bytes, ServeError>> + Send {
    let broken = |why: String| ServeError::Unavailable {
        what: "a version that is published".into(),
        why,
        next: "publish it again".into(),
    };
    futures_util::stream::unfold(Some(parts), move |parts| async move {
        let mut parts = parts?;
        match next(&mut parts).await {
            Ok(Some(Part::Piece(piece))) => Some((Ok(piece), Some(parts))),
            Ok(Some(Part::Head(_))) => Some((Err(broken("its head came twice".to_owned())), None)),
            Ok(None) => None,
            Err(status) => Some((Err(broken(status.message().to_owned())), None)),
        }
    })
    .fuse()
}

fn refused(error: StageError) -> Status {
    match error {
        StageError::NotPrivate(_) => Fault::new(ErrorCode::WrongState, error.to_string())
            .hint("start the data nodes with --private for it, so that no public origin is asked")
            .into(),
        StageError::Invalid(_) => Fault::new(ErrorCode::InvalidArgument, error.to_string()).into(),
        StageError::NoRoom => Fault::new(ErrorCode::NoRoom, error.to_string()).into(),
        StageError::Conflict(_) => Fault::new(ErrorCode::AlreadyExists, error.to_string()).into(),
        StageError::Failed(error) => upkeep::refused(error),
    }
}
