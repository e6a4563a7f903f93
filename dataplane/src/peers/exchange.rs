//! One file, asked of one node: an answer in parts, each of which comes in time or the node counts as unreachable.

use std::error::Error as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cluster::{Epoch, NodeName};
use common::error_chain::ErrorChain;
use proto::data::v1 as pb;
use proto::data::v1::content_service_client::ContentServiceClient;
use proto::data::v1::get_response::Part as Sent;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

use super::directory::{Lane, Peers, UnderWay};
use super::heard::Heard;
use crate::client::Client;

/// How long a node may take to say something: what it holds, or that it works.
const BEGIN_TIMEOUT: Duration = Duration::from_millis(1500);
/// How long it may say nothing. It says that it works twice a second.
const SILENCE_MAX: Duration = Duration::from_secs(3);
/// How long one answer may wait while others come from the same node: they share a narrow link.
const CROWDED_MAX: Duration = Duration::from_secs(30);
/// How long it may say nothing but that it works: longer than an origin may take, and than a disk should.
const FETCH_MAX: Duration = Duration::from_mins(5);
const HELD_MAX: Duration = Duration::from_secs(10);
/// A fault of our side of a connection that shows so soon may be older than the request: the connection had ended, or was never made to the end.
/// It says nothing of the node.
const OLD_NEWS_MAX: Duration = Duration::from_millis(250);

const UNKNOWN_PART: &str = "it sent a part that this version does not know";
const ENDED_EARLY: &str = "it ended its answer early";

/// A node that cannot be reached, or does not do what nodes do.
#[derive(Debug, thiserror::Error)]
#[error("node {node}: {why}")]
pub struct Unreachable {
    /// The node.
    pub node: NodeName,
    /// What was found.
    pub why: String,
}

/// A part of an answer that says something.
#[derive(Debug)]
pub enum Part {
    /// All of a small file.
    Whole(pb::Whole),
    /// A zip of so many bytes begins.
    Start(u64),
    /// The next bytes of it.
    Piece(Bytes),
    /// What all of it must hash to.
    Seal(pb::Seal),
    /// There is no answer.
    Refusal(pb::Refusal),
}

/// What a node is asked to do for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// Fetch what it does not hold.
    Fetch,
    /// Give what it holds.
    Held,
    /// The same, for a copy: also what is in quarantine.
    Copy,
}

/// See the head of this file.
#[derive(Debug)]
pub struct Exchange {
    node: NodeName,
    parts: Box<Streaming<pb::GetResponse>>,
    /// What it said first.
    first: Option<Sent>,
    patience: Duration,
    begun: Instant,
    heard: Arc<Heard>,
    _under_way: UnderWay,
}

impl Exchange {
    /// Asks `node` for what is at `path`; of a zip, for what follows byte `offset`.
    pub async fn begin(
        peers: &Peers,
        node: &NodeName,
        path: &str,
        effort: Effort,
        offset: u64,
    ) -> Result<Self, Unreachable> {
        let begun = peers.clock.monotonic();
        let unreachable = |why: String| {
            peers.failed(node, &why, begun);
            peers.families().count("unreachable");
            Unreachable { node: node.clone(), why }
        };
        let is_zip = path.rsplit_once('.').is_some_and(|(_, extension)| extension == "zip");
        let lane = if is_zip { Lane::Zips } else { Lane::Small };
        let Some((mut client, heard)) = peers.client(node, lane) else {
            return Err(Unreachable { node: node.clone(), why: "its address is not known".to_owned() });
        };
        let ask = || pb::GetRequest {
            path: path.to_owned(),
            cached_only: effort != Effort::Fetch,
            layout_epoch: peers.asks_by().get(),
            offset,
            to_keep: effort == Effort::Copy,
            client: Client::current().map(Client::to_bytes).unwrap_or_default(),
        };
        let under_way = peers.asked(node);
        let asked = Instant::now();
        let beginning = async {
            match first_of(&mut client, ask()).await {
                Err(status) if status.source().is_some() && asked.elapsed() <= OLD_NEWS_MAX => {
                    tracing::debug!(%node, why = text(&status), "asking once more, over another connection");
                    first_of(&mut client, ask()).await
                }
                begun => begun,
            }
        };
        let waiting = Waiting { peers, heard: &heard, silence_max: BEGIN_TIMEOUT };
        match waiting.on(beginning).await {
            Ok(Ok((parts, Some(pb::GetResponse { part: Some(first) })))) => {
                peers.began(node, asked.elapsed());
                heard.note(peers.clock.monotonic());
                let patience = if effort == Effort::Fetch { FETCH_MAX } else { HELD_MAX };
                let (parts, first) = (Box::new(parts), Some(first));
                Ok(Self { node: node.clone(), parts, first, patience, begun, heard, _under_way: under_way })
            }
            Ok(Ok((_, Some(pb::GetResponse { part: None })))) => Err(unreachable(UNKNOWN_PART.to_owned())),
            Ok(Ok((_, None))) => Err(unreachable(ENDED_EARLY.to_owned())),
            Ok(Err(status)) if is_about_the_request(&status) => {
                peers.families().count("refused");
                Err(Unreachable { node: node.clone(), why: text(&status) })
            }
            Ok(Err(status)) => Err(unreachable(text(&status))),
            Err(Silent) => Err(unreachable(format!("it did not begin to answer within {BEGIN_TIMEOUT:?}"))),
        }
    }

