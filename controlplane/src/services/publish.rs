//! Publishing a version that is nowhere else: it goes to all nodes that should hold it at once; when most of them have it on stable
//! storage, in two zones if they are in two, its name is bound to its content in the log, and they show it.
//!
//! Whoever dies in the middle leaves no name without content and no content that can be seen without its name: nodes ask what became of what
//! they took in, and whoever publishes the same again goes on from there.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cluster::command::BindVersion;
use cluster::record::{Binding, Marked};
use cluster::{Command, Epoch, Hash, NodeName, Role};
use fail::fail_point;
use futures_util::stream::FuturesUnordered;
use futures_util::{Stream, StreamExt as _};
use gomod::{H1, ModuleVersion};
use proto::control::v1 as pb;
use proto::control::v1::publish_version_request::Part;
use proto::data::v1 as data;
use proto::{ErrorCode, Fault};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status, Streaming};

use super::Desk;
use super::about::About;
use super::convert::{Options, options, parse, time};
use super::holders::Holders;
use super::rehearsal::rehearse;
use crate::authorize::Operator;
use crate::data_nodes::DataNodes;

/// The longest that publishing may take.
const PUBLISH_MAX: Duration = Duration::from_mins(10);
/// How long the client may send nothing.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// How long binding the name, and then showing the version, may take.
pub(super) const BIND_TIMEOUT: Duration = Duration::from_secs(10);
const REVEAL_TIMEOUT: Duration = Duration::from_secs(5);
/// Pieces that wait for a node. The slowest sets the pace of all; one that takes nothing for so long is done without.
const PIECES_MAX: usize = 4;
const STALL_MAX: Duration = Duration::from_secs(10);
/// How long the others are waited for when enough have it, and while slots move one of those that they move from: they take it by themselves
/// later.
const STRAGGLE_MAX: Duration = Duration::from_secs(2);

/// What a node made of the zip.
type Made = (NodeName, Result<data::StageVersionResponse, Fault>);

/// See the head of this file.
pub(super) async fn publish(
    desk: &Desk,
    request: Request<Streaming<pb::PublishVersionRequest>>,
) -> Result<pb::PublishVersionResponse, Status> {
    let operator = desk.control.gate.operator(&request, Role::Operator)?;
    let mut parts = request.into_inner();
    let give_up = Instant::now() + PUBLISH_MAX;
    let (head, asked) = head(&mut parts).await?;
    let version = version_of(&head)?;
    let marked: Marked = parse("version", &version.to_string())?;
    let options = options(asked)?;
    desk.control.read_latest(Instant::now() + BIND_TIMEOUT).await?;
    let holders = Holders::of(desk, version.module.as_str())?;
    let binding = || desk.control.shared.read(|state| state.tables().bindings.get(&marked).cloned());
    if options.dry_run {
        return rehearse(desk, operator, options, &marked, &holders).await.map_err(Status::from);
    }
    let bound_before = binding();
    let stage_head =
        data::StageHead { name: Some(name_of(&version)), go_mod: head.go_mod, zip_size: head.zip_size };
    let nodes: Vec<_> = holders.all().cloned().collect();
    let staging = stage(&desk.control.data_nodes, &holders, stage_head, parts);
    let made = tokio::time::timeout_at(give_up.into(), staging)
        .await
        .map_err(|_| Status::from(Fault::new(ErrorCode::Deadline, "publishing took too long")))??;
    let (having, zip_h1, go_mod_h1) = agree(&holders, made)?;
    fail_point!("publish::before_bind", |_| Err(invalid("as a test wants it")));
    let content = (Hash::from_bytes(*zip_h1.as_bytes()), Hash::from_bytes(*go_mod_h1.as_bytes()));
    let mut options = options;
    if bound_before.as_ref().is_some_and(|bound| (bound.zip_h1, bound.go_mod_h1) == content) {
        // It changes nothing, so there is nothing to remember. Whoever asks again, because no answer came, may do so by another layout than before,
        // which under one key would be two requests.
        options.key = None;
    }
    bind(desk, &operator, &options, &marked, content, holders.epoch, &having).await?;
    desk.control.read_latest(Instant::now() + BIND_TIMEOUT).await?;
    let lost = || Status::from(Fault::new(ErrorCode::Internal, "the name was bound and is not to be found"));
    let bound = binding().ok_or_else(lost)?;
    reveal(&desk.control.data_nodes, &version, &bound, &having).await;
    Ok(pb::PublishVersionResponse {
        zip_h1: zip_h1.to_string(),
        go_mod_h1: go_mod_h1.to_string(),
        nodes: having.iter().map(ToString::to_string).collect(),
        missing_nodes: nodes.iter().filter(|name| !having.contains(*name)).map(ToString::to_string).collect(),
        was_published: bound_before.is_some(),
        publish_time: Some(time(bound.since)),
    })
}

