//! A look for a copy at the other replicas, by whoever is to fetch.
//!
//! An origin is asked before long, but the look is not over then: whoever has not answered goes on meanwhile, and is heard to the end
//! when the origin has nothing or fails. A disk may be slow; a connection that is being made would be left half made if nobody waited for
//! it. Invariants: whoever has said that it holds none is not asked again; nothing that a node sends is left unread while the origin is
//! waited for.

use std::time::Duration;

use cluster::NodeName;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use gomod::Request;
use proto::data::v1::Refusal;

use super::error::ServeError;
use super::lend::Lent;
use super::proxy::Proxy;
use crate::peers::Effort;

/// How long a copy is waited for before an origin is asked.
const PATIENCE: Duration = Duration::from_millis(300);

/// What a node said; `None` if it could not be reached.
type Said = Option<Result<Lent, Refusal>>;

/// See the head of this file.
pub(super) struct Look<'a> {
    proxy: &'a Proxy,
    request: &'a Request,
    /// None once the origin has nothing: then a node has as long as for anything else that it is asked for.
    patience: Option<Duration>,
    asking: FuturesUnordered<BoxFuture<'a, (NodeName, Said)>>,
    /// Who is being asked.
    asked: Vec<NodeName>,
    /// Who was let go of before it could say that it holds none, or could not be reached.
    left: Vec<NodeName>,
}

impl Proxy {
    /// Begins to look for a copy of what `request` names; nobody is asked before the look is waited for.
    pub(super) fn look<'a>(&'a self, request: &'a Request) -> Look<'a> {
        let mut look = Look {
            proxy: self,
            request,
            patience: Some(PATIENCE),
            asking: FuturesUnordered::new(),
            asked: Vec::new(),
            left: Vec::new(),
        };
        for node in self.route(request.module()).all() {
            look.ask(node.clone());
        }
        look
    }
}

impl Look<'_> {
    /// The next copy; the others who are asked are let go of then. `None` if nobody has another one, or nobody says so in time.
    pub(super) async fn copy(&mut self) -> Option<Lent> {
        self.ask_again();
        let patience = self.patience;
        let looking = async {
            while let Some((node, said)) = self.asking.next().await {
                if let Some(lent) = self.heard(node, said) {
                    return Some(lent);
                }
            }
            None
        };
        let found = match patience {
            Some(patience) => tokio::time::timeout(patience, looking).await.ok().flatten(),
            None => looking.await,
        };
        if found.is_some() {
            // They might begin to send it too.
            self.asking.clear();
            self.left.append(&mut self.asked);
        }
        found
    }

    /// Does `work`, while whoever has not answered goes on. Who has a copy is asked for it again when it is wanted.
    pub(super) async fn beside<T>(&mut self, mut work: impl Future<Output = T> + Unpin) -> T {
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                Some((node, said)) = self.asking.next() => {
                    if self.heard(node.clone(), said).is_some() {
                        self.left.push(node);
                    }
                }
            }
        }
    }

    /// Whether somebody may have a copy who has not said that it has none, and `error`, which fetching came to, leaves room for one.
    pub(super) fn is_open_after(&self, error: &ServeError) -> bool {
        let is_open = !self.asking.is_empty() || !self.left.is_empty();
        is_open && leaves_room(error)
    }

    /// From now on whoever is asked has as long as for anything else.
    pub(super) fn take_time(&mut self) {
        self.patience = None;
    }

    /// Has the node stop that begins to send this, until the next copy is asked for.
    pub(super) fn let_go(&mut self, lent: Lent) {
        if let Lent::Zip { exchange, .. } = lent {
            self.left.push(exchange.node().clone());
        }
    }

    /// Asks those who were left, but for those that are not to be asked any more.
    fn ask_again(&mut self) {
        if self.left.is_empty() {
            return;
        }
        let route = self.proxy.route(self.request.module());
        for node in std::mem::take(&mut self.left) {
            if route.all().any(|there| *there == node) {
                self.ask(node);
            }
        }
    }

    fn ask(&mut self, node: NodeName) {
        let (proxy, request) = (self.proxy, self.request);
        self.asked.push(node.clone());
        self.asking.push(Box::pin(async move {
            let said = proxy.ask(&node, request, Effort::Held, 0).await;
            (node, said)
        }));
    }

    fn heard(&mut self, node: NodeName, said: Said) -> Option<Lent> {
        self.asked.retain(|asked| *asked != node);
        let Some(answer) = said else {
            self.left.push(node);
            return None;
        };
        answer.ok()
    }
}

/// Whether a copy is good enough when fetching came to this. What came and was refused, or is not vouched for, is looked for nowhere else.
fn leaves_room(error: &ServeError) -> bool {
    matches!(
        error,
        ServeError::NotFound { .. }
            | ServeError::Gone { .. }
            | ServeError::OriginUnavailable { .. }
            | ServeError::OriginTimeout { .. }
            | ServeError::OriginBusy { .. }
            | ServeError::Unavailable { .. }
    )
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    #[test]
    fn a_copy_stands_in_for_an_origin_that_has_nothing_but_not_for_what_was_refused() {
        let (what, why) = (Cow::Borrowed("a.example/m@v1.0.0"), "because".to_owned());
        let next = Cow::Borrowed("do something");
        for error in [
            ServeError::NotFound { what: what.clone(), why: why.clone() },
            ServeError::Gone { what: what.clone(), why: why.clone() },
            ServeError::OriginUnavailable { what: what.clone(), why: why.clone() },
            ServeError::OriginTimeout { what: what.clone(), why: why.clone() },
            ServeError::OriginBusy { what: what.clone(), why: why.clone(), next: next.clone() },
            ServeError::Unavailable { what: what.clone(), why: why.clone(), next: next.clone() },
        ] {
            assert!(leaves_room(&error), "{error}");
        }
        for error in [
            ServeError::BadContent { what: what.clone(), why: why.clone() },
            ServeError::Unverified { what: what.clone(), why: why.clone() },
            ServeError::Refused { what, why, next },
            ServeError::Internal { what: "store a record".to_owned() },
        ] {
            assert!(!leaves_room(&error), "{error}");
        }
    }
}
