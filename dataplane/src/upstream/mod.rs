//! Fetching from upstream: a chain of proxies and directories in GOPROXY's syntax, walked with its rules.
//!
//! Owns everything between "this file is not here" and its bytes. Does not own what is stored, single flight among
//! callers, or whether the bytes are right (zip rules, h1, checksum database).
//!
//! | file | idea |
//! |---|---|
//! | `chain`, `walk` | the list as written; who is asked next and which error is told (pure) |
//! | `breaker`, `window` | leaving an origin alone; how its requests ended lately (pure) |
//! | `retry`, `rate`, `kind`, `text` | repeating, pace, believable content, error texts (pure) |
//! | `limit`, `bodies`, `negative`, `limits` | places at an origin; memory for small files; failures remembered; bounds |
//! | `redirect`, `inward` | which redirects are followed; how far inward an origin may lead |
//! | `client`, `exchange`, `fetch`, `zip` | an HTTP client for each origin; one request; one file; a zip that survives a broken connection |
//! | `failure` | what one request fails with |
//! | `file` | directories |
//! | `route` | which way to a checksum database |
//! | `fetcher` | the shell that joins them |

mod bodies;
pub mod breaker;
pub mod chain;
pub mod client;
pub mod error;
mod exchange;
mod failure;
mod fetch;
mod fetcher;
mod file;
mod inward;
pub mod kind;
pub mod limit;
pub mod limits;
pub mod metrics;
pub mod negative;
pub mod rate;
mod readable;
pub mod redirect;
pub mod retry;
mod route;
pub mod text;
pub mod walk;
pub mod window;
mod zip;

pub use chain::{Chain, ChainError, Entry, FallThrough, OriginSpec};
pub use client::{ClientError, Clients};
pub use error::{Cause, FetchError, OriginId, Phase, Unavailability};
pub use fetcher::{Fetched, Upstream, UpstreamOptions};
pub use limits::Limits;
pub use metrics::UpstreamMetrics;
pub use route::SumSource;
pub use zip::ZipStream;
