//! The usual set: an origin, a checksum database over what it publishes, and servers and clients for them.

use crate::go_client::GoClient;
use crate::module::{Module, escape};
use crate::origin::Origin;
use crate::process::Proxy;
use crate::raw_http::Response;
use crate::settings::Settings;
use crate::sumdb::SumDb;

/// Records that the database holds of foreign modules: more than one full tile.
const PADDING: usize = 300;

/// Lines and bytes that the go command is sure to show of an error.
const ERROR_LINES_MAX: usize = 2;
const ERROR_BYTES_MAX: usize = 600;

/// An origin and its database.
pub struct Bed {
    /// The origin.
    pub origin: Origin,
    /// The database, served below the origin's `/sumdb/`.
    pub sumdb: SumDb,
}

impl Bed {
    /// Nothing published yet, the database named `sum.test`.
    pub fn new() -> Self {
        Self::named("sum.test")
    }

    /// A database of another name.
    pub fn named(sumdb: &str) -> Self {
        let sumdb = SumDb::new(sumdb);
        sumdb.pad(PADDING);
        Self { origin: Origin::with_sumdb(&sumdb), sumdb }
    }

    /// Publishes a plain module and returns it.
    pub fn module(&self, path: &str, version: &str) -> Module {
        let module = Module::new(path, version);
        self.origin.publish(&module);
        module
    }

    /// Publishes a module whose zip spans several chunks of the store and is streamed rather than held back whole.
    pub fn large_module(&self, path: &str) -> Module {
        let module = Module::new(path, "v1.0.0").filler(1_500_000);
        self.origin.publish(&module);
        module
    }

    /// Settings of a server that verifies.
    pub fn settings(&self) -> Settings {
        Settings::verified(&self.origin, &self.sumdb)
    }

    /// A server that verifies.
    #[track_caller]
    pub fn proxy(&self) -> Proxy {
        Proxy::start(&self.settings())
    }

    /// A client of `proxy` that verifies too.
    pub fn client(&self, proxy: &Proxy) -> GoClient {
        GoClient::new(&proxy.url(), &self.sumdb.key())
    }
}

impl Default for Bed {
    fn default() -> Self {
        Self::new()
    }
}

/// The paths of all five shapes of request for a module.
pub fn shapes(module: &Module) -> Vec<String> {
    let base = format!("/{}", escape(&module.path));
    let mut paths: Vec<String> =
        [".info", ".mod", ".zip"].iter().map(|suffix| module.url_path(suffix)).collect();
    paths.extend([base.clone() + "/@v/list", base + "/@latest"]);
    paths
}

/// Fails the test unless the answer is an error that the go command can show: plain text, short, and clean.
#[track_caller]
pub fn assert_error(answer: &Response) {
    let text = answer.text();
    assert!(answer.status >= 400, "{} is no error: {text}", answer.status);
    assert_eq!(answer.expect_header("content-type"), "text/plain; charset=utf-8", "{text}");
    assert!(!text.trim().is_empty(), "{} without a reason", answer.status);
    assert!(
        text.trim_end().lines().count() <= ERROR_LINES_MAX && !text.contains("\n\n"),
        "too many lines: {text:?}"
    );
    assert!(text.len() <= ERROR_BYTES_MAX, "{} bytes: {text:?}", text.len());
    assert!(
        text.chars().all(|letter| letter == '\n' || !letter.is_control()),
        "control characters: {text:?}"
    );
    answer.expect_header("x-request-id");
}

/// Fails the test unless the answer says that the origin (or what it sent) is at fault: never 404 or 410, which
/// send the go command elsewhere, and never a success.
#[track_caller]
pub fn assert_upstream_error(answer: &Response) {
    assert!([500, 502, 503, 504].contains(&answer.status), "{}: {}", answer.status, answer.text());
    assert_error(answer);
}

/// Fails the test if the answer is a whole 200.
#[track_caller]
pub fn assert_not_served(answer: &Response) {
    assert!(!(answer.status == 200 && answer.complete), "served whole: {} bytes", answer.body.len());
    assert!(![404, 410].contains(&answer.status), "{}: {}", answer.status, answer.text());
}
