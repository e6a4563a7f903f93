//! Whether the checksum database must vouch for a version, and what it says of it.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gomod::{H1, ModulePath, ModuleVersion};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tracing::Instrument as _;

use super::convert::from_sumdb;
use super::error::ServeError;
use super::proxy::Proxy;
use crate::client;
use crate::private::Private;
use crate::store::{Unvouched, Verified};
use crate::sumdb::{SumDb, SumDbError, SumHashes};

/// What to do with new content while the checksum database cannot be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenUnavailable {
    /// Refuse it until the database answers.
    #[default]
    Refuse,
    /// Serve it, and record that nobody vouched for it.
    Serve,
}

/// See the head of this file.
pub struct Checks {
    sumdb: Option<Arc<SumDb>>,
    when_unavailable: WhenUnavailable,
    private: Private,
    /// Whether something was stored that the database could not vouch for, since it was last asked with success.
    owes: AtomicBool,
    back: Notify,
}

/// The hashes that a version's content must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// What the checksum database lists. A part that it does not list is refused.
    Listed {
        /// Of the zip.
        zip: Option<H1>,
        /// Of the go.mod file.
        go_mod: Option<H1>,
    },
    /// Nobody says: the module is exempt, the database is off, or it cannot be asked and that is permitted.
    Anything,
}

/// Which of a version's files is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The zip.
    Zip,
    /// The go.mod file.
    GoMod,
}

impl Checks {
    /// Checks against `sumdb`, except for modules that it is not asked about. The log does not name those that are `private`.
    pub fn new(sumdb: Option<Arc<SumDb>>, when_unavailable: WhenUnavailable, private: Private) -> Self {
        Self { sumdb, when_unavailable, private, owes: AtomicBool::new(false), back: Notify::new() }
    }

    /// The database that is proxied to clients.
    pub fn sumdb(&self) -> Option<&Arc<SumDb>> {
        self.sumdb.as_ref()
    }

    /// Whether anybody vouches for the versions of `module`.
    pub fn asks_about(&self, module: &ModulePath) -> bool {
        self.sumdb.as_ref().is_some_and(|sumdb| sumdb.covers(module))
    }

    /// What the content of `version` must hash to.
    pub async fn expected(&self, version: &ModuleVersion) -> Result<Expected, ServeError> {
        match self.listed(version).await {
            Ok(listed) => {
                if self.owes.load(Ordering::Relaxed) && self.owes.swap(false, Ordering::Relaxed) {
                    self.back.notify_one();
                }
                Ok(listed)
            }
            // Nobody who asks for much has what he asks for go unchecked.
            Err(error)
                if self.when_unavailable == WhenUnavailable::Serve
                    && error.is_outage()
                    && !error.is_own_limit() =>
            {
                let shown = |what| self.private.shown(&version.module, what);
                tracing::warn!(version = %shown(version), error = %shown(&error), "serving content that the checksum database could not vouch for");
                Ok(Expected::Anything)
            }
            // An origin has it, so "no such thing" would be wrong: nobody vouches for it.
            Err(error @ SumDbError::NotFound { .. }) => Err(ServeError::Refused {
                what: version.to_string().into(),
                why: error.to_string(),
                next: Cow::Borrowed(
                    "if it is not a public module, add its prefix to --no-sumdb here and to GONOSUMDB in your environment",
                ),
            }),
            Err(error) => Err(from_sumdb(&version.to_string(), &error)),
        }
    }

    /// What the database lists of `version`, whatever the settings say is to be done while it cannot be asked.
    pub(super) async fn listed(&self, version: &ModuleVersion) -> Result<Expected, SumDbError> {
        match self.covering(version) {
            Some(sumdb) => sumdb.hashes(version).await.map(Expected::of),
            None => Ok(Expected::Anything),
        }
    }

    /// The same of what is known here, for content of which another node says that nobody vouched for it: what it has may have been
    /// found out since to be wrong.
    pub(super) async fn known(&self, version: &ModuleVersion) -> Expected {
        let Some(sumdb) = self.covering(version) else { return Expected::Anything };
        match sumdb.held_hashes(version).await {
            Ok(hashes) => hashes.map_or(Expected::Anything, Expected::of),
            Err(error) => {
                tracing::debug!(%error, "what the checksum database said of a version cannot be read");
                Expected::Anything
            }
        }
    }

