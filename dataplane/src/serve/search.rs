//! Asking one origin after another for a file of a version until one sends it whole, and it is not refused.

use gomod::ModuleVersion;

use super::convert::from_fetch;
use super::error::ServeError;
use super::metrics::RefusedContent;
use super::proxy::Proxy;
use crate::upstream::{FetchError, OriginId};

/// Origins tried for one request when what they send is refused, or breaks off.
const ORIGINS_TRIED_MAX: usize = 3;
/// What [`Search::refuse`] calls a whole zip.
const ZIP: &str = "zip";

/// See the head of this file.
pub(super) struct Search<'a> {
    proxy: &'a Proxy,
    version: &'a ModuleVersion,
    avoid: Vec<OriginId>,
    /// Those of them that broke off a while ago, and are asked when the others have nothing or trouble.
    last: Vec<OriginId>,
    /// How many have sent something that was of no use.
    tried: usize,
    /// What the client is told if nobody has it.
    told: Option<ServeError>,
}

impl<'a> Search<'a> {
    /// Begins with who is not avoided since earlier.
    pub(super) fn begin(proxy: &'a Proxy, version: &'a ModuleVersion) -> Self {
        Self { proxy, version, avoid: proxy.avoided.of(version), last: Vec::new(), tried: 0, told: None }
    }

    /// The same for a zip.
    pub(super) fn begin_zip(proxy: &'a Proxy, version: &'a ModuleVersion) -> Self {
        let mut search = Self::begin(proxy, version);
        search.last = proxy.broken_off.of(version);
        // One that gave bad content as well is passed over for that.
        search.last.retain(|origin| !search.avoid.contains(origin));
        search.avoid.extend(search.last.iter().cloned());
        search
    }

    /// Whether another origin is tried. A walk along the chain that brings nothing is no try; `failed` lets two of them be followed by another.
    pub(super) fn goes_on(&self) -> bool {
        self.tried < ORIGINS_TRIED_MAX
    }

    /// Origins not to ask.
    pub(super) fn avoid(&self) -> &[OriginId] {
        &self.avoid
    }

    /// No origin gave anything: `Ok` when those that were passed over are to be asked, else what the client is told.
    pub(super) fn failed(&mut self, error: &FetchError) -> Result<(), ServeError> {
        let none_left = matches!(error, FetchError::NoOtherOrigin | FetchError::NotFound { .. });
        let again = if !self.last.is_empty() {
            // The one that broke off may send all of it this time, whatever the others did.
            std::mem::take(&mut self.last)
        } else if none_left && self.told.is_none() {
            // Perhaps the one that gave bad content has better now. For a while after a bad zip nobody asks it for that, so
            // that whoever wants the zip over and over does not have it sent each time. One that gave it just now has not.
            std::mem::take(&mut self.avoid)
        } else {
            Vec::new()
        };
        if again.is_empty() {
            return Err(self.told.take().unwrap_or_else(|| from_fetch(&self.version.to_string(), error)));
        }
        self.avoid.retain(|origin| !again.contains(origin));
        Ok(())
    }

    /// What `origin` sent was refused: the next one is asked. `what` is what the log calls it.
    pub(super) fn refuse(&mut self, kind: RefusedContent, what: &str, origin: OriginId, error: ServeError) {
        self.proxy.layers.metrics.refused(kind);
        let shown = |what| self.proxy.shown(&self.version.module, what);
        tracing::error!(version = %shown(self.version), %origin, error = %shown(&error), "refused a {what}");
        self.proxy.avoided.add(self.version, &origin);
        if let (ZIP, ServeError::BadContent { why, .. }) = (what, &error) {
            self.proxy.layers.upstream.zip_was_refused(self.version, &origin, why);
        }
        self.pass_over(origin, error);
    }

    /// The zip that `origin` sent broke off, where the chain lets another origin be asked: the next one is.
    pub(super) fn broke_off(&mut self, origin: OriginId, error: ServeError) {
        tracing::debug!(version = %self.version, %origin, %error, "a zip broke off");
        self.proxy.broken_off.add(self.version, &origin);
        self.pass_over(origin, error);
    }

    fn pass_over(&mut self, origin: OriginId, error: ServeError) {
        self.tried += 1;
        self.avoid.push(origin);
        self.told.get_or_insert(error);
    }

