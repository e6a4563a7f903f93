//! `FinishJob`.

use serde::{Deserialize, Serialize};

use super::context::{Context, Effect, invalid};
use crate::ids::JobId;
use crate::outcome::{Answer, Refusal};
use crate::record::{Change, JOBS_ENDED_MAX, Job, JobState, Key, Record};
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
        let message = self.message.clone().or_else(|| job.message.clone());
        let ended = Job { state: self.state, updated: context.now, message, ..job.clone() };
        let jobs = context.tables.jobs.values();
        let mut former: Vec<&Job> = jobs.filter(|job| job.state != JobState::Running).collect();
        former.sort_by_key(|job| (job.updated, job.id));
        let over = (former.len() + 1).saturating_sub(JOBS_ENDED_MAX);
        let forgotten = former.into_iter().take(over).map(|job| Change::Delete(Key::Job(job.id)));
        let effect = Effect::new(Answer::Job { id: self.id }, format!("{} {}", job.kind, job.target));
        Ok(effect.put(Record::Job(ended)).with(forgotten).was("running").is(self.state.name()))
    }
}
