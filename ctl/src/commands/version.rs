//! `version`.

use serde::Serialize;

use crate::build::{COMMIT, SCHEMA, VERSION};
use crate::output::Answer;
use crate::output::page::Page;

#[derive(Serialize)]
struct Build {
    version: &'static str,
    commit: &'static str,
    schema: u32,
}

pub(super) fn run() -> Answer {
    let page = Page::new().fields(vec![
        ("version", VERSION.into()),
        ("commit", COMMIT.into()),
        ("schema", SCHEMA.into()),
    ]);
    Answer::new(Build { version: VERSION, commit: COMMIT, schema: SCHEMA }, page)
}
