//! `ResumeLayout`.

use serde::{Deserialize, Serialize};

use super::context::{Context, Effect};
use crate::outcome::{Answer, Kind, Refusal};
use crate::record::{Record, TransitionRecord};

/// Lets slots move again.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResumeLayout {}

impl ResumeLayout {
    #[expect(clippy::unused_self, reason = "as all commands")]
    pub(super) fn apply(&self, context: &Context<'_>) -> Result<Effect, Refusal> {
        let name = context.transition.current.to_string();
        if !context.transition.paused {
            return Err(Refusal::AlreadyThere { kind: Kind::Layout, name, state: "not paused" });
        }
        let record = TransitionRecord { paused: false, since: context.now, ..context.transition };
        let effect = Effect::new(Answer::Done, format!("epoch {name}")).put(Record::Transition(record));
        Ok(effect.was("paused").is("moving"))
    }
}
