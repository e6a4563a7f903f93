//! `FinishJob`.

use serde::{Deserialize, Serialize};

use super::context::{Context, Effect, invalid};
use super::work::Work;
use crate::ids::JobId;
use crate::outcome::{Answer, Refusal};
use crate::record::JobState;
use crate::text::Note;

/// Ends a job.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FinishJob {
    /// Its number.
    pub id: JobId,
    /// How it ended; not running.
    pub state: JobState,
    /// What there is to say, or why it failed.
    pub message: Option<Note>,
}

impl FinishJob {
    pub(super) fn apply(&self, context: &Context<'_>) -> Result<Effect, Refusal> {
        let job = context.running_job(self.id)?;
        if self.state == JobState::Running {
            return Err(invalid("a job does not end by running"));
        }
        let mut work = Work::new(context);
        work.end(job, self.state, self.message.clone());
        let effect = Effect::new(Answer::Job { id: self.id }, format!("{} {}", job.kind, job.target));
        Ok(effect.working(&work).was("running").is(self.state.name()))
    }
}