/// Binds a name to the content that these nodes have. Where the layout has changed since they took it, they have to be enough by the new one as well.
async fn bind(
    desk: &Desk,
    operator: &Operator,
    options: &Options,
    version: &Marked,
    (zip_h1, go_mod_h1): (Hash, Hash),
    mut expect_epoch: Epoch,
    having: &BTreeSet<NodeName>,
) -> Result<(), Fault> {
    let give_up = Instant::now() + BIND_TIMEOUT;
    loop {
        let command =
            Command::BindVersion(BindVersion { version: version.clone(), zip_h1, go_mod_h1, expect_epoch });
        let fault = match desk.carry_out(operator.clone(), options.clone(), command, give_up).await {
            Ok(_) => return Ok(()),
            Err(fault) if fault.code == ErrorCode::WrongEpoch && Instant::now() < give_up => fault,
            Err(fault) => return Err(fault),
        };
        desk.control.read_latest(give_up).await?;
        let holders = Holders::of(desk, version.module())?;
        if holders.epoch == expect_epoch {
            return Err(fault);
        }
        if !holders.are_enough(having) {
            // Clients send it again by themselves.
            let text = "the module has moved to other nodes while it was published";
            return Err(
                Fault::new(ErrorCode::Unavailable, text).hint("nothing was published; publish it again")
            );
        }
        expect_epoch = holders.epoch;
    }
}

fn version_of(head: &pb::PublishHead) -> Result<ModuleVersion, Fault> {
    let about = About::read(&head.module_path, &head.version)?;
    let missing = || Fault::new(ErrorCode::InvalidArgument, "a version is published, not a module");
    Ok(ModuleVersion { version: about.version.ok_or_else(missing)?, module: about.module })
}

fn name_of(version: &ModuleVersion) -> data::VersionName {
    data::VersionName { module_path: version.module.to_string(), version: version.version.to_string() }
}

async fn head(
    parts: &mut Streaming<pb::PublishVersionRequest>,
) -> Result<(pb::PublishHead, Option<pb::MutationOptions>), Status> {
    match message(parts).await? {
        Some(pb::PublishVersionRequest { part: Some(Part::Head(head)), options }) => Ok((head, options)),
        _ => Err(invalid("the head comes first")),
    }
}

async fn message(
    parts: &mut Streaming<pb::PublishVersionRequest>,
) -> Result<Option<pb::PublishVersionRequest>, Status> {
    let silence = |_| Status::from(Fault::new(ErrorCode::Deadline, "nothing more came"));
    tokio::time::timeout(SILENCE_MAX, parts.message()).await.map_err(silence)?
}

async fn next(parts: &mut Streaming<pb::PublishVersionRequest>) -> Result<Option<Part>, Status> {
    let part = message(parts).await?;
    part.map(|part| part.part.ok_or_else(|| invalid("a part that this version does not know"))).transpose()
}

/// Sends the zip to all of these nodes, as it comes.
async fn stage(
    data_nodes: &DataNodes,
    holders: &Holders,
    head: data::StageHead,
    mut parts: Streaming<pb::PublishVersionRequest>,
) -> Result<Vec<Made>, Status> {
    let (mut sending, staging): (Vec<_>, FuturesUnordered<_>) = holders
        .all()
        .map(|name| {
            let (pieces, stream) = mpsc::channel(PIECES_MAX);
            let first = data::StageVersionRequest {
                part: Some(data::stage_version_request::Part::Head(head.clone())),
            };
            // There is room for it.
            let _ = pieces.try_send(first);
            let staging = async move {
                let made = match data_nodes.client(name) {
                    Ok(mut client) => {
                        let made = client.stage_version(ReceiverStream::new(stream)).await;
                        made.map(tonic::Response::into_inner).map_err(|status| Fault::of_status(&status))
                    }
                    Err(fault) => Err(fault),
                };
                (name.clone(), made)
            };
            (Sending::To(pieces), staging)
        })
        .unzip();
    let feeding = async {
        let fed = feed(&mut sending, &mut parts).await;
        // That is the end of the zip. One that broke off is shorter than was said, which the nodes notice.
        let stalled = sending.iter().zip(holders.all());
        let stalled = stalled.filter(|(sending, _)| matches!(sending, Sending::Stalled));
        let stalled: BTreeSet<_> = stalled.map(|(_, name)| name.clone()).collect();
        sending.clear();
        fed.map(|()| stalled)
    };
    let (fed, made) = tokio::join!(feeding, until_enough(holders, staging));
    let stalled = fed?;
    Ok(made.into_iter().map(|(node, made)| judged(node, made, &stalled)).collect())
}

