//! A policy document: roles, bindings, rules, and what is closed.
//!
//! Invariant: a document is read as a whole; every role that a binding names is in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use gomod::{GlobPatterns, ModulePath, PatternError};
use serde::{Deserialize, Serialize};

use super::principal::Subject;
use super::stale::Stale;
use crate::ids::{RoleName, as_text};
use crate::text::Note;

/// Something that can be done with a module.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// Get a version's files.
    Read,
    /// See which versions there are.
    List,
    /// Put a version up.
    Publish,
    /// Have versions fetched ahead.
    Warm,
    /// Keep from being evicted, or no longer.
    Pin,
    /// Drop what can be fetched again.
    Purge,
    /// Withhold what is suspected, or no longer.
    Quarantine,
    /// Withdraw for good.
    Takedown,
    /// Whatever else is done with a module.
    Admin,
}

impl Verb {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Read,
        Self::List,
        Self::Publish,
        Self::Warm,
        Self::Pin,
        Self::Purge,
        Self::Quarantine,
        Self::Takedown,
        Self::Admin,
    ];

    /// The verb as it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::List => "list",
            Self::Publish => "publish",
            Self::Warm => "warm",
            Self::Pin => "pin",
            Self::Purge => "purge",
            Self::Quarantine => "quarantine",
            Self::Takedown => "takedown",
            Self::Admin => "admin",
        }
    }

    /// Whether everybody may where no document says anything: reading and listing, as on any public proxy.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Read | Self::List)
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Patterns of module paths, in GOPRIVATE's syntax.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Modules(GlobPatterns);

impl Modules {
    /// Reads a comma-separated list; one that matches nothing is refused by [`super::Document::parse`] only.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        GlobPatterns::parse(text).map(Self)
    }

    /// Whether a module is among them.
    pub fn matches(&self, module: &ModulePath) -> bool {
        self.0.matches(module)
    }

    /// Whether there is no pattern at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Modules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for Modules {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        Self::parse(text)
    }
}

as_text!(Modules);

/// What an operator says about who may do what with which modules.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// Verbs under a name.
    pub roles: BTreeMap<RoleName, BTreeSet<Verb>>,
    /// Who has which role.
    pub bindings: Vec<Binding>,
    /// Who may, or may not, do what.
    pub rules: Vec<Rule>,
    /// What nobody may without a binding or a rule that says so.
    pub closed: Vec<Closed>,
    /// What a data node refuses that has heard nothing for long. Left out where there is none: documents of before have no such field.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stale: Vec<Stale>,
}

/// Gives a role to subjects.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Binding {
    /// The role.
    pub role: RoleName,
    /// Who has it.
    pub subjects: BTreeSet<Subject>,
    /// For which modules; for all, if none.
    pub modules: Option<Modules>,
}

/// Allows or denies something.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Which of the two.
    pub effect: RuleEffect,
    /// For which modules; for all, if none.
    pub modules: Option<Modules>,
    /// What.
    pub verbs: BTreeSet<Verb>,
    /// Whom.
    pub subjects: BTreeSet<Subject>,
    /// Why, as it is told to who is refused.
    pub reason: Option<Note>,
}

/// Whether a rule allows or denies.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleEffect {
    /// It allows.
    Allow,
    /// It denies, whatever allows.
    Deny,
}

/// Closes verbs that are open by themselves.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Closed {
    /// For which modules; for all, if none.
    pub modules: Option<Modules>,
    /// Which verbs.
    pub verbs: BTreeSet<Verb>,
    /// Why, as it is told to who is refused.
    pub reason: Option<Note>,
}
