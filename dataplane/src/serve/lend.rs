//! What the other nodes of the cluster have: asked for along the route, before an origin is.
//!
//! The node that fetches for a slot speaks for the origins: what it says is not there is not there, nor at another replica (`look`). Where
//! the origins fail, any copy will do. Nodes that cannot be reached are passed over; with none left, fetching is for this node.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use cluster::{Epoch, NodeName};
use gomod::{ModulePath, Query, Request};
use proto::data::v1::{Refusal, Whole};

use super::error::ServeError;
use super::proxy::{Mode, Proxy};
use super::refusal::{Heard, hear, holds_none};
use crate::peers::{Effort, Exchange, Part, Route, Unreachable};

/// How often a request follows a slot that moved.
const MOVES_MAX: usize = 3;
/// Nodes that are asked to fetch when the first one's origins fail: it may be its own way to them.
const FETCHERS_ASKED_MAX: usize = 2;
/// How long it waits for the layout by which the slot moved.
const LAYOUT_PATIENCE: Duration = Duration::from_secs(2);

/// An answer of another node.
pub(super) enum Lent {
    /// A small file.
    Whole(Whole),
    /// A zip of `size` bytes; its pieces follow.
    Zip { size: u64, exchange: Exchange },
}

enum Walked {
    Lent(Lent),
    Refused(ServeError),
    /// The slot is another node's, by a layout that is not known here yet.
    Moved(Epoch),
    Nobody,
}

/// What is asked for.
#[derive(Clone, Copy)]
pub(super) struct Errand<'a> {
    request: &'a Request,
    mode: Mode,
    /// Of a zip, the bytes that are here already.
    offset: u64,
    /// Who is not to be asked: they broke off before.
    left_out: &'a [NodeName],
}

impl<'a> Errand<'a> {
    /// All of what `request` names.
    pub(super) fn whole(request: &'a Request, mode: Mode) -> Self {
        Self { request, mode, offset: 0, left_out: &[] }
    }

    /// What of it follows `offset`, of others than those in `left_out`.
    pub(super) fn rest(request: &'a Request, mode: Mode, offset: u64, left_out: &'a [NodeName]) -> Self {
        Self { request, mode, offset, left_out }
    }

    /// Whether any copy is as good as another.
    fn never_changes(&self) -> bool {
        matches!(self.request, Request::Info(_, Query::Version(_)) | Request::Mod(_) | Request::Zip(_))
    }

    fn route(&self, proxy: &Proxy) -> Route {
        let mut route = proxy.route(self.request.module());
        for nodes in [&mut route.fetchers, &mut route.holders] {
            nodes.retain(|node| !self.left_out.contains(node));
        }
        route
    }
}

impl Proxy {
    /// Who is asked for what is missing of a module. A node whose disk takes no writes has others fetch, who can store it.
    pub(super) fn route(&self, module: &ModulePath) -> Route {
        let peers = &self.layers.peers;
        if self.layers.store.unwritable().is_some() { peers.route_aside(module) } else { peers.route(module) }
    }

    /// Whether what other nodes ask this one to fetch is better fetched by another replica.
    pub fn stands_aside(&self, module: &ModulePath) -> bool {
        self.layers.store.unwritable().is_some() && self.layers.peers.is_one_of_many(module)
    }

    /// Asks the nodes that should have it or should fetch it. `None`: it is for this node to fetch, or nobody has it where only
    /// what is held is asked for.
    pub(super) async fn borrow(&self, errand: Errand<'_>) -> Result<Option<Lent>, ServeError> {
        let peers = &self.layers.peers;
        for _ in 0..MOVES_MAX {
            match self.walk(errand).await {
                Walked::Lent(lent) => return Ok(Some(lent)),
                Walked::Refused(error) => return Err(error),
                Walked::Nobody => return Ok(None),
                Walked::Moved(epoch) => {
                    if !peers.reaches(epoch, LAYOUT_PATIENCE).await {
                        // Nobody tells this node of it: whoever is asked by this layout takes it for newer from now on.
                        peers.believe_in(epoch);
                    }
                }
            }
        }
        Ok(None)
    }