/// How far a node is with the zip.
enum Sending {
    To(mpsc::Sender<data::StageVersionRequest>),
    /// It ended early, for a reason, which is in what it made.
    Ended,
    /// It took nothing for [`STALL_MAX`], and is done without.
    Stalled,
}

/// To a node that was done without the zip ended too early, which says nothing of the zip.
fn judged(
    node: NodeName,
    made: Result<data::StageVersionResponse, Fault>,
    stalled: &BTreeSet<NodeName>,
) -> Made {
    let is_stalled = stalled.contains(&node);
    let made = made.map_err(|fault| {
        if is_stalled {
            Fault::new(ErrorCode::Unavailable, format!("it took nothing for {STALL_MAX:?}"))
        } else {
            fault
        }
    });
    (node, made)
}

/// What the nodes made of it: all of them, or enough and those that are as quick.
async fn until_enough(holders: &Holders, mut staging: impl Stream<Item = Made> + Unpin) -> Vec<Made> {
    let (mut all, mut having) = (Vec::new(), BTreeSet::new());
    let mut give_up = None;
    loop {
        let next = match give_up {
            None => staging.next().await,
            Some(give_up) => tokio::time::timeout_at(give_up, staging.next()).await.ok().flatten(),
        };
        let Some((node, made)) = next else { return all };
        if made.is_ok() {
            having.insert(node.clone());
        }
        all.push((node, made));
        if holders.are_enough(&having) {
            // Without the layout before it is published all the same.
            let patience = if holders.reach_back(&having) { STRAGGLE_MAX } else { STALL_MAX };
            let end = tokio::time::Instant::now() + patience;
            give_up = Some(give_up.map_or(end, |sooner: tokio::time::Instant| sooner.min(end)));
        }
    }
}

/// Passes the zip on, until its end or until nobody takes any more.
async fn feed(
    sending: &mut [Sending],
    parts: &mut Streaming<pb::PublishVersionRequest>,
) -> Result<(), Status> {
    while let Some(part) = next(parts).await? {
        let Part::Piece(piece) = part else { return Err(invalid("the head came twice")) };
        pass_on(sending, &piece).await;
        if !sending.iter().any(|sending| matches!(sending, Sending::To(_))) {
            return Ok(());
        }
    }
    Ok(())
}

/// Gives a piece to everybody who still takes some.
async fn pass_on(sending: &mut [Sending], piece: &Bytes) {
    for node in sending {
        let Sending::To(pieces) = node else { continue };
        let part = data::stage_version_request::Part::Piece(piece.clone());
        let part = data::StageVersionRequest { part: Some(part) };
        match tokio::time::timeout(STALL_MAX, pieces.send(part)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => *node = Sending::Ended,
            Err(_) => *node = Sending::Stalled,
        }
    }
}

/// Who has it, and what it hashes to; a fault unless enough have the same.
fn agree(holders: &Holders, made: Vec<Made>) -> Result<(BTreeSet<NodeName>, H1, H1), Fault> {
    let mut faults = Vec::new();
    let (mut having, mut hashes) = (BTreeSet::new(), None);
    for (node, made) in made {
        match made {
            Ok(made) => {
                let hash = |bytes: &Bytes| <[u8; 32]>::try_from(bytes.as_ref()).ok().map(H1::from_bytes);
                let both = hash(&made.zip_h1).zip(hash(&made.go_mod_h1));
                if both.is_none() || hashes.is_some_and(|before| Some(before) != both) {
                    let text = format!("node {node} read other content than the others");
                    return Err(Fault::new(ErrorCode::DataLoss, text));
                }
                hashes = both;
                having.insert(node);
            }
            // What is wrong with the module is wrong everywhere.
            Err(fault) if is_about_the_content(&fault) => return Err(fault),
            Err(fault) => faults.push((node, fault)),
        }
    }
    match hashes {
        Some((zip, go_mod)) if holders.are_enough(&having) => Ok((having, zip, go_mod)),
        _ => {
            let told: Vec<_> = faults.iter().map(|(node, fault)| format!("node {node}: {fault}")).collect();
            let text = format!(
                "{} of {} nodes have it, which is not enough: {}",
                having.len(),
                holders.replicas.len(),
                told.join("; ")
            );
            if !faults.is_empty() && faults.iter().all(|(_, fault)| fault.code == ErrorCode::NoRoom) {
                let hint = "nothing was published; make room on these disks, or add a data node";
                return Err(Fault::new(ErrorCode::NoRoom, text).hint(hint));
            }
            Err(Fault::new(ErrorCode::Unhealthy, text)
                .hint("nothing was published; try again when the nodes are back"))
        }
    }
}

