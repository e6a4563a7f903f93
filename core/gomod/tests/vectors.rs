//! The crate against golang.org/x/mod: thousands of generated inputs with the answers of the real thing.
//!
//! The answers are written by `tests/gomod-vectors`; its README says how to write them anew.

#[path = "support/expectations.rs"]
mod expectations;

use std::path::Path;

use expectations::TOPICS;

#[test]
fn agrees_with_the_committed_answers() {
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    for topic in TOPICS {
        topic.check(&vectors);
    }
}
