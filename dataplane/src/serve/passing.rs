//! Answers that may change: `@v/list`, `@latest`, and `.info` of a branch or commit.
//!
//! Fresh for a short time, then given once more while a newer one is fetched, and given without limit, marked
//! stale, while the origin fails. While it is merely slow, only a list that is minutes old is given instead. A version
//! once listed stays listed as long as its zip is held here: builds that worked go on working when a tag is deleted.

use std::sync::Arc;
use std::time::Duration;

use gomod::info::Info;
use gomod::{ModuleVersion, Query, Request};
use tracing::Instrument as _;

use super::error::ServeError;
use super::flights::Waiter;
use super::freshness::Freshness;
use super::meaning::Meaning;
use super::prepare;
use super::proxy::{Answer, Asker, Landed, Mode, Proxy, key};
use super::ready::{Lifetime, Ready};
use super::tag::{Cache, Kind};
use crate::client;
use crate::store::{CachedAnswer, Store, StoreError};

/// How long a request waits for a newer answer where there is one that is not too old.
const REFRESH_WAIT: Duration = Duration::from_secs(2);
/// The same where that is too old: longer than an origin that works takes.
const OLD_WAIT: Duration = Duration::from_secs(20);
/// Lifetimes after which an answer is too old, and how old it is then at least: whoever is given it writes it into a go.mod, and is
/// not told that there is a newer one.
const LIFETIMES_MAX: u32 = 10;
const OLD_AGE_MIN: Duration = Duration::from_mins(10);

impl Proxy {
    /// Answers a list, `@latest` or a query.
    pub(super) async fn passing(
        self: &Arc<Self>,
        request: Request,
        mode: Mode,
        asker: Asker,
    ) -> Result<Answer, ServeError> {
        let begin = |proxy: &Arc<Self>| {
            let lent = asker == Asker::Client && proxy.is_fetched_elsewhere(&request);
            if lent { proxy.begin_lent(&request) } else { proxy.begin_own_passing(&request) }
        };
        let is_private = self.is_private(request.module());
        let refused = match self.may_fetch(request.module(), &super::texts::name(&request), mode) {
            // Before anything that was heard of it when it was not private, which would hide what was published since.
            Err(refusal) if is_private => match self.private_passing(&request, asker, refusal).await {
                Err(refusal) => Err(refusal),
                Ok(answer) => return Ok(answer),
            },
            refused => refused,
        };
        let held = self.held_passing(&request).await?;
        if let Err(refusal) = refused {
            return match held {
                Some(ready) if is_private || asker != Asker::Client => Ok(self.as_held(ready)),
                Some(ready) => Ok(self.as_held(self.cut_to_held(&request, ready).await?.ok_or(refusal)?)),
                None if is_private => Err(refusal),
                None => self.unfetched(&request, asker, refusal).await,
            };
        }
        let now = self.monotonic();
        let freshness = held.as_ref().map_or(Freshness::Expired, |held| held.freshness(now));
        match (held, freshness) {
            (Some(ready), Freshness::Fresh) => Ok(Answer::Ready { ready, cache: Cache::Hit }),
            (Some(ready), Freshness::Resting) => Ok(Answer::Ready { ready, cache: Cache::Stale }),
            (Some(ready), Freshness::Revalidate) => {
                drop(begin(self));
                Ok(Answer::Ready { ready, cache: Cache::Stale })
            }
            (held, _) => {
                let waiter = begin(self).landed();
                let landed = match held.as_ref().and_then(|held| self.patience(&request, held)) {
                    // The flight goes on.
                    Some(patience) => tokio::time::timeout(patience, waiter).await.unwrap_or(None),
                    None => waiter.await,
                };
                match (landed, held) {
                    (Some(Ok((ready, cache))), _) => Ok(Answer::Ready { ready, cache }),
                    // The origin's word that there is no such module is final; any other failure is not.
                    (Some(Err(error)), _) if error.meaning().is_absence() => Err(error),
                    // With no origin to ask at all.
                    (Some(Err(error)), Some(ready))
                        if error.meaning() == Meaning::NotHeld && asker == Asker::Client && !is_private =>
                    {
                        Ok(self.as_held(self.cut_to_held(&request, ready).await?.ok_or(error)?))
                    }
                    (_, Some(ready)) => Ok(Answer::Ready { ready, cache: Cache::Stale }),
                    (Some(Err(error)), None) => self.instead(&request, asker, error).await,
                    (None, None) => Err(ServeError::Internal { what: "fetch a list".to_owned() }),
                }
            }
        }
    }