fn is_about_the_content(fault: &Fault) -> bool {
    matches!(
        fault.code,
        ErrorCode::InvalidArgument | ErrorCode::AlreadyExists | ErrorCode::WrongState | ErrorCode::TooLarge
    )
}

/// Has those who took it show it. Who does not hear of it asks by itself a little later.
async fn reveal(
    data_nodes: &DataNodes,
    version: &ModuleVersion,
    bound: &Binding,
    nodes: &BTreeSet<NodeName>,
) {
    fail_point!("publish::before_reveal", |_| ());
    let request = data::RevealVersionRequest {
        name: Some(name_of(version)),
        zip_h1: Bytes::copy_from_slice(bound.zip_h1.as_bytes()),
        publish_time: Some(time(bound.since)),
    };
    let until = Instant::now() + REVEAL_TIMEOUT;
    let told = data_nodes.ask_all(nodes.iter().cloned().collect(), until, |mut node| {
        let request = request.clone();
        async move { node.reveal_version(request).await }
    });
    for (node, told) in told.await {
        if let Err(fault) = told {
            tracing::debug!(%node, %fault, "a node does not show what was published yet");
        }
    }
}

fn invalid(why: &str) -> Status {
    Fault::new(ErrorCode::InvalidArgument, why).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> NodeName {
        NodeName::parse(text).unwrap()
    }

    fn has_it(node: &str) -> Made {
        let hash = Bytes::from_static(&[7; 32]);
        let made = data::StageVersionResponse { zip_h1: hash.clone(), go_mod_h1: hash };
        (name(node), Ok(made))
    }

    #[test]
    fn a_node_that_was_done_without_says_nothing_of_the_zip() {
        let holders = Holders::of_names(&["a", "b", "c"], &[]);
        let too_short = || Fault::new(ErrorCode::InvalidArgument, "the zip is shorter than was said");
        let made = |stalled: &BTreeSet<NodeName>| {
            vec![has_it("a"), judged(name("c"), Err(too_short()), stalled), has_it("b")]
        };
        let (having, ..) = agree(&holders, made(&[name("c")].into())).unwrap();
        assert_eq!(having, [name("a"), name("b")].into());
        let refused = agree(&holders, made(&BTreeSet::new())).unwrap_err();
        assert_eq!(refused.code, ErrorCode::InvalidArgument, "it had all of it");
    }

    #[test]
    fn what_is_full_everywhere_is_told_apart_from_nodes_that_are_away() {
        let holders = Holders::of_names(&["a", "b", "c"], &[]);
        let failed = |node: &str, code| (name(node), Err(Fault::new(code, "as it is")));
        let code = |made| agree(&holders, made).unwrap_err().code;
        let full = |node| failed(node, ErrorCode::NoRoom);
        assert_eq!(code(vec![has_it("a"), full("b"), full("c")]), ErrorCode::NoRoom);
        let away = failed("c", ErrorCode::Unavailable);
        assert_eq!(code(vec![has_it("a"), full("b"), away]), ErrorCode::Unhealthy);
    }

    #[tokio::test(start_paused = true)]
    async fn the_layout_before_is_waited_for_but_not_without_end() {
        let holders = Holders::of_names(&["new"], &["old"]);
        let begun = tokio::time::Instant::now();
        let staging = futures_util::stream::iter([has_it("new")]).chain(futures_util::stream::pending());
        let made = until_enough(&holders, Box::pin(staging)).await;
        assert_eq!(made.len(), 1);
        assert!(begun.elapsed() >= STALL_MAX && begun.elapsed() < 2 * STALL_MAX, "{:?}", begun.elapsed());
    }
}
