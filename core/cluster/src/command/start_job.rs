//! `StartJob`.

use serde::{Deserialize, Serialize};

use super::context::{Context, Effect};
use crate::ids::JobKind;
use crate::outcome::{Answer, Kind, Refusal};
use crate::record::{JOBS_RUNNING_MAX, Job, JobState, Progress, Record};
use crate::text::Name;

/// Begins long work.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartJob {
    /// What it does.
    pub kind: JobKind,
    /// What it does it to.
    pub target: Name,
}

impl StartJob {
    pub(super) fn apply(&self, context: &Context<'_>) -> Result<Effect, Refusal> {
        let running = context.tables.jobs.values().filter(|job| job.state == JobState::Running);
        if running.count() >= JOBS_RUNNING_MAX {
            return Err(Refusal::Limit { kind: Kind::Job, max: JOBS_RUNNING_MAX });
        }
        let mut counters = context.counters.clone();
        let id = counters.next_job;
        counters.next_job = id.next();
        let job = Job {
            id,
            kind: self.kind.clone(),
            target: self.target.clone(),
            state: JobState::Running,
            progress: Progress::default(),
            started: context.now,
            updated: context.now,
            by: context.by(),
            message: None,
        };
        let effect = Effect::new(Answer::Job { id }, format!("{} {}", self.kind, self.target));
        Ok(effect.put(Record::Job(job)).counting(counters).is("running"))
    }
}
