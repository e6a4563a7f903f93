//! Owns the way to a checksum database: through the first upstream that offers it, else from its own address.
//!
//! The choice is the go command's (golang.org/design/25530-sumdb#proxying-a-checksum-database): `supported` answered
//! with 200, or there as a file, settles it, "not found" asks the next entry, and `direct`, `off` or the end of the chain mean
//! the database's own address. Invariant: once an upstream offers it the database itself is not asked.
//!
//! Beyond what the go command does: a copy of a module cache holds answers and no `supported`. In a chain without a proxy it is
//! taken for the database, so that it serves with no network at all. In any other it would have to answer for modules that it
//! does not hold, so it is asked only for what cannot be had because whoever is asked first is in trouble. That is safe:
//! nothing is believed but what is signed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use url::Url;

use super::error::{FetchError, OriginId, Unavailability};
use super::exchange::HttpOrigin;
use super::fetcher::{Inner, Origin};
use super::file::FileOrigin;
use super::kind::Kind;
use super::walk::{Class, Step, Walk};
use crate::client;

/// How long a choice stands; an upstream that learns to offer the database is noticed after this time.
const ROUTE_LIFETIME: Duration = Duration::from_mins(10);

/// A checksum database by name and address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SumSource {
    /// As in its signatures and in `/sumdb/<name>/`.
    pub name: String,
    /// Where it is asked if no upstream offers it.
    pub url: Url,
}

/// Whom to ask.
#[derive(Debug, Clone)]
pub(super) enum Route {
    /// An upstream, below `sumdb/<name>/`.
    Proxy(Arc<HttpOrigin>),
    /// A directory, below `sumdb/<name>/`.
    File(Arc<FileOrigin>),
    /// The database itself.
    Own(Arc<HttpOrigin>),
}

/// A choice that was made.
#[derive(Debug)]
pub(super) struct Chosen {
    pub(super) source: SumSource,
    pub(super) route: Route,
    pub(super) until: Instant,
}

impl Inner {
    /// An answer of the database `source`: `path` as the database has it, `key` as an upstream does.
    pub(super) async fn sumdb(&self, source: &SumSource, path: &str, key: &str) -> Result<Bytes, FetchError> {
        let asked = match self.route(source).await {
            Ok(Route::Proxy(site)) => self.shell.plain(&site, key).await,
            Ok(Route::Own(site)) => self.shell.plain(&site, path).await,
            Ok(Route::File(file)) => self.sumdb_file(&file, source, path).await,
            Err(error) => Err(error),
        };
        let error = match asked {
            Err(error) if error.class() == Class::Other => error,
            other => return other,
        };
        let Some(held) = self.held(source, path).await else { return Err(error) };
        tracing::debug!(database = %source.name, %error, "a directory's copy stands in for the checksum database");
        Ok(held)
    }

    async fn route(&self, source: &SumSource) -> Result<Route, FetchError> {
        let mut chosen = self.route.lock().await;
        let now = self.shell.wire.clock.monotonic();
        if let Some(chosen) = chosen.as_ref().filter(|chosen| chosen.source == *source && now < chosen.until)
        {
            return Ok(chosen.route.clone());
        }
        // Those who waited for the lock meanwhile are told the same instead of trying one after the other. It is found for all of them, so
        // that nobody's own queue is what they wait for.
        let key = format!("sumdb/{}/supported", source.name);
        self.recall(&key)?;
        let found = client::for_nobody(self.find_route(source, &key)).await;
        self.remember(&key, &found);
        if let Err(error) = &found
            && error.is_own_limit()
        {
            self.negative.in_vain(&key, error.clone(), self.shell.wire.clock.monotonic());
        }
        let route = found?;
        tracing::debug!(database = %source.name, ?route, "chose the way to the checksum database");
        let until = self.shell.wire.clock.monotonic() + ROUTE_LIFETIME;
        *chosen = Some(Chosen { source: source.clone(), route: route.clone(), until });
        Ok(route)
    }

    async fn find_route(&self, source: &SumSource, path: &str) -> Result<Route, FetchError> {
        let mut walk = Walk::new();
        for site in &self.sites {
            let failed = match &site.origin {
                Origin::Http(http) => match self.shell.plain(http, path).await {
                    Ok(_) => return Ok(Route::Proxy(Arc::clone(http))),
                    Err(error) => error,
                },
                Origin::File(file) => {
                    let (origin, name) = (Arc::clone(file), source.name.clone());
                    if self.blocking(file, Kind::Sumdb, move || Ok(origin.offers_sumdb(&name))).await? {
                        return Ok(Route::File(Arc::clone(file)));
                    }
                    FetchError::NotFound { gone: false, detail: String::new(), origin: file.id.clone() }
                }
                Origin::Direct | Origin::Off => break,
            };
            if walk.failed(failed.class(), failed, site.then) == Step::Stop {
                break;
            }
        }
        if let Some(error) = walk.into_error().filter(|error| error.class() != Class::NotFound) {
            return Err(error);
        }
        if let Some(file) = self.only_copy(source).await? {
            return Ok(Route::File(file));
        }
        match HttpOrigin::new(u16::MAX, &source.url, &self.shell.wire) {
            Ok(own) => Ok(Route::Own(Arc::new(own))),
            Err(error) => Err(FetchError::Unavailable {
                origin: OriginId::new(u16::MAX, &source.name),
                why: Unavailability::Connect,
                detail: String::new(),
                source: Some(Arc::new(error)),
            }),
        }
    }

    /// The first directory that holds answers of the database, if the chain has no proxy.
    async fn only_copy(&self, source: &SumSource) -> Result<Option<Arc<FileOrigin>>, FetchError> {
        if self.sites.iter().any(|site| matches!(site.origin, Origin::Http(_))) {
            return Ok(None);
        }
        for site in &self.sites {
            let Origin::File(file) = &site.origin else { continue };
            let (origin, name) = (Arc::clone(file), source.name.clone());
            if self.blocking(file, Kind::Sumdb, move || Ok(origin.has_sumdb(&name))).await? {
                return Ok(Some(Arc::clone(file)));
            }
        }
        Ok(None)
    }

    /// The answer as the first directory has it that does.
    async fn held(&self, source: &SumSource, path: &str) -> Option<Bytes> {
        for site in &self.sites {
            let Origin::File(file) = &site.origin else { continue };
            if let Ok(held) = self.sumdb_file(file, source, path).await {
                return Some(held);
            }
        }
        None
    }

    async fn sumdb_file(
        &self,
        file: &Arc<FileOrigin>,
        source: &SumSource,
        path: &str,
    ) -> Result<Bytes, FetchError> {
        let (origin, name, asked) = (Arc::clone(file), source.name.clone(), path.to_owned());
        self.blocking(file, Kind::Sumdb, move || origin.sumdb(&name, &asked)).await
    }
}
