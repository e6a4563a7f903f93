//! Paths of private modules that are none, but lie within one that is here.
//!
//! The go command looks for the module of a package under every prefix of its path, and takes whatever it hears of a longer one, other than
//! 404 and 410, for the end of the search (cmd/go/internal/modload, `queryPrefixModules`). It searches each proxy to the end before the next:
//! where the module is found at a shorter path, a 404 for the longer ones sends no name anywhere. So that, and nothing else, is what a 404
//! is told for below a private prefix, and only while it is certain; docs/adr/0029.

use std::borrow::Cow;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use gomod::{ModulePath, Request};
use tracing::Instrument as _;

use super::error::ServeError;
use super::lend::Lent;
use super::private_lists::Presence;
use super::proxy::{Asker, Proxy};
use super::texts::name;
use crate::client;
use crate::peers::Effort;

/// Shorter paths that are looked at: import paths have six elements or so, and each costs a question to every replica of another slot.
const SHORTER_MAX: usize = 12;

impl Proxy {
    /// What a client is told of the `.info` of a private version that nobody has. `.mod` and `.zip` are asked for when the module is known,
    /// which ends no search.
    pub(super) async fn refused_text(
        self: &Arc<Self>,
        request: &Request,
        asker: Asker,
        refusal: ServeError,
    ) -> ServeError {
        let is_searched = matches!(request, Request::Info(..));
        if asker != Asker::Client || !is_searched || !self.is_private(request.module()) {
            return refusal;
        }
        match self.known_of(request.module()).await {
            Ok(known) => self.refused_or_within(request, known.presence, refusal).await,
            Err(error) => {
                tracing::debug!(%error, "it is not known what there is of a private module");
                refusal
            }
        }
    }

    /// What a client is told instead of `refusal` if the path is certainly no module's, but lies within one that is here.
    pub(super) async fn refused_or_within(
        self: &Arc<Self>,
        request: &Request,
        presence: Presence,
        refusal: ServeError,
    ) -> ServeError {
        // Of what was taken down or is in quarantine nothing may be held either.
        if presence != Presence::Absent || self.concerns_blocked(request.module()) {
            return refusal;
        }
        let Some(here) = self.module_around(request.module()).await else { return refusal };
        ServeError::NotHeld {
            what: name(request).into(),
            why: Cow::Owned(format!("no module of this path is here, but {here} is")),
            next: Cow::Borrowed(
                "import it as a package of that one; if it is a module of its own, publish it here, or set GONOPROXY for it",
            ),
        }
    }

    /// A private module that is here and that `module` would lie within, or follow as the next major version. One flight for all who ask.
    async fn module_around(self: &Arc<Self>, module: &ModulePath) -> Option<ModulePath> {
        let proxy = Arc::clone(self);
        let waiter = self.around.join(module, |flight| {
            let module = module.clone();
            let looking = async move {
                let landed = Box::pin(proxy.look_around(&module)).await;
                flight.land(landed);
            };
            client::spawn(looking.in_current_span());
        });
        waiter.landed().await.flatten()
    }

    async fn look_around(&self, module: &ModulePath) -> Option<ModulePath> {
        let shorter = module.major_before().into_iter().chain(module.ancestors());
        let mut looking: FuturesUnordered<_> = shorter
            .filter(|path| self.is_private(path))
            .take(SHORTER_MAX)
            .map(|path| async move {
                let is_here = self.is_here(&path).await;
                is_here.then_some(path)
            })
            .collect();
        while let Some(found) = looking.next().await {
            if found.is_some() {
                return found;
            }
        }
        None
    }

    /// Whether this node or one of those that should hold it has anything of a private module. The first who says so is believed.
    async fn is_here(&self, module: &ModulePath) -> bool {
        if self.held_versions(module).await.is_ok_and(|held| !held.is_empty()) {
            return true;
        }
        let (route, request) = (self.layers.peers.route(module), Request::List(module.clone()));
        let mut asking: FuturesUnordered<_> =
            route.all().map(|node| self.ask(node, &request, Effort::Held, 0)).collect();
        while let Some(answer) = asking.next().await {
            if matches!(answer, Some(Ok(Lent::Whole(_)))) {
                return true;
            }
        }
        false
    }
}