    async fn walk(&self, errand: Errand<'_>) -> Walked {
        let Errand { request, mode, offset, .. } = errand;
        let (route, peers) = (errand.route(self), &self.layers.peers);
        let mut in_vain = Vec::new();
        if errand.never_changes() {
            match self.copy_of_who_is_free(&route, request, offset).await {
                Ok(lent) => return Walked::Lent(lent),
                Err(none) => in_vain = none,
            }
        }
        let (mut trouble, mut fetches_left) = (None, FETCHERS_ASKED_MAX);
        for (number, node) in route.all().enumerate() {
            let mut fetches = number < route.fetchers.len() && mode == Mode::Fetch && fetches_left > 0;
            if !fetches && mode == Mode::Fetch && trouble.is_none() {
                // Whoever should fetch cannot be reached: it is for this node, which looks for copies by itself.
                break;
            }
            let again = if fetches && trouble.is_some() { peers.may_fetch_again() } else { None };
            // Without leave to ask a second time it is asked for what it holds.
            fetches &= trouble.is_none() || again.is_some();
            if fetches && number == 0 {
                peers.fetches_first();
            }
            if !fetches && in_vain.contains(node) {
                continue;
            }
            let second = if fetches && number == 0 && errand.never_changes() {
                route.all().skip(1).find(|other| !in_vain.contains(other))
            } else {
                None
            };
            let effort = if fetches { Effort::Fetch } else { Effort::Held };
            let said = self.ask_or(node, second, request, effort, offset).await;
            let said = said.map(|said| said.map_err(|refusal| hear(refusal, fetches)));
            if let Some(stake) = again {
                let is_answer = matches!(said, Some(Ok(_) | Err(Heard::Final(_))));
                peers.fetched_again(stake, is_answer);
            }
            match said {
                None => {}
                Some(Ok(lent)) => return Walked::Lent(lent),
                Some(Err(heard)) => match heard {
                    Heard::Final(error) => return Walked::Refused(error),
                    Heard::Trouble { error, elsewhere } => {
                        trouble.get_or_insert(error);
                        fetches_left = if elsewhere { fetches_left - 1 } else { 0 };
                    }
                    Heard::Moved(epoch) => return Walked::Moved(epoch),
                    Heard::Next => {}
                },
            }
        }
        trouble.map_or(Walked::Nobody, Walked::Refused)
    }

    /// Where the node that fetches is slow, or has its share of work, a copy of another one; without one, who has said that it has none.
    async fn copy_of_who_is_free(
        &self,
        route: &Route,
        request: &Request,
        offset: u64,
    ) -> Result<Lent, Vec<NodeName>> {
        let peers = &self.layers.peers;
        let mut in_vain = Vec::new();
        let Some(first) = route.fetchers.first() else { return Err(in_vain) };
        if peers.spares(first) {
            let others: Vec<_> = route.all().skip(1).filter(|node| !peers.is_slow(node)).collect();
            // One after the other, as many as may be asked in vain: nobody may have it.
            for node in others {
                let Some(stake) = peers.may_ask_instead() else { break };
                match self.ask(node, request, Effort::Held, offset).await {
                    Some(Ok(lent)) => {
                        peers.answered_instead(stake);
                        return Ok(lent);
                    }
                    Some(Err(refusal)) if holds_none(&refusal) => in_vain.push(node.clone()),
                    Some(Err(_)) | None => {}
                }
                peers.asked_instead_in_vain(stake);
            }
            return Err(in_vain);
        }
        let sharers = peers.sharers(route);
        let Some(node) = sharers.iter().find(|node| !peers.is_slow(node)) else { return Err(in_vain) };
        match self.ask_or(node, Some(first), request, Effort::Held, offset).await {
            Some(Ok(lent)) => {
                peers.families().count("shared");
                return Ok(lent);
            }
            Some(Err(refusal)) if holds_none(&refusal) => in_vain.push(node.clone()),
            Some(Err(_)) | None => {}
        }
        peers.had_none_to_share(node);
        Err(in_vain)
    }

