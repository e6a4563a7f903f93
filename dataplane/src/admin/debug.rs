//! What `/debug/` has: texts for people who look into a running process, each made when it is asked for.

use std::fmt::Write as _;

/// A page under `/debug/`.
pub struct DebugPage {
    pub(super) name: &'static str,
    about: &'static str,
    pub(super) text: Box<dyn Fn() -> String + Send + Sync>,
}

impl DebugPage {
    /// A page at `/debug/NAME`, which is listed as being `about` something. `text` may block; it names no private module and no secret.
    pub fn new(
        name: &'static str,
        about: &'static str,
        text: impl Fn() -> String + Send + Sync + 'static,
    ) -> Self {
        Self { name, about, text: Box::new(text) }
    }
}

/// The list of `pages`.
pub(super) fn index(pages: &[DebugPage]) -> String {
    let mut out = String::new();
    for page in pages {
        // Writing to a string does not fail.
        let _ = writeln!(out, "/debug/{:<10} {}", page.name, page.about);
    }
    out
}
