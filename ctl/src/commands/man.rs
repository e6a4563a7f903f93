//! `man`: manual pages, one for each command.

use std::path::Path;

use clap::CommandFactory as _;
use serde::Serialize;

use crate::args::Cli;
use crate::failure::Failure;
use crate::output::Answer;
use crate::output::page::Page;

#[derive(Serialize)]
struct Written {
    folder: String,
}

pub(super) fn run(folder: &Path) -> Result<Answer, Failure> {
    let failed = |source| Failure::File { verb: "write", path: folder.to_owned(), source };
    std::fs::create_dir_all(folder).map_err(failed)?;
    clap_mangen::generate_to(Cli::command(), folder).map_err(failed)?;
    let written = Written { folder: folder.display().to_string() };
    let page = Page::new().line(format!("manual pages are in {}", written.folder));
    Ok(Answer::new(written, page))
}
