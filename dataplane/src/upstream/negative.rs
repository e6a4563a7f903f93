//! Owns the brief memory of fetches that failed, so that a crowd asking for what is not there asks the origin once, and of
//! what came and was refused.
//!
//! Invariants: bounded in bytes; nothing is remembered longer than a minute; trouble is remembered only long enough to
//! coalesce a crowd, and never turns into "not found".

use std::time::{Duration, Instant};

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::error::{FetchError, Phase, Unavailability};

/// How long a file, list, `@latest` or branch is believed not to exist. Caches in front are told to believe it for as long again.
const NOT_FOUND: Duration = Duration::from_secs(30);
/// How long it is believed that a file which was refused when it had come would be refused again. It may have hundreds of
/// megabytes, and each who asks would have all of them sent.
const REFUSED: Duration = Duration::from_mins(1);
/// How long any other failure is repeated to those who ask for the same.
const TROUBLE: Duration = Duration::from_secs(2);
/// Memory for remembered failures, in bytes.
const BYTES_MAX: u64 = 4 << 20;
/// What an entry takes beside its texts, roughly, in bytes.
const ENTRY_BYTES: u64 = 200;

/// Remembers failures by canonical request path.
#[derive(Debug)]
pub struct NegativeCache {
    cache: Cache<Box<str>, Remembered, ByBytes>,
}

#[derive(Debug, Clone)]
struct Remembered {
    error: FetchError,
    until: Instant,
}

#[derive(Debug, Clone)]
struct ByBytes;

impl Weighter<Box<str>, Remembered> for ByBytes {
    fn weight(&self, key: &Box<str>, value: &Remembered) -> u64 {
        ENTRY_BYTES + key.len() as u64 + value.error.to_string().len() as u64
    }
}

impl NegativeCache {
    /// An empty memory.
    pub fn new() -> Self {
        Self { cache: Cache::with_weighter((BYTES_MAX / (2 * ENTRY_BYTES)) as usize, BYTES_MAX, ByBytes) }
    }

    /// The failure to repeat for `key`, if it is still fresh.
    pub fn get(&self, key: &str, now: Instant) -> Option<FetchError> {
        let remembered = self.cache.get(key)?;
        (now < remembered.until).then_some(remembered.error)
    }

    /// Remembers that fetching `key` failed.
    pub fn failed(&self, key: &str, error: &FetchError, now: Instant) {
        let lifetime = match error {
            FetchError::NotFound { .. } => NOT_FOUND,
            // Answered without asking anybody, so there is nothing to save; and where whoever asked found no place, others may have one.
            FetchError::Off
            | FetchError::DirectUnavailable
            | FetchError::NoOtherOrigin
            | FetchError::NoRepository
            | FetchError::NotSmall
            | FetchError::Timeout { phase: Phase::Queue, .. }
            | FetchError::Unavailable { why: Unavailability::QueueFull, .. } => return,
            FetchError::Refused { .. }
            | FetchError::RateLimited { .. }
            | FetchError::Unavailable { .. }
            | FetchError::Timeout { .. }
            | FetchError::TooLarge { .. }
            | FetchError::Malformed { .. }
            | FetchError::Changed { .. }
            | FetchError::BadRedirect { .. } => TROUBLE,
        };
        self.cache.insert(key.into(), Remembered { error: error.clone(), until: now + lifetime });
    }

    /// Remembers for a moment that `key` cannot be had now, whatever the reason, where those who ask would have to wait one after the other.
    pub fn in_vain(&self, key: &str, error: FetchError, now: Instant) {
        self.cache.insert(key.into(), Remembered { error, until: now + TROUBLE });
    }

    /// Remembers that what came for `key` was refused.
    pub fn refused(&self, key: &str, error: FetchError, now: Instant) {
        self.cache.insert(key.into(), Remembered { error, until: now + REFUSED });
    }

    /// Forgets that `key` was not found, because something names it now. Trouble, and what was refused, are another matter.
    pub fn appeared(&self, key: &str) {
        if self.cache.get(key).is_some_and(|known| matches!(known.error, FetchError::NotFound { .. })) {
            self.cache.remove(key);
        }
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.cache.is_empty()
    }

    /// Forgets `key`, because it was had after all.
    pub fn succeeded(&self, key: &str) {
        if !self.cache.is_empty() {
            self.cache.remove(key);
        }
    }
}

impl Default for NegativeCache {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::super::error::{OriginId, Phase};
    use super::*;

    fn not_found() -> FetchError {
        FetchError::NotFound { gone: false, detail: String::new(), origin: OriginId::new(0, "a") }
    }

    #[test]
    fn absence_lasts_longer_than_trouble_and_both_end() {
        let cache = NegativeCache::new();
        let now = Instant::now();
        cache.failed("m/@v/list", &not_found(), now);
        let slow = FetchError::Timeout { phase: Phase::Head, origin: OriginId::new(0, "a") };
        cache.failed("m/@latest", &slow, now);
        let held = |key, after| cache.get(key, now + Duration::from_secs(after)).is_some();
        assert!(held("m/@v/list", 29) && !held("m/@v/list", 30));
        assert!(held("m/@latest", 1) && !held("m/@latest", 2));
        assert!(matches!(cache.get("m/@latest", now), Some(FetchError::Timeout { .. })));
    }

    #[test]
    fn what_was_refused_is_refused_for_a_minute() {
        let cache = NegativeCache::new();
        let now = Instant::now();
        let error = FetchError::Changed { origin: OriginId::new(0, "a") };
        cache.refused("m/@v/v1.0.0.zip", error, now);
        let held = |after| cache.get("m/@v/v1.0.0.zip", now + Duration::from_secs(after)).is_some();
        assert!(held(59) && !held(60));
        cache.succeeded("m/@v/v1.0.0.zip");
        assert!(!held(0));
    }

    #[test]
    fn what_is_named_is_no_longer_missing_but_trouble_stays() {
        let cache = NegativeCache::new();
        let now = Instant::now();
        let slow = FetchError::Timeout { phase: Phase::Head, origin: OriginId::new(0, "a") };
        cache.failed("m/@v/v1.0.0.mod", &not_found(), now);
        cache.failed("m/@v/v1.0.0.zip", &slow, now);
        for key in ["m/@v/v1.0.0.mod", "m/@v/v1.0.0.zip", "m/@v/v1.0.0.info"] {
            cache.appeared(key);
        }
        assert!(cache.get("m/@v/v1.0.0.mod", now).is_none() && cache.get("m/@v/v1.0.0.zip", now).is_some());
    }

    #[test]
    fn success_clears_its_own_key_only() {
        let cache = NegativeCache::new();
        let now = Instant::now();
        cache.failed("a", &not_found(), now);
        cache.failed("b", &not_found(), now);
        cache.succeeded("a");
        assert!(cache.get("a", now).is_none() && cache.get("b", now).is_some());
    }

    #[test]
    fn a_scan_does_not_grow_it_without_bound() {
        let cache = NegativeCache::new();
        let now = Instant::now();
        for number in 0..100_000 {
            cache.failed(&format!("example.com/module/{number}/@v/list"), &not_found(), now);
        }
        assert!(cache.cache.weight() <= BYTES_MAX);
        assert!(cache.cache.len() > 1_000, "and still remembers something");
    }
}
