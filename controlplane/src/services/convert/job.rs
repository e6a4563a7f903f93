//! Jobs.

use cluster::record::{Job, JobState};
use proto::control::v1 as pb;

use super::time;

pub(crate) fn job_state(state: JobState) -> pb::JobState {
    match state {
        JobState::Running => pb::JobState::Running,
        JobState::Done => pb::JobState::Succeeded,
        JobState::Failed => pb::JobState::Failed,
        JobState::Cancelled => pb::JobState::Cancelled,
    }
}

pub(crate) fn job(job: &Job) -> pb::Job {
    let ended = job.state != JobState::Running;
    pb::Job {
        id: job.id.to_string(),
        kind: job.kind.to_string(),
        subject: job.target.to_string(),
        state: job_state(job.state).into(),
        done: job.progress.done,
        total: job.progress.total,
        unit: "slots".to_owned(),
        message: job.message.as_ref().map(ToString::to_string).unwrap_or_default(),
        create_time: Some(time(job.started)),
        update_time: Some(time(job.updated)),
        end_time: ended.then(|| time(job.updated)),
        author: job.by.to_string(),
    }
}
