//! `module publish`: a module zip from disk, sent in pieces.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proto::control::v1::module_service_client::ModuleServiceClient;
use proto::control::v1::publish_version_request::Part;
use proto::control::v1::{MutationOptions, PublishHead, PublishVersionRequest, PublishVersionResponse};
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use super::context::{dry_run_note, options};
use super::module::split;
use super::{Context, Outcome};
use crate::args::module::Publish;
use crate::failure::Failure;
use crate::output::Answer;
use crate::view;

/// Bytes of a piece.
const PIECE_BYTES: usize = 256 * 1024;
/// The longest go.mod that is read.
const GO_MOD_BYTES_MAX: u64 = 16 << 20;
/// How long it may take at least, whatever `--timeout` says: a zip may be half a gigabyte.
const TIME: Duration = Duration::from_mins(10);

/// What is sent, from its beginning whenever it is sent again.
#[derive(Clone)]
struct Publication {
    options: MutationOptions,
    head: PublishHead,
    zip: PathBuf,
}

pub(super) async fn publish(context: &Context, publish: Publish) -> Outcome {
    let Publish { version, zip, mutation } = publish;
    let (module_path, version) = split(&version);
    if version.is_empty() {
        let text = format!("{module_path} names no version");
        return Err(Failure::usage(text, "name one, as in `MODULE@v1.2.3`"));
    }
    let (go_mod, zip_size) = look(&zip, &module_path, &version)?;
    let options = options(&mutation)?;
    let key = options.idempotency_key.clone();
    let head = PublishHead { module_path, version, go_mod: go_mod.into(), zip_size };
    let told = context.change_within(TIME, &key, Publication { options, head, zip }, send).await?;
    let page = view::module::published(&told, mutation.dry_run);
    Ok(Some(answer(told, page).notes(dry_run_note(&mutation))))
}

fn answer(told: PublishVersionResponse, page: crate::output::page::Page) -> Answer {
    let missing = (!told.missing_nodes.is_empty()).then(|| {
        format!("{} could not be reached, and take it when they are back", told.missing_nodes.join(", "))
    });
    Answer::new(told, page).notes(missing)
}

/// The go.mod in a module zip, empty if there is none, and the zip's length in bytes.
fn look(path: &Path, module: &str, version: &str) -> Result<(Vec<u8>, u64), Failure> {
    let shown = path.display();
    let unreadable = |error: &dyn std::fmt::Display| {
        Failure::usage(
            format!("{shown} cannot be read: {error}"),
            "it has to be a zip whose files all begin with `MODULE@VERSION/`, as `git archive --prefix` makes one",
        )
    };
    let file = File::open(path).map_err(|error| unreadable(&error))?;
    let zip_size = file.metadata().map_err(|error| unreadable(&error))?.len();
    let mut archive = zip::ZipArchive::new(file).map_err(|error| unreadable(&error))?;
    let mut go_mod = Vec::new();
    match archive.by_name(&format!("{module}@{version}/go.mod")) {
        Ok(entry) => {
            entry.take(GO_MOD_BYTES_MAX).read_to_end(&mut go_mod).map_err(|error| unreadable(&error))?;
        }
        Err(zip::result::ZipError::FileNotFound) => {}
        Err(error) => return Err(unreadable(&error)),
    }
    Ok((go_mod, zip_size))
}

async fn send(
    channel: Channel,
    request: Request<Publication>,
) -> Result<Response<PublishVersionResponse>, Status> {
    let (metadata, extensions, Publication { options, head, zip }) = request.into_parts();
    let mut file =
        File::open(&zip).map_err(|error| Status::internal(format!("{}: {error}", zip.display())))?;
    let head = PublishVersionRequest { part: Some(Part::Head(head)), options: Some(options) };
    // A file that cannot be read to its end is shorter than was said, which the server notices.
    let pieces = std::iter::from_fn(move || {
        let mut piece = Vec::with_capacity(PIECE_BYTES);
        let read = file.by_ref().take(PIECE_BYTES as u64).read_to_end(&mut piece);
        let piece = read.is_ok_and(|count| count > 0).then_some(piece)?;
        Some(PublishVersionRequest { part: Some(Part::Piece(piece.into())), options: None })
    });
    let parts = futures_util::stream::iter(std::iter::once(head).chain(pieces));
    ModuleServiceClient::new(channel).publish_version(Request::from_parts(metadata, extensions, parts)).await
}
