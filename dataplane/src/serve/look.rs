//! A look for a copy at the other replicas, by whoever is to fetch.
//!
//! An origin is asked before long, but the look is not over then: whoever has not answered goes on meanwhile, and is heard to the end
//! when the origin has nothing or fails, or when none is to be asked. A disk may be slow; a connection that is being made would be left
//! half made if nobody waited for it. Invariants: whoever has said that it holds none is not asked again; nothing that a node sends is left
//! unread while the origin is waited for; that there is no such thing is not told while a node that can be reached, and may hold it,
//! answers that it is in trouble.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use cluster::NodeName;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use gomod::Request;
use proto::data::v1::Refusal;

use super::error::{ServeError, UNSURE_NEXT};
use super::lend::Lent;
use super::meaning::Meaning;
use super::proxy::Proxy;
use super::refusal::{from_refusal, holds_none};
use super::texts::name;

/// How long a copy is waited for before an origin is asked.
const PATIENCE: Duration = Duration::from_millis(300);
/// The same where another node says that it has an origin send it; a little longer than that one waits.
const COMING_PATIENCE: Duration = Duration::from_millis(2500);

/// Whether a node said that it is about to have one, and what it said then; `None` if it could not be reached.
type Said = (bool, Option<Result<Lent, Refusal>>);

/// See the head of this file.
pub(super) struct Look<'a> {
    proxy: &'a Proxy,
    request: &'a Request,
    /// None once the origin has nothing: then a node has as long as for anything else that it is asked for.
    patience: Option<Duration>,
    asking: FuturesUnordered<BoxFuture<'a, (NodeName, Said)>>,
    /// How many of them have an origin send it.
    coming: Arc<AtomicUsize>,
    /// Who is being asked.
    asked: Vec<NodeName>,
    /// Who was let go of before it could say that it holds none, or could not be reached.
    left: Vec<NodeName>,
    /// A copy that came when the origin had nothing, until it is asked for.
    found: Option<Lent>,
    /// What was said first by a node that could not tell whether it holds one.
    trouble: Option<ServeError>,
}

