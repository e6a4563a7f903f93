//! Owns the way to a checksum database: through the first upstream that offers it, else from its own address.
//!
//! The choice is the go command's (golang.org/design/25530-sumdb#proxying-a-checksum-database): `supported` answered
//! with 200 settles it, "not found" asks the next entry, and `direct`, `off` or the end of the chain mean the database's own
//! address. Invariant: once an upstream offers it the database itself is not asked.

use std::sync::Arc;
use std::time::{Duration, Instant};

use url::Url;

use super::exchange::HttpOrigin;
use super::file::FileOrigin;

/// How long a choice stands; an upstream that learns to offer the database is noticed after this time.
pub(super) const ROUTE_LIFETIME: Duration = Duration::from_mins(10);

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
