//! Jobs that commands begin and end: what somebody asked for goes on after the answer, and is followed by its job to its end.

use super::context::{Context, Effect};
use crate::ids::{JobId, JobKind};
use crate::record::{
    Change, Counters, JOBS_ENDED_MAX, JOBS_RUNNING_MAX, Job, JobState, Key, Progress, Record,
};
use crate::text::{Name, Note};

/// Jobs that one command begins and ends.
pub(super) struct Work<'a> {
    context: &'a Context<'a>,
    begun: Vec<Job>,
    ended: Vec<Job>,
}

impl<'a> Work<'a> {
    pub(super) fn new(context: &'a Context<'a>) -> Self {
        Self { context, begun: Vec::new(), ended: Vec::new() }
    }

    /// Begins a job. While as many run as may run, it is none: what it would follow is done all the same.
    pub(super) fn begin(&mut self, kind: &str, target: &str) -> Option<JobId> {
        let (kind, target) = (JobKind::parse(kind).ok()?, Name::parse(target).ok()?);
        let ended: Vec<JobId> = self.ended.iter().map(|job| job.id).collect();
        let running = running(self.context).filter(|job| !ended.contains(&job.id)).count() + self.begun.len();
        if running >= JOBS_RUNNING_MAX {
            return None;
        }
        let id = self.counters().next_job;
        self.begun.push(Job {
            id,
            kind,
            target,
            state: JobState::Running,
            progress: Progress::default(),
            started: self.context.now,
            updated: self.context.now,
            by: self.context.by(),
            message: None,
        });
        Some(id)
    }

    /// Begins a job, unless one of its kind runs for the same already.
    pub(super) fn begin_once(&mut self, kind: &str, target: &str) {
        let same = |job: &Job| job.kind.as_str() == kind && job.target.as_str() == target;
        if !running(self.context).any(same) {
            self.begin(kind, target);
        }
    }

    /// Ends a job that runs.
    pub(super) fn end(&mut self, job: &Job, state: JobState, message: Option<Note>) {
        let message = message.or_else(|| job.message.clone());
        let progress = match state {
            // Who watches sees it end where it was to come to.
            JobState::Done => Progress { done: job.progress.total, ..job.progress },
            JobState::Running | JobState::Failed | JobState::Cancelled => job.progress,
        };
        self.ended.push(Job { state, progress, updated: self.context.now, message, ..job.clone() });
    }

    /// Ends those jobs of a kind that run and are of this target.
    pub(super) fn end_those(
        &mut self,
        kind: &str,
        of: impl Fn(&str) -> bool,
        state: JobState,
        message: &str,
    ) {
        let those = running(self.context).filter(|job| job.kind.as_str() == kind && of(job.target.as_str()));
        for job in those.cloned().collect::<Vec<_>>() {
            self.end(&job, state, Note::lossy(message));
        }
    }

    fn counters(&self) -> Counters {
        let mut counters = self.context.counters.clone();
        if let Some(last) = self.begun.last() {
            counters.next_job = last.id.next();
        }
        counters
    }

    /// The changes of it; of ended jobs the oldest are forgotten beyond the bound.
    fn changes(&self) -> impl Iterator<Item = Change> + use<> {
        let jobs = self.context.tables.jobs.values();
        let mut former: Vec<&Job> = jobs.filter(|job| job.state != JobState::Running).collect();
        former.sort_by_key(|job| (job.updated, job.id));
        let over = (former.len() + self.ended.len()).saturating_sub(JOBS_ENDED_MAX);
        let forgotten: Vec<Change> =
            former.into_iter().take(over).map(|job| Change::Delete(Key::Job(job.id))).collect();
        let put: Vec<Job> = self.ended.iter().chain(&self.begun).cloned().collect();
        put.into_iter().map(|job| Change::Put(Record::Job(job))).chain(forgotten)
    }
}

impl Effect {
    /// With what becomes of jobs by it.
    pub(super) fn working(self, work: &Work<'_>) -> Self {
        let effect = self.with(work.changes());
        if work.begun.is_empty() { effect } else { effect.counting(work.counters()) }
    }
}

fn running<'a>(context: &Context<'a>) -> impl Iterator<Item = &'a Job> + use<'a> {
    context.tables.jobs.values().filter(|job| job.state == JobState::Running)
}
