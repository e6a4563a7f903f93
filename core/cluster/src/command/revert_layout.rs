//! `RevertLayout`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::context::{Context, Effect};
use super::work::Work;
use crate::ids::Epoch;
use crate::outcome::{Answer, Kind, Refusal};
use crate::text::Note;

/// Puts a former layout in force again, under a new epoch.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevertLayout {
    /// The current layout's epoch, as whoever decided knew it.
    pub expect_epoch: Epoch,
    /// The epoch of the former layout.
    pub to: Epoch,
}

impl RevertLayout {
    pub(super) fn apply(&self, context: &Context<'_>) -> Result<Effect, Refusal> {
        context.check_epoch(self.expect_epoch)?;
        let (kind, name) = (Kind::Layout, self.to.to_string());
        if self.to == context.transition.current {
            return Err(Refusal::AlreadyThere { kind, name, state: "current" });
        }
        let tables = context.tables;
        let former = tables.layouts.get(&self.to).or_else(|| tables.layout_history.get(&self.to));
        let former = former.ok_or(Refusal::NotFound { kind, name })?;
        let epoch = self.expect_epoch.next();
        let note = Note::lossy(&format!("as epoch {}", self.to));
        let mut work = Work::new(context);
        let changes = context.install(Arc::new(former.layout.renumbered(epoch)), note, &mut work)?;
        let effect =
            Effect::new(Answer::Layout { epoch }, format!("epoch {epoch}")).with(changes).working(&work);
        Ok(effect.was(format!("epoch {}", self.expect_epoch)).is(format!("epoch {epoch} as {}", self.to)))
    }
}
