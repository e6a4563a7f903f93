//! Asking one origin after another for a file of a version until one sends it whole, and it is not refused.

use gomod::ModuleVersion;

use super::convert::from_fetch;
use super::error::ServeError;
use super::proxy::Proxy;
use crate::upstream::{FetchError, OriginId};

/// Origins tried for one request when what they send is refused, or breaks off.
pub(super) const ORIGINS_TRIED_MAX: usize = 3;
/// What [`Search::refuse`] calls a zip.
const ZIP: &str = "zip";

/// See the head of this file.
pub(super) struct Search<'a> {
    proxy: &'a Proxy,
    version: &'a ModuleVersion,
    avoid: Vec<OriginId>,
    /// Those of them that broke off a while ago, and are asked when the others have trouble.
    last: Vec<OriginId>,
    /// What the client is told if nobody has it.
    told: Option<ServeError>,
}

impl<'a> Search<'a> {
    /// Begins with who is not avoided since earlier.
    pub(super) fn begin(proxy: &'a Proxy, version: &'a ModuleVersion) -> Self {
        Self { proxy, version, avoid: proxy.avoided.of(version), last: Vec::new(), told: None }
    }

    /// The same for a zip.
    pub(super) fn begin_zip(proxy: &'a Proxy, version: &'a ModuleVersion) -> Self {
        let mut search = Self::begin(proxy, version);
        search.last = proxy.broken_off.of(version);
        search.avoid.extend(search.last.iter().cloned());
        search
    }

    /// Origins not to ask.
    pub(super) fn avoid(&self) -> &[OriginId] {
        &self.avoid
    }

    /// No origin gave anything: `Ok` when those that were passed over are to be asked, else what the client is told.
    pub(super) fn failed(&mut self, error: &FetchError) -> Result<(), ServeError> {
        let none_left = matches!(error, FetchError::NoOtherOrigin | FetchError::NotFound { .. });
        if self.told.is_none() {
            // Perhaps the one that gave bad content has better now. For a while after a bad zip nobody asks it for that, so
            // that whoever wants the zip over and over does not have it sent each time. The one that broke off may send all of
            // it this time.
            let last = std::mem::take(&mut self.last);
            let again = if none_left { std::mem::take(&mut self.avoid) } else { last };
            if !again.is_empty() {
                self.avoid.retain(|origin| !again.contains(origin));
                return Ok(());
            }
        }
        Err(self.told.take().unwrap_or_else(|| from_fetch(&self.version.to_string(), error)))
    }

    /// What `origin` sent was refused: the next one is asked.
    pub(super) fn refuse(&mut self, what: &str, origin: OriginId, error: ServeError) {
        self.proxy.layers.metrics.refused_content.inc();
        let shown = |what| self.proxy.shown(&self.version.module, what);
        tracing::error!(version = %shown(self.version), %origin, error = %shown(&error), "refused a {what}");
        self.proxy.avoided.add(self.version, &origin);
        if let (ZIP, ServeError::BadContent { why, .. }) = (what, &error) {
            self.proxy.layers.upstream.zip_was_refused(self.version, &origin, why);
        }
        self.avoid.push(origin);
        self.told.get_or_insert(error);
    }

    /// The zip that `origin` sent broke off, where the chain lets another origin be asked: the next one is.
    pub(super) fn broke_off(&mut self, origin: OriginId, error: ServeError) {
        tracing::debug!(version = %self.version, %origin, %error, "a zip broke off");
        self.proxy.broken_off.add(self.version, &origin);
        self.avoid.push(origin);
        self.told.get_or_insert(error);
    }

    /// Enough were asked: what went wrong first, or `otherwise`.
    pub(super) fn end(self, otherwise: impl FnOnce() -> ServeError) -> ServeError {
        self.told.unwrap_or_else(otherwise)
    }
}
