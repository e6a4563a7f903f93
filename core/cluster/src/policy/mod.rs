//! Policy: who may do what with which modules, and why.
//!
//! A document is JSON: `roles` (name to verbs), `bindings` (`role`, `subjects`, perhaps `modules`), `rules` (`effect` allow or
//! deny, `verbs`, `subjects`, perhaps `modules` and `reason`), `closed` (`verbs`, perhaps `modules` and `reason`) and `stale` (`after`, perhaps
//! `modules` and `reason`). Modules are patterns in GOPRIVATE's syntax, all modules if left out.

mod decide;
mod document;
mod parse;
mod principal;
mod stale;
mod tree;

pub use decide::{Because, Decision, Policies};
pub use document::{Binding, Closed, Document, Modules, Rule, RuleEffect, Verb};
pub use parse::{DOCUMENT_BYTES_MAX, ENTRIES_MAX, PROBLEMS_MAX, Problem};
pub use principal::{Principal, Subject, SubjectError};
pub use stale::{Age, AgeError, Outdated, Stale};
