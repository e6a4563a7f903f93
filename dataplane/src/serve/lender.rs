//! Whoever sends a zip, one node after another: the next one goes on where the one before stopped.
//!
//! A connection that broke is no node that is gone, so the same node is asked first; then others, and in the end this node
//! fetches, where it may. A copy that nobody waits for is asked of the same node alone, as long as something comes.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cluster::NodeName;
use gomod::{H1, ModuleVersion, Request};
use proto::data::v1::Seal;

use super::error::ServeError;
use super::lend::{Errand, Lent};
use super::lent_zips::lost;
use super::proof::Proof;
use super::proxy::{Mode, Proxy};
use super::ready::Ready;
use super::refusal::{from_refusal, is_about_the_content};
use super::vouch::class_of;
use crate::http::ByteSource;
use crate::peers::{Effort, Exchange, Part};
use crate::store::Verified;

/// Nodes that may break off one zip.
const REPLACED_MAX: usize = 3;
/// How long a node that broke off may take to go on, before another one is asked: longer than a new connection takes.
const AGAIN_PATIENCE: Duration = Duration::from_secs(1);
/// The same for one that was let go of, which did nothing wrong.
const BACK_PATIENCE: Duration = Duration::from_secs(5);
/// Before a node that broke off and sent nothing since is asked again, when nobody waits.
const PAUSES: [Duration; 4] =
    [Duration::from_millis(50), Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];

/// Whoever sends the zip at the moment.
pub(super) struct Lender<'a> {
    proxy: &'a Arc<Proxy>,
    version: &'a ModuleVersion,
    size: u64,
    received: u64,
    source: Source,
    seal: Option<Seal>,
    otherwise: Otherwise,
    /// Who broke off, and is not asked again.
    broke_off: Vec<NodeName>,
    /// What had come when it was asked again last, and how long to wait before each time that it is.
    received_before: Option<u64>,
    pauses: std::slice::Iter<'static, Duration>,
}

/// What becomes of a zip when no node goes on to send it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Otherwise {
    /// Other nodes are asked, and with none left this node fetches it.
    FetchHere,
    /// Other nodes are asked: this node may not fetch.
    OtherNodes(Mode),
    /// It fails: whoever wants it is this node's fetch itself.
    GiveUp,
    /// Who sends it is asked for the rest: nobody waits for it.
    AskAgain,
}

enum Source {
    Node(Exchange),
    /// Let go of, to be asked for the rest.
    Left(NodeName),
    /// Fetched here, since nobody else was left.
    Own(Arc<Ready>, Box<dyn ByteSource>),
}

/// What all bytes are held against.
pub(super) enum End {
    Sealed(Proof),
    Own(Arc<Ready>),
}

impl<'a> Lender<'a> {
    pub(super) fn new(
        proxy: &'a Arc<Proxy>,
        version: &'a ModuleVersion,
        size: u64,
        exchange: Exchange,
        otherwise: Otherwise,
    ) -> Self {
        Self {
            proxy,
            version,
            size,
            received: 0,
            source: Source::Node(exchange),
            seal: None,
            otherwise,
            broke_off: Vec::new(),
            received_before: None,
            pauses: PAUSES.iter(),
        }
    }

    /// Has the node stop for now: what it sends could not be read for a while.
    pub(super) fn let_go(&mut self) {
        if let Source::Node(exchange) = &self.source {
            self.source = Source::Left(exchange.node().clone());
        }
    }

    /// What is received has taken the room that a fetch would wait for.
    pub(super) fn must_not_fetch(&mut self) {
        if self.otherwise == Otherwise::FetchHere {
            self.otherwise = Otherwise::OtherNodes(Mode::Fetch);
        }
    }