    /// Who is asked.
    pub fn node(&self) -> &NodeName {
        &self.node
    }

    /// When it was asked.
    pub fn begun(&self) -> Instant {
        self.begun
    }

    /// Whether it said first that an origin is about to send what it does not hold.
    pub fn is_coming(&self) -> bool {
        matches!(&self.first, Some(Sent::Working(working)) if working.is_coming)
    }

    /// The next part; what only says that the node works is passed over.
    pub async fn next(&mut self, peers: &Peers) -> Result<Part, Unreachable> {
        let give_up = Instant::now() + self.patience;
        let part = loop {
            if let Some(part) = self.first.take_if(|part| !matches!(part, Sent::Working(_))) {
                break part;
            }
            let waiting = Waiting { peers, heard: &self.heard, silence_max: SILENCE_MAX };
            let said = waiting.on(self.parts.message()).await;
            // That a wait has ended without a word is no sign of life for those who wait beside it.
            if matches!(said, Ok(Ok(Some(_)))) {
                self.heard.note(peers.clock.monotonic());
            }
            match said {
                Ok(Ok(Some(pb::GetResponse { part: Some(Sent::Working(_)) }))) => {
                    if Instant::now() > give_up {
                        return Err(self.broken(peers, format!("it works without end: {:?}", self.patience)));
                    }
                }
                Ok(Ok(Some(pb::GetResponse { part: Some(part) }))) => break part,
                Ok(Ok(Some(pb::GetResponse { part: None }))) => {
                    return Err(self.broken(peers, UNKNOWN_PART.to_owned()));
                }
                Ok(Ok(None)) => return Err(self.broken(peers, ENDED_EARLY.to_owned())),
                Ok(Err(status)) if is_about_the_request(&status) => {
                    return Err(Unreachable { node: self.node.clone(), why: text(&status) });
                }
                Ok(Err(status)) => return Err(self.broken(peers, text(&status))),
                Err(Silent) => return Err(self.broken(peers, format!("it said nothing for {SILENCE_MAX:?}"))),
            }
        };
        Ok(match part {
            Sent::Whole(whole) => {
                peers.answered(&self.node);
                peers.families().count("answered");
                peers.families().bytes.inc_by(whole.content.len() as u64);
                Part::Whole(whole)
            }
            Sent::Start(start) => {
                peers.answered(&self.node);
                peers.families().count("answered");
                Part::Start(start.size)
            }
            Sent::Piece(piece) => {
                peers.families().bytes.inc_by(piece.len() as u64);
                Part::Piece(piece)
            }
            Sent::Seal(seal) => Part::Seal(seal),
            Sent::Refusal(refusal) => {
                peers.answered(&self.node);
                peers.families().count("refused");
                Part::Refusal(refusal)
            }
            Sent::Working(_) => return Err(self.broken(peers, "it works without end".to_owned())),
        })
    }

    /// What it sent makes no sense, or is not what it must be.
    pub fn broken(&self, peers: &Peers, why: String) -> Unreachable {
        peers.failed(&self.node, &why, self.begun);
        peers.families().count("unreachable");
        Unreachable { node: self.node.clone(), why }
    }
}

/// Asks, and waits for the first part of the answer.
async fn first_of(
    client: &mut ContentServiceClient<Channel>,
    ask: pb::GetRequest,
) -> Result<(Streaming<pb::GetResponse>, Option<pb::GetResponse>), Status> {
    let mut parts = client.get(ask).await?.into_inner();
    let first = parts.message().await?;
    Ok((parts, first))
}

/// Waiting for what a node says next.
struct Waiting<'a> {
    peers: &'a Peers,
    heard: &'a Heard,
    silence_max: Duration,
}

/// Nothing came for too long.
struct Silent;

impl Waiting<'_> {
    /// Waits until it comes, or nothing else has come over its connection for too long.
    async fn on<T>(&self, said: impl Future<Output = T>) -> Result<T, Silent> {
        tokio::pin!(said);
        let mut waited = Duration::ZERO;
        loop {
            match tokio::time::timeout(self.silence_max, &mut said).await {
                Ok(said) => return Ok(said),
                Err(_) => waited += self.silence_max,
            }
            if waited >= CROWDED_MAX || self.heard.is_silent(self.silence_max, self.peers.clock.monotonic()) {
                return Err(Silent);
            }
        }
    }
}

/// The layout epoch that a node knows, by its refusal.
pub(crate) fn epoch_of(refusal: &pb::Refusal) -> Epoch {
    Epoch::new(refusal.layout_epoch)
}

/// Whether a node refuses a request, rather than being in trouble itself: it does not know us yet, or speaks another version.
fn is_about_the_request(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::InvalidArgument
            | Code::OutOfRange
            | Code::ResourceExhausted
            | Code::PermissionDenied
            | Code::Unimplemented
    )
}

fn text(status: &Status) -> String {
    match status.source() {
        Some(cause) => format!("{}: {}", status.code(), ErrorChain::new(cause)),
        None => format!("{}: {}", status.code(), status.message()),
    }
}