    /// How long a newer answer than `held` is waited for before that one is given; `None` for as long as it takes to come or to fail.
    fn patience(&self, request: &Request, held: &Ready) -> Option<Duration> {
        let Lifetime::Until(until) = &held.lifetime else { return None };
        let age_us = self.now_us().saturating_sub(until.fetched_us);
        patience(request, age_us, self.settings.list_lifetime)
    }

    /// What is held, as an answer.
    pub(super) fn as_held(&self, ready: Arc<Ready>) -> Answer {
        let is_fresh = ready.freshness(self.monotonic()) == Freshness::Fresh;
        Answer::Ready { ready, cache: if is_fresh { Cache::Hit } else { Cache::Stale } }
    }

    /// Where nothing is fetched and no answer is held: what another node holds, else what follows from what is held here; `refusal` where
    /// that is nothing. A node that asks would take what follows for what there is, and asks the others by itself.
    async fn unfetched(
        self: &Arc<Self>,
        request: &Request,
        asker: Asker,
        refusal: ServeError,
    ) -> Result<Answer, ServeError> {
        if asker != Asker::Client {
            return Err(refusal);
        }
        let ready = match self.lent_copy(request).await? {
            // Not of what is private, whose lists are made of what is held.
            Some((ready, _)) if self.is_private(request.module()) => ready,
            Some((ready, _)) => self.cut_to_held(request, ready).await?.ok_or(refusal)?,
            None => self.derived(request).await?.ok_or(refusal)?,
        };
        Ok(self.as_held(ready))
    }

    /// What stands in for an answer that fetching did not bring, where no older one is held.
    async fn instead(
        self: &Arc<Self>,
        request: &Request,
        asker: Asker,
        error: ServeError,
    ) -> Result<Answer, ServeError> {
        match error.meaning() {
            Meaning::NotHeld => self.unfetched(request, asker, error).await,
            // Where an origin fails, what another node holds.
            Meaning::Distrusted | Meaning::Trouble { .. } if asker == Asker::Client => {
                match self.lent_copy(request).await {
                    Ok(Some((ready, cache))) => Ok(Answer::Ready { ready, cache }),
                    Ok(None) | Err(_) => Err(error),
                }
            }
            Meaning::Absent
            | Meaning::Gone
            | Meaning::Forbidden
            | Meaning::Distrusted
            | Meaning::Trouble { .. }
            | Meaning::NotNow
            | Meaning::Failed
            | Meaning::NoRequest => Err(error),
        }
    }

    /// Joins or begins the flight for what this node asks the origins for.
    pub(super) fn begin_own_passing(self: &Arc<Self>, request: &Request) -> Waiter<Landed> {
        let proxy = Arc::clone(self);
        self.texts.join(request, |flight| {
            let span = self.fetch_span(request);
            let request = request.clone();
            let making = async move {
                let landed = Box::pin(proxy.make_passing(&request)).await;
                let failed = landed.as_ref().is_err_and(|error| !error.meaning().is_absence());
                if let (true, Some(held)) = (failed, proxy.layers.memory.ready(&key(&request))) {
                    let resting = prepare::resting(&held, proxy.monotonic());
                    proxy.layers.memory.put_ready(&key(&request), resting);
                }
                flight.land(landed);
            };
            client::spawn(making.instrument(span));
        })
    }

    async fn make_passing(self: &Arc<Self>, request: &Request) -> Landed {
        if let Some(ready) = self.layers.memory.ready(&key(request))
            && ready.freshness(self.monotonic()) == Freshness::Fresh
        {
            return Ok((ready, Cache::Hit));
        }
        let body = match request {
            Request::List(module) => self.fetch_list(request, module).await?,
            Request::Latest(module) => self.fetch_latest(request, module).await?,
            Request::Info(module, _) => {
                let body = self.fetch(request).await?.body;
                if let Ok(info) = Info::parse(body.clone()) {
                    let version = ModuleVersion { module: module.clone(), version: info.version().clone() };
                    self.begin_rest(&version);
                }
                body
            }
            Request::Mod(_) | Request::Zip(_) => {
                return Err(ServeError::Internal { what: format!("{request} does not change") });
            }
        };
        let answer = CachedAnswer { body, fetched_us: self.now_us(), status: 200 };
        self.store_passing(request, &answer).await;
        Ok((self.remember_passing(request, &answer), Cache::Miss))
    }

