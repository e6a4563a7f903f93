//! `AdvanceJob`.

use serde::{Deserialize, Serialize};

use super::context::{Context, Effect, invalid};
use crate::ids::JobId;
use crate::outcome::{Answer, Kind, Refusal};
use crate::record::{Job, JobState, Progress, Record};
use crate::text::Note;

/// Says how far a job has come.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdvanceJob {
    /// Its number.
    pub id: JobId,
    /// How far.
    pub progress: Progress,
    /// What it says.
    pub message: Option<Note>,
}

impl AdvanceJob {
    pub(super) fn apply(&self, context: &Context<'_>) -> Result<Effect, Refusal> {
        let job = context.running_job(self.id)?;
        let Progress { done, total } = self.progress;
        if total > 0 && done > total {
            return Err(invalid(format!("{done} of {total} units are done")));
        }
        let message = self.message.clone().or_else(|| job.message.clone());
        let advanced = Job { progress: self.progress, updated: context.now, message, ..job.clone() };
        let effect = Effect::new(Answer::Job { id: self.id }, format!("{} {}", job.kind, job.target));
        let before = format!("{} of {}", job.progress.done, job.progress.total);
        Ok(effect.put(Record::Job(advanced)).was(before).is(format!("{done} of {total}")))
    }
}

impl Context<'_> {
    pub(super) fn running_job(&self, id: JobId) -> Result<&Job, Refusal> {
        let name = id.to_string();
        let Some(job) = self.tables.jobs.get(&id) else {
            return Err(Refusal::NotFound { kind: Kind::Job, name });
        };
        if job.state == JobState::Running {
            return Ok(job);
        }
        let wanted = "it has ended";
        Err(Refusal::WrongState { kind: Kind::Job, name, state: job.state.name(), wanted })
    }
}