    fn covering(&self, version: &ModuleVersion) -> Option<&Arc<SumDb>> {
        self.sumdb.as_ref().filter(|sumdb| sumdb.covers(&version.module))
    }

    /// Content of `version` was stored: unless somebody vouches for it the database is to be asked, when it answers again.
    pub(super) fn stored(&self, version: &ModuleVersion, verified: Verified) {
        if verified == Verified::Unchecked && self.asks_about(&version.module) {
            self.owes.store(true, Ordering::Relaxed);
        }
    }

    /// Waits until the database answers after something was stored that it could not vouch for.
    pub(super) async fn is_back(&self) {
        self.back.notified().await;
    }
}

impl Expected {
    fn of(hashes: SumHashes) -> Self {
        Self::Listed { zip: hashes.zip, go_mod: hashes.go_mod }
    }

    /// Why what a version is bound to is not what is listed.
    pub(super) fn contradiction(&self, bound: &Unvouched) -> Option<ServeError> {
        let check = |part, h1: Option<H1>| self.check(&bound.version, part, &h1?).err();
        check(Part::Zip, bound.zip_h1).or_else(|| check(Part::GoMod, bound.go_mod_h1))
    }

    /// Compares `found`, and says who vouches for it.
    pub fn check(&self, version: &ModuleVersion, part: Part, found: &H1) -> Result<Verified, ServeError> {
        let (listed, name) = match (self, part) {
            (Expected::Anything, _) => return Ok(Verified::Unchecked),
            (Expected::Listed { zip, .. }, Part::Zip) => (zip, "zip"),
            (Expected::Listed { go_mod, .. }, Part::GoMod) => (go_mod, "go.mod"),
        };
        match listed {
            Some(listed) if listed == found => Ok(Verified::ChecksumDatabase),
            Some(listed) => {
                Err(mismatch(version, format!("its {name} is {found}, the checksum database has {listed}")))
            }
            None => Err(mismatch(version, format!("the checksum database has no hash of its {name}"))),
        }
    }
}

/// The expected hashes: asked for at once, waited for when they are needed.
pub(super) enum Asked {
    Asking(JoinHandle<Result<Expected, ServeError>>),
    Known(Result<Expected, ServeError>),
}

impl Asked {
    /// Asks what the content of `version` must hash to.
    pub(super) fn begin(proxy: &Arc<Proxy>, version: &ModuleVersion) -> Self {
        if !proxy.layers.checks.asks_about(&version.module) {
            return Self::Known(Ok(Expected::Anything));
        }
        let (proxy, version) = (Arc::clone(proxy), version.clone());
        let asking = async move { proxy.layers.checks.expected(&version).await };
        Self::Asking(client::spawn(asking.in_current_span()))
    }

    /// Does `work`, unless it becomes known before its end that there is nothing to compare it with.
    pub(super) async fn beside<T>(&mut self, work: impl Future<Output = T>) -> Result<T, ServeError> {
        tokio::pin!(work);
        while let Self::Asking(_) = self {
            tokio::select! {
                // What is known already is heeded before any more work is done.
                biased;
                known = self.get() => known.map(drop)?,
                done = &mut work => return Ok(done),
            }
        }
        self.get().await?;
        Ok(work.await)
    }

    /// The answer.
    pub(super) async fn get(&mut self) -> Result<Expected, ServeError> {
        if let Self::Asking(task) = self {
            let known = task.await.unwrap_or_else(|_| Err(died()));
            *self = Self::Known(known);
        }
        match self {
            Self::Known(known) => known.clone(),
            Self::Asking(_) => Err(died()),
        }
    }
}

fn died() -> ServeError {
    ServeError::Internal { what: "ask the checksum database".to_owned() }
}

