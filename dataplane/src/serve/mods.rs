//! Fetching a go.mod: verified before it is stored, and asked of another origin when one sends something else.

use std::sync::Arc;

use gomod::dirhash::go_mod_h1;
use gomod::modfile::module_line;
use gomod::{ModuleVersion, Request};

use super::checks::{Asked, Part};
use super::error::ServeError;
use super::metrics::RefusedContent;
use super::prepare;
use super::proxy::Proxy;
use super::ready::Ready;
use super::search::Search;
use super::tag::Kind;
use super::texts::lost;
use crate::store::{Patch, Verified};
use crate::upstream::Fetched;

impl Proxy {
    /// Fetches the go.mod of `version`. An origin whose file is refused is passed over, as with zips.
    ///
    /// A failed fetch is told at once. The checksum database's failure waits for the origin: where that has no such version
    /// either, "not found" is the answer (protocol.md 57).
    pub(super) async fn fetch_mod(
        self: &Arc<Self>,
        request: &Request,
        version: &ModuleVersion,
    ) -> Result<Arc<Ready>, ServeError> {
        let mut expected = Asked::begin(self, version);
        let mut search = Search::begin(self, version);
        while search.goes_on() {
            let fetched = match self.layers.upstream.fetch_small_elsewhere(request, search.avoid()).await {
                Ok(fetched) => fetched,
                Err(error) => {
                    search.failed(&error)?;
                    continue;
                }
            };
            match self.keep_mod(request, version, &fetched, &mut expected).await {
                Err(error @ ServeError::BadContent { .. }) => {
                    search.refuse(RefusedContent::GoMod, "go.mod", fetched.origin, error);
                }
                other => return other,
            }
        }
        Err(search.end(|| lost(request)))
    }

    async fn keep_mod(
        &self,
        request: &Request,
        version: &ModuleVersion,
        fetched: &Fetched,
        expected: &mut Asked,
    ) -> Result<Arc<Ready>, ServeError> {
        let verified = expected.get().await?.check(version, Part::GoMod, &go_mod_h1(&fetched.body))?;
        if verified == Verified::Unchecked {
            // Nobody vouches for it, so it has at least to be one: an error in JSON would be kept for ever.
            module_line(&fetched.body).map_err(|error| ServeError::BadContent {
                what: version.to_string().into(),
                why: format!("what {} sent is no go.mod file: {error}", fetched.origin),
            })?;
        }
        let patch = Patch {
            go_mod: Some(fetched.body.clone()),
            verified,
            origin: fetched.origin.to_string(),
            ..Patch::default()
        };
        let stored = self.commit(version, patch).await?;
        self.layers.checks.stored(version, verified);
        let go_mod = stored.map_or(Some(fetched.body.clone()), |record| record.go_mod);
        let private = self.is_private(&version.module);
        go_mod.map(|go_mod| prepare::text(Kind::Mod, go_mod, private)).ok_or_else(|| lost(request))
    }
}
