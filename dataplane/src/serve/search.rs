//! Asking one origin after another for a file of a version until one sends what is not refused.

use gomod::ModuleVersion;

use super::convert::from_fetch;
use super::error::ServeError;
use super::proxy::Proxy;
use crate::upstream::{FetchError, OriginId};

/// Origins tried for one request when what they send is refused.
pub(super) const ORIGINS_TRIED_MAX: usize = 3;
/// What [`Search::refuse`] calls a zip.
const ZIP: &str = "zip";

/// See the head of this file.
pub(super) struct Search<'a> {
    proxy: &'a Proxy,
    version: &'a ModuleVersion,
    avoid: Vec<OriginId>,
    refused: Option<ServeError>,
}

impl<'a> Search<'a> {
    /// Begins with who is not avoided since earlier.
    pub(super) fn begin(proxy: &'a Proxy, version: &'a ModuleVersion) -> Self {
        Self { proxy, version, avoid: proxy.avoided.of(version), refused: None }
    }

    /// Origins not to ask.
    pub(super) fn avoid(&self) -> &[OriginId] {
        &self.avoid
    }

    /// No origin gave anything: `Ok` when all are to be asked again, else what the client is told.
    pub(super) fn failed(&mut self, error: &FetchError) -> Result<(), ServeError> {
        let none_left = matches!(error, FetchError::NoOtherOrigin | FetchError::NotFound { .. });
        if none_left && self.refused.is_none() && !self.avoid.is_empty() {
            // Perhaps the one that gave bad content has better now. For a while after a bad zip nobody asks it for that, so
            // that whoever wants the zip over and over does not have it sent each time.
            self.avoid.clear();
            return Ok(());
        }
        Err(self.refused.take().unwrap_or_else(|| from_fetch(&self.version.to_string(), error)))
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
        self.refused.get_or_insert(error);
    }

    /// Enough were asked: the first refusal, or `otherwise`.
    pub(super) fn end(self, otherwise: impl FnOnce() -> ServeError) -> ServeError {
        self.refused.unwrap_or_else(otherwise)
    }
}