    /// The next bytes; `None` after the last.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, ServeError> {
        while self.received < self.size {
            let piece = match &mut self.source {
                Source::Own(_, rest) => {
                    let piece = std::future::poll_fn(|cx| rest.poll_next(cx)).await;
                    let piece = piece.ok_or_else(|| lost(self.version))?;
                    piece.map_err(|error| wrong(self.version, error.to_string()))?
                }
                Source::Left(_) => {
                    self.replace().await?;
                    continue;
                }
                Source::Node(exchange) => match exchange.next(&self.proxy.layers.peers).await {
                    Ok(Part::Piece(piece)) if !piece.is_empty() => piece,
                    Ok(Part::Seal(seal)) => {
                        self.seal = Some(seal);
                        continue;
                    }
                    Ok(Part::Refusal(refusal)) if is_about_the_content(&refusal) => {
                        return Err(from_refusal(refusal));
                    }
                    Ok(Part::Refusal(refusal)) => {
                        tracing::debug!(node = %exchange.node(), why = refusal.why, "a node broke off a zip");
                        self.replace().await?;
                        continue;
                    }
                    Ok(Part::Piece(_) | Part::Whole(_) | Part::Start(_)) => {
                        let _ = exchange
                            .broken(&self.proxy.layers.peers, "its parts are out of order".to_owned());
                        self.replace().await?;
                        continue;
                    }
                    Err(unreachable) => {
                        tracing::debug!(error = %unreachable, "a node ended in the middle of a zip");
                        self.replace().await?;
                        continue;
                    }
                },
            };
            self.received += piece.len() as u64;
            if self.received > self.size {
                return Err(wrong(self.version, "more bytes came than were announced".to_owned()));
            }
            return Ok(Some(piece));
        }
        Ok(None)
    }

    /// Has somebody go on.
    async fn replace(&mut self) -> Result<(), ServeError> {
        self.seal = None;
        let node = match &self.source {
            Source::Node(exchange) => exchange.node().clone(),
            Source::Left(node) => node.clone(),
            Source::Own(..) => return Err(broken_off(self.version)),
        };
        let (mode, may_fetch) = match self.otherwise {
            Otherwise::AskAgain => return self.ask_again(&node).await,
            Otherwise::GiveUp if matches!(self.source, Source::Left(_)) => (Mode::CachedOnly, false),
            Otherwise::GiveUp => return Err(broken_off(self.version)),
            Otherwise::FetchHere => (Mode::Fetch, true),
            Otherwise::OtherNodes(mode) => (mode, false),
        };
        if self.goes_on(&node, mode).await? {
            return Ok(());
        }
        self.broke_off.push(node);
        if self.otherwise == Otherwise::GiveUp || self.broke_off.len() > REPLACED_MAX {
            return Err(broken_off(self.version));
        }
        let request = Request::Zip(self.version.clone());
        let errand = Errand::rest(&request, mode, self.received, &self.broke_off);
        match self.proxy.borrow(errand).await? {
            Some(Lent::Zip { size, exchange }) if size == self.size => self.source = Source::Node(exchange),
            Some(Lent::Zip { .. } | Lent::Whole(_)) => {
                return Err(wrong(self.version, "another node has other content".to_owned()));
            }
            None if may_fetch => {
                let (ready, _) = self.proxy.own_zip(self.version).await?;
                if ready.content.size() != self.size {
                    return Err(wrong(self.version, "an origin has other content".to_owned()));
                }
                let rest = self.proxy.content_from(&ready, self.received);
                self.source = Source::Own(ready, rest);
            }
            None => return Err(broken_off(self.version)),
        }
        Ok(())
    }

    /// Whether the same node goes on at once; asked once for what follows each byte. What it fetches it has under way, and anybody else would ask
    /// it or fetch the whole again.
    async fn goes_on(&mut self, node: &NodeName, mode: Mode) -> Result<bool, ServeError> {
        if self.received_before.replace(self.received) == Some(self.received) {
            return Ok(false);
        }
        let fetches = mode == Mode::Fetch && self.proxy.route(&self.version.module).fetchers.contains(node);
        let request = Request::Zip(self.version.clone());
        let effort = if fetches { Effort::Fetch } else { Effort::Held };
        let asking = self.proxy.ask(node, &request, effort, self.received);
        let patience = if matches!(self.source, Source::Left(_)) { BACK_PATIENCE } else { AGAIN_PATIENCE };
        match tokio::time::timeout(patience, asking).await {
            Ok(Some(Ok(Lent::Zip { size, exchange }))) if size == self.size => {
                self.source = Source::Node(exchange);
                Ok(true)
            }
            Ok(Some(Ok(_))) => Err(wrong(self.version, "it has other content now".to_owned())),
            Ok(Some(Err(_)) | None) | Err(_) => Ok(false),
        }
    }

    /// Asks the same node for the rest, which is worth it as long as it has sent something since the last time.
    async fn ask_again(&mut self, node: &NodeName) -> Result<(), ServeError> {
        let request = Request::Zip(self.version.clone());
        if self.received_before.replace(self.received) != Some(self.received) {
            self.pauses = PAUSES.iter();
        }
        for pause in self.pauses.by_ref() {
            tokio::time::sleep(*pause).await;
            match self.proxy.ask(node, &request, Effort::Copy, self.received).await {
                Some(Ok(Lent::Zip { size, exchange })) if size == self.size => {
                    self.source = Source::Node(exchange);
                    return Ok(());
                }
                Some(Ok(_)) => return Err(wrong(self.version, "it has other content now".to_owned())),
                Some(Err(_)) => break,
                None => {}
            }
        }
        Err(broken_off(self.version))
    }

    /// What all bytes are held against, after the last.
    pub(super) fn end(&mut self) -> Result<End, ServeError> {
        let seal = match &self.source {
            Source::Own(ready, _) => return Ok(End::Own(Arc::clone(ready))),
            Source::Node(_) | Source::Left(_) => self.seal.take(),
        };
        let unsealed = || wrong(self.version, "it came without its hashes".to_owned());
        let seal = seal.ok_or_else(unsealed)?;
        let sum = |bytes: &Bytes| <[u8; 32]>::try_from(bytes.as_ref()).map_err(|_| unsealed());
        let provenance = seal.provenance.unwrap_or_default();
        Ok(End::Sealed(Proof {
            sha256: sum(&seal.sha256)?,
            h1: H1::from_bytes(sum(&seal.h1)?),
            verified: if provenance.verified { Verified::ChecksumDatabase } else { Verified::Unchecked },
            class: class_of(&provenance),
            origin: provenance.origin,
        }))
    }
}

/// What came is not what it should be.
pub(super) fn wrong(version: &ModuleVersion, why: String) -> ServeError {
    ServeError::BadContent { what: version.to_string().into(), why }
}

/// It may be better the next time, and it is no fault of an origin.
fn broken_off(version: &ModuleVersion) -> ServeError {
    ServeError::Unavailable {
        what: version.to_string().into(),
        why: "the nodes that sent it broke off".to_owned(),
        next: Cow::Borrowed("try again in a moment"),
    }
}
