//! Owns the walk along the chain: which origin is asked for a file, and what is remembered of failures.
//!
//! Does not own single flight: the caller coalesces. The futures of a walk are some ten KiB, so each is boxed once.
//! Invariants: a private module is asked of no proxy and no directory;
//! trouble at an origin is never told as "not found".

use std::sync::Arc;

use bytes::Bytes;
use common::clock::Clock;
use gomod::{GlobPatterns, Info, ModulePath, ModuleVersion, Query, Request, Version};
use tokio::sync::Mutex;

use super::bodies::Bodies;
use super::chain::{Chain, FallThrough, OriginSpec};
use super::client::{ClientError, Clients};
use super::error::{FetchError, OriginId, Unavailability};
use super::exchange::{HttpOrigin, Wire};
use super::fetch::Shell;
use super::file::FileOrigin;
use super::kind::Kind;
use super::limits::Limits;
use super::metrics::UpstreamMetrics;
use super::negative::NegativeCache;
use super::route::{Chosen, SumSource};
use super::walk::{Step, Walk};
use super::zip::ZipStream;

/// Settings of an [`Upstream`].
#[derive(Debug, Clone, Default)]
pub struct UpstreamOptions {
    /// Modules that no proxy and no directory of the chain may hear of.
    pub private: GlobPatterns,
    /// Bounds of each fetch.
    pub limits: Limits,
}

/// A small file and where it came from.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// The file, byte for byte.
    pub body: Bytes,
    /// Who sent it.
    pub origin: OriginId,
}

/// Fetches along a chain. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Upstream {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) shell: Arc<Shell>,
    chain: Chain,
    pub(super) sites: Vec<Site>,
    private: GlobPatterns,
    pub(super) negative: NegativeCache,
    /// Directories are cheap to ask again, and what is put there should show at once.
    remembers: bool,
    /// Held while the way is sought, so that it is sought once.
    pub(super) route: Mutex<Option<Chosen>>,
}

/// An entry of the chain.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) origin: Origin,
    pub(super) then: FallThrough,
}

/// Whom to ask there.
#[derive(Debug)]
pub(super) enum Origin {
    Http(Arc<HttpOrigin>),
    File(Arc<FileOrigin>),
    Direct,
    Off,
}

impl Origin {
    fn id(&self) -> Option<&OriginId> {
        match self {
            Self::Http(site) => Some(&site.id),
            Self::File(site) => Some(&site.id),
            Self::Direct | Self::Off => None,
        }
    }
}

impl Site {
    fn is_among(&self, origins: &[OriginId]) -> bool {
        self.origin.id().is_some_and(|id| origins.contains(id))
    }
}

