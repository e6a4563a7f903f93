//! `BindVersion`.

use serde::{Deserialize, Serialize};

use super::context::{Context, Effect, invalid};
use crate::ids::Epoch;
use crate::outcome::{Answer, Kind, Refusal};
use crate::record::{BINDINGS_MAX, Binding, MarkKind, Marked, Record};
use crate::text::Hash;

/// Binds a version to its content: it is published. Enough nodes have stored that content before.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BindVersion {
    /// The version.
    pub version: Marked,
    /// What its zip hashes to.
    pub zip_h1: Hash,
    /// What its go.mod hashes to.
    pub go_mod_h1: Hash,
    /// The layout by whose replicas it was stored.
    pub expect_epoch: Epoch,
}

impl BindVersion {
    pub(super) fn apply(&self, context: &Context<'_>) -> Result<Effect, Refusal> {
        if self.version.version().is_none() {
            return Err(invalid("a version is published, not a module"));
        }
        let module = Marked::of_module(&self.version);
        for about in [&self.version, &module] {
            if context.tables.marks.contains_key(&(MarkKind::TakenDown, about.clone())) {
                return Err(Refusal::WrongState {
                    kind: Kind::Module,
                    name: about.to_string(),
                    state: "taken-down",
                    wanted: "what was taken down is not published again",
                });
            }
        }
        let effect = Effect::new(Answer::Done, &self.version).is("published");
        if let Some(bound) = context.tables.bindings.get(&self.version) {
            if bound.zip_h1 == self.zip_h1 && bound.go_mod_h1 == self.go_mod_h1 {
                return Ok(effect.was("published"));
            }
            let (name, state) = (self.version.to_string(), "published with other content");
            return Err(Refusal::AlreadyThere { kind: Kind::Module, name, state });
        }
        // After what is there already: that was stored by whatever layout was in force then.
        context.check_epoch(self.expect_epoch)?;
        if context.tables.bindings.len() >= BINDINGS_MAX {
            return Err(Refusal::Limit { kind: Kind::Binding, max: BINDINGS_MAX });
        }
        Ok(effect.put(Record::Binding(Binding {
            version: self.version.clone(),
            zip_h1: self.zip_h1,
            go_mod_h1: self.go_mod_h1,
            since: context.now,
            by: context.by(),
        })))
    }
}
