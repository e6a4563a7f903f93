//! The checksum database as clients see it below `/sumdb/` (protocol.md 3.7).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::time::Duration;

use http::HeaderValue;
use sha2::{Digest as _, Sha256};

use super::convert::from_sumdb;
use super::error::ServeError;
use super::proxy::{Answer, Mode, Proxy};
use super::ready::{Content, Etag, Lifetime, OwnHeaders, Ready};
use super::tag::{Cache, Kind};
use crate::sumdb::Reach;

/// Answers with at least this lifetime never change.
const IMMUTABLE: Duration = Duration::from_hours(24);

/// Answers `path`, which begins with the database's name.
pub(super) async fn answer(proxy: &Proxy, path: &str, mode: Mode) -> Result<Answer, ServeError> {
    let Some(sumdb) = proxy.layers.checks.sumdb() else {
        return Err(ServeError::NotFound {
            what: "checksum database".into(),
            why: "this proxy does not proxy one".to_owned(),
        });
    };
    let reach = match mode {
        Mode::Fetch => Reach::Database,
        Mode::CachedOnly => Reach::Held,
    };
    let served = sumdb.serve(path, reach).await.map_err(|error| from_sumdb(path, &error))?;
    let sum: [u8; 32] = Sha256::digest(&served.body).into();
    let max_age = format!("public, max-age={}", served.cache_lifetime.as_secs());
    let cache_control =
        HeaderValue::try_from(max_age).unwrap_or_else(|_| HeaderValue::from_static("no-cache"));
    let lifetime = if served.cache_lifetime >= IMMUTABLE {
        Lifetime::Immutable
    } else {
        let fresh_until = proxy.monotonic() + served.reuse;
        Lifetime::until(fresh_until, proxy.now_us())
    };
    let ready = Arc::new(Ready {
        kind: Kind::Sumdb,
        content: Content::inline(served.body),
        etag: Etag::of(&sum),
        lifetime,
        headers: Some(Box::new(OwnHeaders { content_type: served.content_type, cache_control })),
        private: false,
        version: None,
        told_hour: AtomicU32::new(0),
        is_unused: AtomicBool::new(false),
    });
    if served.reuse.is_zero() {
        return Ok(Answer::Ready { ready, cache: Cache::None });
    }
    // Only a canonical path is answered at all, so this is the key that the next request looks under.
    proxy.layers.memory.put_ready(&format!("/sumdb/{path}"), Arc::clone(&ready));
    Ok(Answer::Ready { ready, cache: if served.fetched { Cache::Miss } else { Cache::Hit } })
}
