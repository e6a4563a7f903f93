//! Deciding: whether somebody may do something with a module, and which sentence of which document says so.
//!
//! In this order: a rule that denies; a rule that allows; a binding to a role with the verb; what is closed; and where nothing
//! is said, everybody may read and list, and nobody may do anything else.
//!
//! Invariant: what is added to `rules` as a denial, or to `closed`, never allows more; what is added as an allowance or a binding
//! never allows less.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use gomod::ModulePath;

use super::document::{Document, Modules, RuleEffect, Verb};
use super::principal::Principal;
use super::stale::{Outdated, Stale};
use crate::ids::{PolicyName, RoleName};
use crate::text::Note;

/// All documents in force. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Policies(BTreeMap<PolicyName, Arc<Document>>);

/// Whether somebody may, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decision {
    /// Whether he may.
    pub allowed: bool,
    /// What says so.
    pub because: Because,
}

/// What decided. Entries of a document are counted from 1.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Because {
    /// A rule.
    Rule {
        /// Of this document.
        document: PolicyName,
        /// The how-manieth.
        number: usize,
        /// Whether it allows.
        effect: RuleEffect,
        /// Why, if it says.
        reason: Option<Note>,
    },
    /// A binding.
    Binding {
        /// Of this document.
        document: PolicyName,
        /// The how-manieth.
        number: usize,
        /// The role.
        role: RoleName,
    },
    /// Closed, and no rule or binding opens it.
    Closed {
        /// By this document.
        document: PolicyName,
        /// The how-manieth.
        number: usize,
        /// Why, if it says.
        reason: Option<Note>,
    },
    /// Nothing is said, and it is one of the verbs that are open.
    OpenByDefault,
    /// Nothing is said, and it is none of them.
    NotGranted,
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = match self {
            Self::Rule { document, number, effect, reason } => {
                let does = if *effect == RuleEffect::Deny { "denies" } else { "allows" };
                write!(f, "rule {number} of policy {document} {does} it")?;
                reason
            }
            Self::Binding { document, number, role } => {
                return write!(f, "binding {number} of policy {document} gives role {role}");
            }
            Self::Closed { document, number, reason } => {
                write!(f, "closure {number} of policy {document} holds, and nothing grants it")?;
                reason
            }
            Self::OpenByDefault => return f.write_str("no policy says otherwise, and it is open by default"),
            Self::NotGranted => return f.write_str("no policy grants it"),
        };
        reason.as_ref().map_or(Ok(()), |reason| write!(f, ": {reason}"))
    }
}

impl Policies {
    /// These documents together.
    pub fn new(documents: impl IntoIterator<Item = (PolicyName, Document)>) -> Self {
        Self(documents.into_iter().map(|(name, document)| (name, Arc::new(document))).collect())
    }

    /// The same with one document put in, or taken out: to see what it would do.
    #[must_use]
    pub fn with(&self, name: &PolicyName, document: Option<Document>) -> Self {
        let mut documents = self.0.clone();
        match document {
            Some(document) => drop(documents.insert(name.clone(), Arc::new(document))),
            None => drop(documents.remove(name)),
        }
        Self(documents)
    }

    /// Whether somebody may do something with a module.
    pub fn decide(&self, principal: &Principal, verb: Verb, module: &ModulePath) -> Decision {
        let denied = |because| Decision { allowed: false, because };
        let allowed = |because| Decision { allowed: true, because };
        self.rule(RuleEffect::Deny, principal, verb, module)
            .map(denied)
            .or_else(|| self.rule(RuleEffect::Allow, principal, verb, module).map(allowed))
            .or_else(|| self.binding(principal, verb, module).map(allowed))
            .or_else(|| self.closed(verb, module).map(denied))
            .unwrap_or_else(|| {
                if verb.is_open() { allowed(Because::OpenByDefault) } else { denied(Because::NotGranted) }
            })
    }

    /// After how long anything at all is refused by who has heard nothing; none if nothing ever is.
    pub fn stale_after(&self) -> Option<Duration> {
        let entries = self.0.values().flat_map(|document| &document.stale);
        entries.map(|stale| stale.after.duration()).min()
    }

    /// What refuses a module at who has heard nothing for so long.
    pub fn outdated(&self, module: &ModulePath, age: Duration) -> Option<Outdated<'_>> {
        self.0.iter().find_map(|(document, said)| {
            let applies =
                |stale: &&Stale| age > stale.after.duration() && covers(stale.modules.as_ref(), module);
            said.stale.iter().find(applies).map(|stale| Outdated { document, stale })
        })
    }

    fn rule(
        &self,
        effect: RuleEffect,
        principal: &Principal,
        verb: Verb,
        module: &ModulePath,
    ) -> Option<Because> {
        self.0.iter().find_map(|(name, document)| {
            let (at, rule) = document.rules.iter().enumerate().find(|(_, rule)| {
                rule.effect == effect
                    && rule.verbs.contains(&verb)
                    && principal.is_any_of(&rule.subjects)
                    && covers(rule.modules.as_ref(), module)
            })?;
            Some(Because::Rule {
                document: name.clone(),
                number: at + 1,
                effect,
                reason: rule.reason.clone(),
            })
        })
    }

    fn binding(&self, principal: &Principal, verb: Verb, module: &ModulePath) -> Option<Because> {
        self.0.iter().find_map(|(name, document)| {
            let (at, binding) = document.bindings.iter().enumerate().find(|(_, binding)| {
                document.roles.get(&binding.role).is_some_and(|verbs| verbs.contains(&verb))
                    && principal.is_any_of(&binding.subjects)
                    && covers(binding.modules.as_ref(), module)
            })?;
            Some(Because::Binding { document: name.clone(), number: at + 1, role: binding.role.clone() })
        })
    }

    fn closed(&self, verb: Verb, module: &ModulePath) -> Option<Because> {
        self.0.iter().find_map(|(name, document)| {
            let (at, closed) = document.closed.iter().enumerate().find(|(_, closed)| {
                closed.verbs.contains(&verb) && covers(closed.modules.as_ref(), module)
            })?;
            Some(Because::Closed { document: name.clone(), number: at + 1, reason: closed.reason.clone() })
        })
    }
}

fn covers(modules: Option<&Modules>, module: &ModulePath) -> bool {
    modules.is_none_or(|modules| modules.matches(module))
}
