//! How the database's answers come here: from whoever offers them, unverified.

use std::fmt::Debug;
use std::pin::Pin;

use bytes::Bytes;

use crate::upstream::{FetchError, SumSource, Upstream};

/// An answer that is on its way.
pub type Fetching<'a> = Pin<Box<dyn Future<Output = Result<Bytes, FetchError>> + Send + 'a>>;

/// See the head of this file.
pub trait SumTransport: Debug + Send + Sync {
    /// An answer of the database, such as `lookup/…`.
    fn fetch<'a>(&'a self, source: &'a SumSource, path: &'a str) -> Fetching<'a>;

    /// Something that came is not true: what was kept on the way is given up, and the database itself is asked for a while.
    fn distrust(&self) {}
}

impl SumTransport for Upstream {
    fn fetch<'a>(&'a self, source: &'a SumSource, path: &'a str) -> Fetching<'a> {
        Box::pin(self.fetch_sumdb(source, path))
    }
}