impl Upstream {
    /// An upstream that asks the entries of `chain` over `clients`.
    pub fn new(
        chain: Chain,
        options: UpstreamOptions,
        clients: Clients,
        clock: Arc<dyn Clock>,
        metrics: UpstreamMetrics,
    ) -> Result<Self, ClientError> {
        let bodies = Bodies::new(options.limits.small_bytes);
        let wire = Wire { clients, clock, metrics, limits: options.limits, bodies };
        let sites = chain
            .entries()
            .iter()
            .enumerate()
            .map(|(index, entry)| {
                let mut later = chain.entries().iter().skip(index + 1);
                let is_last = later.all(|later| matches!(later.origin, OriginSpec::Off | OriginSpec::Direct));
                let index = u16::try_from(index).unwrap_or(u16::MAX);
                let origin = match &entry.origin {
                    OriginSpec::Proxy(url) => Origin::Http(Arc::new(HttpOrigin::new(index, url, &wire)?)),
                    OriginSpec::File(root) => Origin::File(Arc::new(FileOrigin::new(index, root, is_last))),
                    OriginSpec::Direct => Origin::Direct,
                    OriginSpec::Off => Origin::Off,
                };
                Ok(Site { origin, then: entry.then })
            })
            .collect::<Result<_, ClientError>>()?;
        let inner = Inner {
            shell: Arc::new(Shell::new(wire)),
            sites,
            private: options.private,
            negative: NegativeCache::new(),
            remembers: !chain.is_local(),
            chain,
            route: Mutex::new(None),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The chain as it was given.
    pub fn chain(&self) -> &Chain {
        &self.inner.chain
    }

    /// Whether `origin`, as [`OriginId`] shows it, is the last proxy or directory of the chain: what it does not have is asked of nobody
    /// but, perhaps, the host that its module path names.
    pub fn is_last(&self, origin: &str) -> bool {
        self.inner
            .sites
            .iter()
            .rev()
            .find_map(|site| site.origin.id())
            .is_some_and(|id| id.as_str() == origin)
    }

    /// Requests that may be out at one origin at a time.
    pub fn places(&self) -> usize {
        self.inner.shell.wire.limits.places
    }

    /// Fetches `.info`, `.mod`, a list, `@latest` or a query: whole, bounded, and believable as what it should be.
    pub async fn fetch_small(&self, request: &Request) -> Result<Fetched, FetchError> {
        self.fetch_small_elsewhere(request, &[]).await
    }

    /// The same, of another origin than those in `avoid` (which sent something wrong before): they are passed over,
    /// whatever stands after them.
    pub async fn fetch_small_elsewhere(
        &self,
        request: &Request,
        avoid: &[OriginId],
    ) -> Result<Fetched, FetchError> {
        if matches!(request, Request::Zip(_)) {
            return Err(FetchError::NotSmall);
        }
        self.inner.check_askable(request.module())?;
        let key = request.to_string();
        if avoid.is_empty() {
            self.inner.recall(&key)?;
        }
        let result = Box::pin(self.inner.walk_small(request, avoid)).await;
        if avoid.is_empty() || result.is_ok() {
            self.inner.remember(&key, &result);
        }
        if let Ok(fetched) = &result {
            self.inner.heard_of(request, &fetched.body);
        }
        result
    }

    /// There are these versions of a module, as an origin says that lists them: their files that were not found are asked for again.
    pub fn appeared<'a>(&self, module: &ModulePath, versions: impl Iterator<Item = &'a Version>) {
        self.inner.appeared(module, versions);
    }

    /// Fetches a zip: walks the chain until an origin has sent its first bytes. Origins in `avoid` (which sent something
    /// wrong before, or broke off) are passed over, whatever stands after them; [`ZipStream::then`] says whether the chain lets
    /// the others be asked for a zip that broke off.
    pub async fn fetch_zip(
        &self,
        version: &ModuleVersion,
        avoid: &[OriginId],
    ) -> Result<ZipStream, FetchError> {
        self.inner.check_askable(&version.module)?;
        let key = Request::Zip(version.clone()).to_string();
        if avoid.is_empty() {
            self.inner.recall(&key)?;
        }
        let result = Box::pin(self.inner.walk_zip(version, &key, avoid)).await;
        if avoid.is_empty() || result.is_ok() {
            self.inner.remember(&key, &result);
        }
        result
    }

    /// The zip of `version` that `origin` sent was refused, and why. For a minute whoever would ask that origin again is told
    /// so instead; those who avoid it ask the others.
    pub fn zip_was_refused(&self, version: &ModuleVersion, origin: &OriginId, why: &str) {
        if self.inner.remembers {
            let key = Request::Zip(version.clone()).to_string();
            let error = FetchError::Malformed {
                expected: "the right zip",
                detail: why.to_owned(),
                origin: origin.clone(),
            };
            self.inner.negative.refused(&key, error, self.inner.shell.wire.clock.monotonic());
        }
    }

    /// What zips of `version` were refused for was wrong: whoever sent them may be asked again.
    pub fn zip_may_be_right(&self, version: &ModuleVersion) {
        self.inner.negative.succeeded(&Request::Zip(version.clone()).to_string());
    }

    /// Fetches an answer of a checksum database, such as `lookup/…`: through the first upstream that offers the
    /// database, else from its own address; while that is in trouble, from a directory of the chain that has it.
    pub async fn fetch_sumdb(&self, source: &SumSource, path: &str) -> Result<Bytes, FetchError> {
        let key = format!("sumdb/{}/{path}", source.name);
        self.inner.recall(&key)?;
        let result = Box::pin(self.inner.sumdb(source, path, &key)).await;
        self.inner.remember(&key, &result);
        result
    }
}

impl Inner {
    /// Refuses what no origin is to be asked for, or need not: until version control can be asked there is nobody to ask about a private module.
    fn check_askable(&self, module: &ModulePath) -> Result<(), FetchError> {
        if self.private.matches(module) {
            Err(FetchError::DirectUnavailable)
        } else if module.is_above_repositories() {
            Err(FetchError::NoRepository)
        } else {
            Ok(())
        }
    }

    /// An `.info`, `@latest` or branch names a version, of which there are all files then.
    fn heard_of(&self, request: &Request, body: &Bytes) {
        let module = request.module();
        match request {
            Request::Info(_, Query::Version(version)) => self.appeared(module, std::iter::once(version)),
            Request::Info(_, Query::Revision(_)) | Request::Latest(_) => {
                if let Ok(info) = Info::parse(body.clone()) {
                    self.appeared(module, std::iter::once(info.version()));
                }
            }
            Request::List(_) | Request::Mod(_) | Request::Zip(_) => {}
        }
    }

