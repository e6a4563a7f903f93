//! Jobs.

use cluster::record::{Job, JobState};
use cluster::{JobKind, Tables};
use proto::control::v1 as pb;

use super::time;

fn job_state(state: JobState) -> pb::JobState {
    match state {
        JobState::Running => pb::JobState::Running,
        JobState::Done => pb::JobState::Succeeded,
        JobState::Failed => pb::JobState::Failed,
        JobState::Cancelled => pb::JobState::Cancelled,
    }
}

/// A job as an operator sees it; the move of a layout stands still while the layout is paused.
pub(crate) fn job(tables: &Tables, job: &Job) -> pb::Job {
    let moves = job.state == JobState::Running && job.kind.as_str() == JobKind::LAYOUT;
    let paused = moves && tables.transition.as_ref().is_some_and(|transition| transition.paused);
    let (about, unit) = match job.kind.as_str() {
        JobKind::LAYOUT => ("epoch", "bytes"),
        JobKind::AUTHORITY => ("generation", "certificates"),
        _ => ("node", "slots"),
    };
    let ended = job.state != JobState::Running;
    pb::Job {
        id: job.id.to_string(),
        kind: job.kind.to_string(),
        subject: format!("{about} {}", job.target),
        state: if paused { pb::JobState::Paused } else { job_state(job.state) }.into(),
        done: job.progress.done,
        total: job.progress.total,
        unit: unit.to_owned(),
        message: job.message.as_ref().map(ToString::to_string).unwrap_or_default(),
        create_time: Some(time(job.started)),
        update_time: Some(time(job.updated)),
        end_time: ended.then(|| time(job.updated)),
        author: job.by.to_string(),
    }
}
