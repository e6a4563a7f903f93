//! `policy`: who may do what with which modules.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};
use clap_complete::ArgValueCandidates;

use super::shared::{Confirmation, Mutation, Newest};
use crate::complete;

#[derive(Subcommand, Debug)]
pub(crate) enum Verb {
    /// The policy documents, or one of them
    #[command(
        after_help = "Examples:\n  goproxyctl policy show\n  goproxyctl policy show teams > teams.toml"
    )]
    Show {
        /// The document [default: list all]
        #[arg(add = ArgValueCandidates::new(complete::policies))]
        name: Option<String>,
        /// The document's state with this number [default: the one in force]
        #[arg(long, value_name = "N", requires = "name")]
        generation: Option<u64>,
    },
    /// What applying a document would change
    ///
    /// Ends with exit code 0 if nothing would change, with 2 if something would.
    #[command(after_help = "Example:\n  goproxyctl policy diff teams.toml")]
    Diff {
        #[command(flatten)]
        document: Document,
    },
    /// Put a document in force, or take it out
    #[command(after_help = "\
Examples:
  goproxyctl policy apply teams.toml --reason 'team b may publish'
  goproxyctl policy apply --delete --name teams")]
    Apply(Apply),
    /// Decide cases from a file and compare with what is expected there
    ///
    /// Ends with exit code 1 if a case comes out otherwise.
    #[command(after_help = "\
A file of cases, TOML or JSON:
  [[test]]
  principal = \"token:ci\"
  verb = \"read\"
  module = \"example.com/secret\"
  expect = \"deny\"          # or allow; left out, the case is only decided

Example:
  goproxyctl policy test cases.toml --document teams.toml")]
    Test(Test),
    /// Say how one decision is come to
    #[command(
        after_help = "Example:\n  goproxyctl policy explain --principal token:ci --verb publish example.com/m"
    )]
    Explain(Explain),
    /// The states that a document has had, newest first
    #[command(after_help = "Example:\n  goproxyctl policy history teams")]
    History {
        /// The document
        #[arg(add = ArgValueCandidates::new(complete::policies))]
        name: String,
        #[command(flatten)]
        newest: Newest,
    },
}

#[derive(Args, Debug)]
pub(crate) struct Document {
    /// The document's text, TOML or JSON; `-` for standard input
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    /// The document's name [default: the file's, without its ending]
    #[arg(long, add = ArgValueCandidates::new(complete::policies))]
    pub(crate) name: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct Apply {
    /// The document's text, TOML or JSON; `-` for standard input
    #[arg(value_hint = ValueHint::FilePath, required_unless_present = "delete", conflicts_with = "delete")]
    pub(crate) file: Option<PathBuf>,
    /// The document's name [default: the file's, without its ending]
    #[arg(long, add = ArgValueCandidates::new(complete::policies))]
    pub(crate) name: Option<String>,
    /// Take the document out of force
    #[arg(long, requires = "name")]
    pub(crate) delete: bool,
    /// Refuse unless the document has this generation; 0 if it must be new
    #[arg(long, value_name = "N")]
    pub(crate) expect_generation: Option<u64>,
    #[command(flatten)]
    pub(crate) confirmation: Confirmation,
    #[command(flatten)]
    pub(crate) mutation: Mutation,
}

#[derive(Args, Debug)]
pub(crate) struct Test {
    /// The cases, TOML or JSON; `-` for standard input
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    /// Decide as if this document were in force as well
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) document: Option<PathBuf>,
    /// That document's name [default: the file's, without its ending]
    #[arg(long, requires = "document", add = ArgValueCandidates::new(complete::policies))]
    pub(crate) name: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct Explain {
    /// Who, such as `token:ci` or `anonymous`
    #[arg(long)]
    pub(crate) principal: String,
    /// What, such as `read` or `publish`
    #[arg(long)]
    pub(crate) verb: String,
    /// The module path
    pub(crate) module: String,
    /// The module's version, where it matters
    #[arg(long, value_name = "VERSION")]
    pub(crate) module_version: Option<String>,
}
