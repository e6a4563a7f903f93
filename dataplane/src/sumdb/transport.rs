//! How the database's answers come here: from whoever offers them, unverified.

use std::fmt::Debug;
use std::pin::Pin;

use bytes::Bytes;

use crate::upstream::{FetchError, SumSource, Upstream};

/// An answer that is on its way.
pub type Fetching<'a> = Pin<Box<dyn Future<Output = Result<Bytes, FetchError>> + Send + 'a>>;

/// What others hold, on its way.
pub type Borrowing<'a> = Pin<Box<dyn Future<Output = Vec<Bytes>> + Send + 'a>>;

/// See the head of this file.
pub trait SumTransport: Debug + Send + Sync {
    /// An answer of the database, such as `lookup/…`.
    fn fetch<'a>(&'a self, source: &'a SumSource, path: &'a str) -> Fetching<'a>;

    /// Whether there are others who may hold answers.
    fn has_others(&self) -> bool {
        false
    }

    /// What others hold of it: of `latest` what each of them has, of anything else what the first one has.
    fn borrow<'a>(&'a self, _path: &'a str) -> Borrowing<'a> {
        Box::pin(std::future::ready(Vec::new()))
    }

    /// Something that came is not true: what was kept on the way is given up, and the database itself is asked for a while.
    fn distrust(&self) {}
}

impl SumTransport for Upstream {
    fn fetch<'a>(&'a self, source: &'a SumSource, path: &'a str) -> Fetching<'a> {
        Box::pin(self.fetch_sumdb(source, path))
    }
}