    fn appeared<'a>(&self, module: &ModulePath, versions: impl Iterator<Item = &'a Version>) {
        if self.negative.is_empty() {
            return;
        }
        for version in versions {
            let of = ModuleVersion { module: module.clone(), version: version.clone() };
            let info = Request::Info(module.clone(), Query::Version(version.clone()));
            for request in [info, Request::Mod(of.clone()), Request::Zip(of)] {
                self.negative.appeared(&request.to_string());
            }
        }
    }

    pub(super) fn recall(&self, key: &str) -> Result<(), FetchError> {
        match self.negative.get(key, self.shell.wire.clock.monotonic()) {
            Some(error) => {
                self.shell.wire.metrics.negative_hit();
                Err(error)
            }
            None => Ok(()),
        }
    }

    pub(super) fn remember<T>(&self, key: &str, result: &Result<T, FetchError>) {
        match result {
            Ok(_) => self.negative.succeeded(key),
            Err(error) if self.remembers => {
                self.negative.failed(key, error, self.shell.wire.clock.monotonic());
            }
            Err(_) => {}
        }
    }

    async fn walk_small(&self, request: &Request, avoid: &[OriginId]) -> Result<Fetched, FetchError> {
        let mut walk = Walk::new();
        for site in &self.sites {
            let fetched = match &site.origin {
                _ if site.is_among(avoid) => Err(FetchError::NoOtherOrigin),
                Origin::Http(http) => self.shell.small(http, request).await,
                Origin::File(file) => {
                    let (origin, asked) = (Arc::clone(file), request.clone());
                    self.blocking(file, Kind::of(request), move || origin.small(&asked)).await
                }
                Origin::Direct => Err(FetchError::DirectUnavailable),
                Origin::Off => Err(FetchError::Off),
            };
            match fetched {
                Ok(body) => {
                    let origin =
                        site.origin.id().cloned().unwrap_or_else(|| OriginId::new(u16::MAX, "direct"));
                    return Ok(Fetched { body, origin });
                }
                Err(error) => {
                    if walk.failed(error.class(), error, site.then) == Step::Stop {
                        break;
                    }
                }
            }
        }
        Err(told(walk))
    }

    async fn walk_zip(
        &self,
        version: &ModuleVersion,
        path: &str,
        avoid: &[OriginId],
    ) -> Result<ZipStream, FetchError> {
        let mut walk = Walk::new();
        for site in &self.sites {
            let fetched = match &site.origin {
                _ if site.is_among(avoid) => Err(FetchError::NoOtherOrigin),
                Origin::Http(http) => {
                    self.shell.zip(http, path).await.map(|zip| ZipStream::http(zip, site.then))
                }
                Origin::File(file) => {
                    let (origin, asked) = (Arc::clone(file), version.clone());
                    let opened = self.blocking(file, Kind::Zip, move || origin.zip(&asked)).await;
                    opened.map(|zip| ZipStream::file(zip, file.id.clone(), site.then))
                }
                Origin::Direct => Err(FetchError::DirectUnavailable),
                Origin::Off => Err(FetchError::Off),
            };
            match fetched {
                Ok(zip) => return Ok(zip),
                Err(error) => {
                    if walk.failed(error.class(), error, site.then) == Step::Stop {
                        break;
                    }
                }
            }
        }
        Err(told(walk))
    }

    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        file: &FileOrigin,
        kind: Kind,
        work: impl FnOnce() -> Result<T, FetchError> + Send + 'static,
    ) -> Result<T, FetchError> {
        let result = match tokio::task::spawn_blocking(work).await {
            Ok(result) => result,
            Err(join) => Err(FetchError::Unavailable {
                origin: file.id.clone(),
                why: Unavailability::Directory,
                detail: String::new(),
                source: Some(Arc::new(join)),
            }),
        };
        self.shell.wire.metrics.finished(&file.id, kind, &result);
        result
    }
}

/// The error of a walk that ended without a file. An entry that could not be asked at all says nothing about the module,
/// so `direct` alone is told as absence, which lets the client's own next entry have its turn.
fn told(walk: Walk<FetchError>) -> FetchError {
    match walk.into_error() {
        None | Some(FetchError::DirectUnavailable) => FetchError::NotFound {
            gone: false,
            detail: FetchError::DirectUnavailable.to_string(),
            origin: OriginId::new(u16::MAX, "direct"),
        },
        Some(error) => error,
    }
}
