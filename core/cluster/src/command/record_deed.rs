//! `RecordDeed`.

use serde::{Deserialize, Serialize};

use super::context::{Context, Effect};
use crate::outcome::{Answer, Refusal};
use crate::text::{Name, Note};

/// An operator has data nodes do something that changes nothing of what the cluster agrees on: it is only written into the audit
/// trail, before it is done.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordDeed {
    /// What is done, such as `purge-module`.
    pub deed: Name,
    /// To what.
    pub subject: Note,
}

impl RecordDeed {
    #[expect(clippy::unnecessary_wraps, reason = "as all commands")]
    pub(super) fn apply(&self, context: &Context<'_>) -> Result<Effect, Refusal> {
        // Counters that stay as they are make it a change, which is what the audit trail is written for.
        Ok(Effect::new(Answer::Done, &self.subject).counting(context.counters.clone()))
    }
}
