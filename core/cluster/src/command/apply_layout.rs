//! `ApplyLayout`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::context::{Context, Effect};
use super::work::Work;
use crate::ids::Epoch;
use crate::layout::Layout;
use crate::outcome::{Answer, Refusal};
use crate::text::Note;

/// Puts a layout in force. It was planned by the leader; here it is only checked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApplyLayout {
    /// The current layout's epoch, which it was planned from.
    pub expect_epoch: Epoch,
    /// The layout, with the next epoch.
    #[serde(with = "crate::record::in_base64")]
    pub layout: Arc<Layout>,
    /// What is said about it.
    pub note: Option<Note>,
    /// Whether the cluster is to have as many replicas as the layout from now on; else the layout has to have as many as the cluster.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sets_replication: bool,
}

impl ApplyLayout {
    pub(super) fn apply(&self, context: &Context<'_>) -> Result<Effect, Refusal> {
        context.check_epoch(self.expect_epoch)?;
        let epoch = self.layout.epoch();
        let mut work = Work::new(context);
        let (layout, note) = (Arc::clone(&self.layout), self.note.clone());
        let changes = if self.sets_replication {
            context.install_with_replication(layout, note, &mut work)?
        } else {
            context.install(layout, note, &mut work)?
        };
        let effect =
            Effect::new(Answer::Layout { epoch }, format!("epoch {epoch}")).with(changes).working(&work);
        let mut after = format!("epoch {epoch} with {} nodes", self.layout.nodes().len());
        after.push_str(&context.other_replication(&self.layout));
        Ok(effect.was(format!("epoch {}", self.expect_epoch)).is(after))
    }
}