    /// Enough were asked: what went wrong first, or `otherwise`.
    pub(super) fn end(self, otherwise: impl FnOnce() -> ServeError) -> ServeError {
        self.told.unwrap_or_else(otherwise)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use gomod::{ModulePath, Version};

    use super::super::tests::{new_clock, proxy};
    use super::*;

    fn version() -> ModuleVersion {
        ModuleVersion::new(ModulePath::parse("a.example/m").unwrap(), Version::parse("v1.0.0").unwrap())
            .unwrap()
    }

    fn origins() -> [OriginId; 3] {
        [0, 1, 2].map(|entry| OriginId::new(entry, "origin.example"))
    }

    fn broken(why: &str) -> ServeError {
        ServeError::OriginUnavailable { what: "a.example/m@v1.0.0".into(), why: why.to_owned() }
    }

    fn not_found(origin: &OriginId) -> FetchError {
        FetchError::NotFound { gone: false, detail: String::new(), origin: origin.clone() }
    }

    /// A ladder that knows two origins which gave bad content, and one that broke off.
    fn wary(dir: &std::path::Path) -> Arc<Proxy> {
        let proxy = proxy(dir, &new_clock());
        let [bad, worse, cut] = origins();
        proxy.avoided.add(&version(), &bad);
        proxy.avoided.add(&version(), &worse);
        proxy.broken_off.add(&version(), &cut);
        proxy
    }

    #[tokio::test]
    async fn who_broke_off_is_asked_before_those_that_gave_bad_content() {
        let (dir, version) = (tempfile::tempdir().unwrap(), version());
        let (proxy, [bad, worse, cut]) = (wary(dir.path()), origins());
        let mut search = Search::begin_zip(&proxy, &version);
        assert_eq!(search.avoid(), [bad.clone(), worse.clone(), cut.clone()]);
        search.failed(&FetchError::NoOtherOrigin).unwrap();
        assert_eq!(search.avoid(), [bad.clone(), worse.clone()]);
        // It has none: then perhaps the others have better by now, each of them once.
        search.failed(&not_found(&cut)).unwrap();
        assert!(search.avoid().is_empty());
        assert_eq!(search.failed(&not_found(&cut)).unwrap_err().status().as_u16(), 404);

        // It breaks off again: nobody has the bad zips sent once more for that.
        let mut search = Search::begin_zip(&proxy, &version);
        search.failed(&FetchError::NoOtherOrigin).unwrap();
        search.broke_off(cut.clone(), broken("cut off"));
        let told = search.failed(&FetchError::NoOtherOrigin).unwrap_err();
        assert!(told.to_string().contains("cut off"), "{told}");
        assert_eq!(search.avoid(), [bad, worse, cut]);
    }

    #[tokio::test]
    async fn who_broke_off_before_is_asked_after_who_breaks_off_now() {
        let (dir, version) = (tempfile::tempdir().unwrap(), version());
        let proxy = wary(dir.path());
        let mut search = Search::begin_zip(&proxy, &version);
        let now = OriginId::new(3, "origin.example");
        search.broke_off(now.clone(), broken("now"));
        search.failed(&FetchError::NoOtherOrigin).unwrap();
        assert!(search.avoid().contains(&now) && !search.avoid().contains(&origins()[2]));
        let told = search.failed(&not_found(&now)).unwrap_err();
        assert!(told.to_string().contains("now"), "what went wrong first: {told}");
    }

    #[tokio::test]
    async fn an_origin_in_both_lists_is_passed_over_for_the_graver_one() {
        let (dir, version) = (tempfile::tempdir().unwrap(), version());
        let (proxy, [bad, ..]) = (wary(dir.path()), origins());
        proxy.broken_off.add(&version, &bad);
        let mut search = Search::begin_zip(&proxy, &version);
        search.failed(&FetchError::NoOtherOrigin).unwrap();
        assert!(search.avoid().contains(&bad));
    }

    #[tokio::test]
    async fn only_who_sent_something_counts_as_tried() {
        let (dir, version) = (tempfile::tempdir().unwrap(), version());
        let proxy = wary(dir.path());
        let mut search = Search::begin_zip(&proxy, &version);
        search.failed(&FetchError::NoOtherOrigin).unwrap();
        for origin in origins() {
            assert!(search.goes_on());
            search.broke_off(origin, broken("again"));
        }
        assert!(!search.goes_on());
    }
}