    /// One node's answer, or, when it does not begin soon, what the `second` one holds, whichever comes first.
    async fn ask_or(
        &self,
        node: &NodeName,
        second: Option<&NodeName>,
        request: &Request,
        effort: Effort,
        offset: u64,
    ) -> Option<Result<Lent, Refusal>> {
        let peers = &self.layers.peers;
        let patience = peers.patience();
        let Some(second) = second else { return self.ask(node, request, effort, offset).await };
        let path = request.to_string();
        let mut first = std::pin::pin!(Exchange::begin(peers, node, &path, effort, offset));
        let begun = match tokio::time::timeout(patience, &mut first).await {
            Ok(begun) => begun,
            Err(_) if peers.may_ask_second() => {
                let mut other = std::pin::pin!(self.ask(second, request, Effort::Held, offset));
                tokio::select! {
                    begun = &mut first => begun,
                    lent = &mut other => match lent {
                        Some(Ok(lent)) => {
                            // Or it would never be known how slow the first one is.
                            peers.is_slower_than(node, patience);
                            return Some(Ok(lent));
                        }
                        Some(Err(_)) | None => first.await,
                    }
                }
            }
            Err(_) => first.await,
        };
        let is_coming = effort == Effort::Held && begun.as_ref().is_ok_and(Exchange::is_coming);
        if is_coming && peers.may_ask_second() {
            return Box::pin(self.sooner(begun, second, request, offset)).await;
        }
        self.heard(begun, request).await
    }

    /// The answer of a node that something is on its way to, or what the `second` one holds already.
    async fn sooner(
        &self,
        begun: Result<Exchange, Unreachable>,
        second: &NodeName,
        request: &Request,
        offset: u64,
    ) -> Option<Result<Lent, Refusal>> {
        let mut first = std::pin::pin!(self.heard(begun, request));
        let second = self.ask(second, request, Effort::Held, offset);
        tokio::select! {
            said = &mut first => said,
            said = second => match said {
                Some(Ok(lent)) => Some(Ok(lent)),
                Some(Err(_)) | None => first.await,
            }
        }
    }

    /// One node's answer; `None` if it cannot be reached.
    pub(super) async fn ask(
        &self,
        node: &NodeName,
        request: &Request,
        effort: Effort,
        offset: u64,
    ) -> Option<Result<Lent, Refusal>> {
        let begun = Exchange::begin(&self.layers.peers, node, &request.to_string(), effort, offset).await;
        self.heard(begun, request).await
    }

    /// What one node holds or is about to have, and whether it said that it is; while it is to come it is counted in `coming`.
    pub(super) async fn ask_for_copy(
        &self,
        node: &NodeName,
        request: &Request,
        coming: &AtomicUsize,
    ) -> (bool, Option<Result<Lent, Refusal>>) {
        let begun = Exchange::begin(&self.layers.peers, node, &request.to_string(), Effort::Held, 0).await;
        let is_coming = begun.as_ref().is_ok_and(Exchange::is_coming);
        coming.fetch_add(usize::from(is_coming), Relaxed);
        let said = self.heard(begun, request).await;
        coming.fetch_sub(usize::from(is_coming), Relaxed);
        (is_coming, said)
    }

    async fn heard(
        &self,
        begun: Result<Exchange, Unreachable>,
        request: &Request,
    ) -> Option<Result<Lent, Refusal>> {
        let peers = &self.layers.peers;
        let asking = async {
            let mut exchange = begun?;
            Ok(match (exchange.next(peers).await?, request) {
                (Part::Refusal(refusal), _) => Err(refusal),
                (Part::Start(size), Request::Zip(_)) => Ok(Lent::Zip { size, exchange }),
                (Part::Whole(whole), _) if !matches!(request, Request::Zip(_)) => Ok(Lent::Whole(whole)),
                (Part::Start(_) | Part::Whole(_) | Part::Piece(_) | Part::Seal(_), _) => {
                    return Err(exchange.broken(peers, "it answered something else".to_owned()));
                }
            })
        };
        match asking.await {
            Ok(answer) => Some(answer),
            Err(unreachable) => {
                tracing::debug!(error = %unreachable, "a node did not answer");
                None
            }
        }
    }
}