impl Proxy {
    /// Begins to look for a copy of what `request` names; nobody is asked before the look is waited for.
    pub(super) fn look<'a>(&'a self, request: &'a Request) -> Look<'a> {
        let mut look = Look {
            proxy: self,
            request,
            patience: Some(PATIENCE),
            asking: FuturesUnordered::new(),
            coming: Arc::default(),
            asked: Vec::new(),
            left: Vec::new(),
            found: None,
            trouble: None,
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
        if let Some(lent) = self.found.take() {
            return Some(lent);
        }
        self.ask_again();
        let found = match self.patience {
            None => self.next_copy(|_| true).await,
            Some(patience) => {
                if let Ok(found) = tokio::time::timeout(patience, self.next_copy(|_| true)).await {
                    found
                } else {
                    let coming = self.next_copy(|coming| coming > 0);
                    tokio::time::timeout(COMING_PATIENCE, coming).await.ok().flatten()
                }
            }
        };
        if found.is_some() {
            // They might begin to send it too.
            self.asking.clear();
            self.coming = Arc::default();
            self.left.append(&mut self.asked);
        }
        found
    }

    /// Waits for one as long as it `is_worth` it, by the number of nodes that are about to have it.
    async fn next_copy(&mut self, is_worth: impl Fn(usize) -> bool) -> Option<Lent> {
        while is_worth(self.coming.load(Relaxed))
            && let Some((node, said)) = self.asking.next().await
        {
            if let Some(lent) = self.heard(node, said) {
                return Some(lent);
            }
        }
        None
    }

    /// Does `work`, which is fetching, while whoever has not answered goes on. If it comes to nothing, and a copy would do, the others are
    /// heard to the end; the next copy is theirs. Without one, the error says so if one of them could not tell.
    pub(super) async fn beside<T>(
        &mut self,
        work: impl Future<Output = Result<T, ServeError>> + Unpin,
    ) -> Result<T, ServeError> {
        let error = match self.until(work).await {
            Err(error) if leaves_room(&error) => error,
            done => return done,
        };
        // From now on whoever is asked has as long as for anything else.
        self.patience = None;
        self.found = self.copy().await;
        if self.found.is_some() {
            return Err(error);
        }
        Err(self.told(error))
    }

    /// Does `work`, while whoever has not answered goes on. Who has a copy is asked for it again when it is wanted.
    async fn until<T>(&mut self, mut work: impl Future<Output = T> + Unpin) -> T {
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

    /// Whether there is a copy, and `error`, which fetching came to, leaves room for one.
    pub(super) fn is_open_after(&self, error: &ServeError) -> bool {
        self.found.is_some() && leaves_room(error)
    }

    /// Has the node stop that begins to send this, until the next copy is asked for.
    pub(super) fn let_go(&mut self, lent: Lent) {
        if let Lent::Zip { exchange, .. } = lent {
            self.left.push(exchange.node().clone());
        }
    }

    /// A copy came and could not be kept: what is wrong with it says nothing of the others, what went wrong leaves it open whether there is one.
    pub(super) fn came_to_nothing(&mut self, error: ServeError) {
        tracing::debug!(%error, "another node's copy is of no use");
        match error.meaning() {
            Meaning::Distrusted | Meaning::Absent | Meaning::Gone | Meaning::NotHeld | Meaning::Forbidden => {
            }
            Meaning::Trouble { .. } | Meaning::NotNow | Meaning::Failed | Meaning::NoRequest => {
                self.trouble.get_or_insert(error);
            }
        }
    }

    /// What a client is told when fetching came to `error` and no copy was of use.
    pub(super) fn told(&self, error: ServeError) -> ServeError {
        told(self.request, error, self.trouble.as_ref())
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
        let (proxy, request, coming) = (self.proxy, self.request, Arc::clone(&self.coming));
        self.asked.push(node.clone());
        self.asking.push(Box::pin(async move {
            let said = proxy.ask_for_copy(&node, request, &coming).await;
            (node, said)
        }));
    }

    fn heard(&mut self, node: NodeName, (was_coming, said): Said) -> Option<Lent> {
        self.asked.retain(|asked| *asked != node);
        match said {
            Some(Ok(lent)) => return Some(lent),
            // It may have come when somebody asks again.
            Some(Err(refusal)) if holds_none(&refusal) && was_coming => self.left.push(node),
            Some(Err(refusal)) if holds_none(&refusal) => {}
            Some(Err(refusal)) => {
                let error = from_refusal(refusal);
                tracing::debug!(%node, %error, "a node cannot tell whether it holds a copy");
                self.trouble.get_or_insert(error);
            }
            None => self.left.push(node),
        }
        None
    }
}

/// Whether a copy is good enough when fetching came to this. What came and was refused, or is not vouched for, is looked for nowhere else;
/// and where this node failed a copy would meet the same.
fn leaves_room(error: &ServeError) -> bool {
    match error.meaning() {
        Meaning::Absent | Meaning::Gone | Meaning::NotHeld | Meaning::Trouble { .. } | Meaning::NotNow => {
            true
        }
        Meaning::Forbidden | Meaning::Distrusted | Meaning::Failed | Meaning::NoRequest => false,
    }
}

/// What a client is told when fetching came to `error` and nobody sent a copy. Who may have one and was in `trouble` leaves it open whether
/// there is one; who cannot be reached does not, or every new name would be in doubt while one node is down.
fn told(request: &Request, error: ServeError, trouble: Option<&ServeError>) -> ServeError {
    let says_none = match error.meaning() {
        Meaning::Absent | Meaning::Gone | Meaning::NotHeld => true,
        Meaning::Forbidden
        | Meaning::Distrusted
        | Meaning::Trouble { .. }
        | Meaning::NotNow
        | Meaning::Failed
        | Meaning::NoRequest => false,
    };
    let Some(trouble) = trouble.filter(|_| says_none) else { return error };
    ServeError::Unavailable {
        what: name(request).into(),
        why: format!("nobody else has it, and a node that may hold it could not tell: {trouble}"),
        next: Cow::Borrowed(UNSURE_NEXT),
    }
}

#[cfg(test)]
mod tests {
    use proto::data::v1::RefusalReason;

    use super::super::error::{CROWDED_NEXT, PRIVATE_NEXT};
    use super::super::tests::{new_clock, proxy};
    use super::*;

    fn unavailable(next: &'static str) -> ServeError {
        let (what, why) = (Cow::Borrowed("a.example/m@v1.0.0"), "because".to_owned());
        ServeError::Unavailable { what, why, next: Cow::Borrowed(next) }
    }

    fn not_found() -> ServeError {
        ServeError::NotFound { what: "a.example/m@v1.0.0".into(), why: "proxy.example says so".to_owned() }
    }

    #[test]
    fn a_copy_stands_in_for_what_nobody_fetched_but_not_for_what_was_refused() {
        let (what, why) = (Cow::Borrowed("a.example/m@v1.0.0"), "because".to_owned());
        let next = Cow::Borrowed("do something");
        for error in [
            ServeError::NotFound { what: what.clone(), why: why.clone() },
            ServeError::Gone { what: what.clone(), why: why.clone() },
            ServeError::NotHeld { what: what.clone(), why: Cow::Borrowed("because"), next: next.clone() },
            ServeError::OriginUnavailable { what: what.clone(), why: why.clone() },
            ServeError::OriginTimeout { what: what.clone(), why: why.clone() },
            ServeError::OriginBusy {
                what: what.clone(),
                why: why.clone(),
                next: next.clone(),
                retry_after: None,
            },
            unavailable("do something"),
            unavailable(CROWDED_NEXT),
            unavailable(PRIVATE_NEXT),
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

    /// A node that is down must not make a 503 of every 404: the go command asks for many names that there are none of.
    #[tokio::test]
    async fn only_a_node_that_answers_and_cannot_tell_leaves_it_open_what_there_is() {
        let dir = tempfile::tempdir().unwrap();
        let proxy = proxy(dir.path(), &new_clock());
        let request = Request::parse("a.example/m/@v/v1.0.0.mod").unwrap();
        for (said, status) in [
            (None, 404),
            (Some(RefusalReason::NotHeld), 404),
            (Some(RefusalReason::NotFound), 404),
            (Some(RefusalReason::Gone), 404),
            (Some(RefusalReason::Forbidden), 404),
            (Some(RefusalReason::Unavailable), 503),
            (Some(RefusalReason::Internal), 503),
            (Some(RefusalReason::BadContent), 503),
        ] {
            let mut look = proxy.look(&request);
            let refusal = |reason: RefusalReason| Refusal {
                reason: reason.into(),
                why: "its disk hangs".to_owned(),
                ..Refusal::default()
            };
            let other = NodeName::parse("other").unwrap();
            assert!(look.heard(other, (false, said.map(|reason| Err(refusal(reason))))).is_none());
            let error = look.beside(std::future::ready(Err::<(), _>(not_found()))).await.unwrap_err();
            assert_eq!(error.status().as_u16(), status, "{said:?}: {error}");
            assert_eq!(error.to_string().contains("its disk hangs"), status == 503, "{error}");
            assert_eq!(error.retry_after_seconds().is_some(), status == 503, "{error}");
            assert!(!look.is_open_after(&error), "nobody has a copy");
        }
    }

    #[tokio::test]
    async fn who_was_about_to_have_it_is_asked_again_and_who_has_none_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let proxy = proxy(dir.path(), &new_clock());
        let request = Request::parse("a.example/m/@v/v1.0.0.mod").unwrap();
        let mut look = proxy.look(&request);
        for (name, was_coming) in [("fetcher", true), ("other", false)] {
            let none = Refusal { reason: RefusalReason::NotHeld.into(), ..Refusal::default() };
            assert!(look.heard(NodeName::parse(name).unwrap(), (was_coming, Some(Err(none)))).is_none());
        }
        assert_eq!(look.left, [NodeName::parse("fetcher").unwrap()]);
    }

    #[test]
    fn trouble_of_a_node_hides_no_other_error() {
        let request = Request::parse("a.example/m/@v/v1.0.0.mod").unwrap();
        let trouble = ServeError::Internal { what: "read a record".to_owned() };
        let (what, why) = (Cow::Borrowed("a.example/m@v1.0.0"), "because".to_owned());
        for error in [
            ServeError::OriginTimeout { what: what.clone(), why: why.clone() },
            ServeError::BadContent { what, why },
            unavailable(CROWDED_NEXT),
        ] {
            let before = error.to_string();
            assert_eq!(told(&request, error, Some(&trouble)).to_string(), before);
        }
        assert_eq!(told(&request, not_found(), None).status().as_u16(), 404);
        assert_eq!(
            told(&request, not_found(), Some(&trouble)).meaning(),
            Meaning::Trouble { elsewhere: false }
        );
    }
}
