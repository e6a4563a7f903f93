//! Policy: who may do what with which modules, and why.

mod document;
mod principal;

pub use document::{Binding, Closed, Document, Modules, Rule, RuleEffect, Verb};
pub use principal::{Principal, Subject, SubjectError};
