//! Jobs.

use proto::control::v1::{Job, JobState};

use super::{bytes, named, or_dash};
use crate::output::page::{Cell, Page};
use crate::output::style::Tone;
use crate::output::table::Table;
use crate::time::shown;

/// `cluster jobs list`.
pub(crate) fn list(jobs: &[Job]) -> Page {
    let mut table = Table::new(&["JOB", "KIND", "ABOUT", "STATE", "DONE", "MESSAGE"], "no jobs");
    for job in jobs {
        table.row(vec![
            job.id.as_str().into(),
            job.kind.as_str().into(),
            job.subject.as_str().into(),
            state(job.state()),
            done(job).into(),
            job.message.as_str().into(),
        ]);
    }
    Page::new().table(table)
}

/// `cluster jobs show`, and the job after a change with `--wait`.
pub(crate) fn one(job: &Job) -> Page {
    Page::new().fields(vec![
        ("job", job.id.as_str().into()),
        ("kind", job.kind.as_str().into()),
        ("about", job.subject.as_str().into()),
        ("state", state(job.state())),
        ("done", done(job).into()),
        ("message", or_dash(&job.message)),
        ("asked for", shown(job.create_time.as_ref()).into()),
        ("by", or_dash(&job.author)),
        ("got on", shown(job.update_time.as_ref()).into()),
        ("ended", shown(job.end_time.as_ref()).into()),
    ])
}

fn done(job: &Job) -> String {
    match (job.total, job.unit.as_str()) {
        (0, _) => "-".to_owned(),
        (total, "bytes") => format!("{} of {}", bytes(job.done), bytes(total)),
        (total, unit) => format!("{} of {total} {unit}", job.done),
    }
}

fn state(state: JobState) -> Cell {
    let tone = match state {
        JobState::Succeeded => Tone::Good,
        JobState::Queued | JobState::Running | JobState::Paused => Tone::Warn,
        JobState::Failed | JobState::Cancelled => Tone::Bad,
        JobState::Unspecified => Tone::Plain,
    };
    Cell::new(named(state), tone)
}