    /// Stores an answer for worse times. A disk that is full must not keep lists from being fresh.
    pub(super) async fn store_passing(&self, request: &Request, answer: &CachedAnswer) {
        let (stored, wanted) = (answer.clone(), request.clone());
        if let Err(error) =
            self.with_store("store a list", move |store| put_answer(store, &wanted, &stored)).await
        {
            tracing::debug!(%error, "list not stored");
        }
    }

    pub(super) async fn held_passing(&self, request: &Request) -> Result<Option<Arc<Ready>>, ServeError> {
        if let Some(ready) = self.layers.memory.ready(&key(request)) {
            return Ok(Some(ready));
        }
        let (wanted, private) = (request.clone(), self.settings.private.clone());
        let answer = self
            .with_store("read a list", move |store| match answer_of(store, &wanted) {
                // What does not verify counts as not held; the next answer overwrites it.
                Err(error @ StoreError::Corrupt { .. }) => {
                    let shown = private.shown(wanted.module(), &wanted);
                    tracing::error!(request = %shown, %error, "a stored list does not verify");
                    Ok(None)
                }
                other => other,
            })
            .await?;
        Ok(answer.map(|answer| self.remember_passing(request, &answer)))
    }

    pub(super) fn remember_passing(&self, request: &Request, answer: &CachedAnswer) -> Arc<Ready> {
        let lifetime = self.settings.list_lifetime;
        let private = self.is_private(request.module());
        let ready =
            prepare::passing(kind(request), answer, self.monotonic(), self.now_us(), lifetime, private);
        self.layers.memory.put_ready(&key(request), Arc::clone(&ready));
        ready
    }
}

/// See [`Proxy::patience`]. Who asks for a branch or a commit means what it is now.
fn patience(request: &Request, age_us: i64, lifetime: Duration) -> Option<Duration> {
    // A negative age, of a clock that was put back, is none that is known.
    let age = Duration::from_micros(u64::try_from(age_us).ok()?);
    let is_old = age > lifetime.saturating_mul(LIFETIMES_MAX).max(OLD_AGE_MIN);
    match request {
        Request::Info(..) => None,
        Request::List(_) | Request::Latest(_) | Request::Mod(_) | Request::Zip(_) if is_old => Some(OLD_WAIT),
        Request::List(_) | Request::Latest(_) | Request::Mod(_) | Request::Zip(_) => Some(REFRESH_WAIT),
    }
}

fn answer_of(store: &Store, request: &Request) -> Result<Option<CachedAnswer>, StoreError> {
    match request {
        Request::List(module) => store.list(module),
        Request::Latest(module) => store.latest(module),
        Request::Info(module, query) => store.query(module, query.as_str()),
        Request::Mod(_) | Request::Zip(_) => Ok(None),
    }
}

fn put_answer(store: &Store, request: &Request, answer: &CachedAnswer) -> Result<(), StoreError> {
    match request {
        Request::List(module) => store.put_list(module, answer),
        Request::Latest(module) => store.put_latest(module, answer),
        Request::Info(module, query) => store.put_query(module, query.as_str(), answer),
        Request::Mod(_) | Request::Zip(_) => Ok(()),
    }
}

pub(super) fn kind(request: &Request) -> Kind {
    match request {
        Request::List(_) => Kind::List,
        Request::Latest(_) => Kind::Latest,
        Request::Info(_, Query::Version(_) | Query::Revision(_)) => Kind::Info,
        Request::Mod(_) => Kind::Mod,
        Request::Zip(_) => Kind::Zip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_minutes_old_is_given_because_an_origin_is_slow() {
        let wait = |path: &str, age_s: i64, lifetime: Duration| {
            patience(&Request::parse(path).unwrap(), age_s * 1_000_000, lifetime)
        };
        let minute = Duration::from_mins(1);
        for path in ["a.b/c/@v/list", "a.b/c/@latest"] {
            assert_eq!(wait(path, 600, minute), Some(REFRESH_WAIT), "{path}");
            assert_eq!(wait(path, 601, minute), Some(OLD_WAIT), "{path}");
            assert_eq!(wait(path, 601, Duration::from_secs(1)), Some(OLD_WAIT), "{path}");
            assert_eq!(wait(path, 3000, 5 * minute), Some(REFRESH_WAIT), "{path}");
            assert_eq!(wait(path, -1, minute), None, "{path}");
        }
        assert_eq!(wait("a.b/c/@v/main.info", 130, minute), None);
        assert_eq!(wait("a.b/c/@v/list", i64::MAX / 2_000_000, Duration::MAX), Some(REFRESH_WAIT));
    }
}