fn mismatch(version: &ModuleVersion, why: String) -> ServeError {
    ServeError::BadContent { what: version.to_string().into(), why }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sumdb::{Fetching, MemorySumStore, SumDbMetrics, SumDbOptions, SumSpec, SumTransport};
    use crate::upstream::{FetchError, OriginId, Phase, SumSource};
    use gomod::Version;

    fn version() -> ModuleVersion {
        ModuleVersion::new(ModulePath::parse("a.example/m").unwrap(), Version::parse("v1.0.0").unwrap())
            .unwrap()
    }

    #[tokio::test]
    async fn work_ends_as_soon_as_it_is_known_to_be_in_vain() {
        let failing = || async { Err(died()) };
        let mut asked = Asked::Asking(tokio::spawn(failing()));
        assert!(asked.beside(std::future::pending::<()>()).await.is_err());
        assert!(asked.beside(std::future::ready(1)).await.is_err(), "it stays known");
        let mut asked = Asked::Asking(tokio::spawn(async { Ok(Expected::Anything) }));
        assert_eq!(asked.beside(tokio::task::yield_now()).await.unwrap(), ());
        assert_eq!(asked.beside(std::future::ready(1)).await.unwrap(), 1);
        assert_eq!(asked.get().await.unwrap(), Expected::Anything);
        let mut asked = Asked::Asking(tokio::spawn(std::future::pending()));
        assert_eq!(asked.beside(std::future::ready(1)).await.unwrap(), 1, "work does not wait");
    }

    /// A database that cannot be asked, since it takes too long in this phase.
    #[derive(Debug)]
    struct Silent(Phase);

    impl SumTransport for Silent {
        fn fetch<'a>(&'a self, _: &'a SumSource, _: &'a str) -> Fetching<'a> {
            let error = FetchError::Timeout { phase: self.0, origin: OriginId::new(0, "a") };
            Box::pin(std::future::ready(Err(error)))
        }
    }

    #[tokio::test]
    async fn a_full_queue_of_this_server_is_no_outage_of_the_database() {
        let expected = async |phase| {
            let SumSpec::Database(database) = "sum.golang.org".parse().unwrap() else { panic!("off") };
            let store: Arc<MemorySumStore> = Arc::default();
            let clock = Arc::new(common::clock::SystemClock);
            let (options, metrics) = (SumDbOptions::default(), SumDbMetrics::default());
            let sumdb =
                SumDb::open(&database, options, Arc::new(Silent(phase)), store, clock, metrics).unwrap();
            let checks = Checks::new(Some(Arc::new(sumdb)), WhenUnavailable::Serve, Private::default());
            checks.expected(&version()).await
        };
        assert_eq!(expected(Phase::Head).await.unwrap(), Expected::Anything);
        assert!(matches!(expected(Phase::Queue).await, Err(ServeError::Unavailable { .. })));
    }

    #[test]
    fn each_part_that_is_bound_has_to_be_the_listed_one() {
        let h1 = |byte| Some(H1::from_bytes([byte; 32]));
        let expected = Expected::Listed { zip: h1(1), go_mod: h1(2) };
        let contradicted = |zip_h1, go_mod_h1| {
            expected.contradiction(&Unvouched { version: version(), zip_h1, go_mod_h1 }).is_some()
        };
        assert!(!contradicted(h1(1), h1(2)) && !contradicted(None, h1(2)) && !contradicted(h1(1), None));
        assert!(contradicted(h1(3), h1(2)) && contradicted(h1(1), h1(3)) && contradicted(None, h1(1)));
    }

    #[test]
    fn only_the_listed_hash_passes() {
        let (good, bad) = (H1::from_bytes([1; 32]), H1::from_bytes([2; 32]));
        let expected = Expected::Listed { zip: Some(good), go_mod: None };
        assert_eq!(expected.check(&version(), Part::Zip, &good).unwrap(), Verified::ChecksumDatabase);
        assert!(expected.check(&version(), Part::Zip, &bad).is_err());
        assert!(expected.check(&version(), Part::GoMod, &good).is_err());
        assert_eq!(Expected::Anything.check(&version(), Part::GoMod, &bad).unwrap(), Verified::Unchecked);
    }
}
