//! A progress bar on standard error, for people only.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use proto::control::v1::Job;

use super::style::one_line;

/// A bar that follows a job, or nothing where nobody sees it.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// A bar, hidden unless a person is there to see it.
    pub(crate) fn new(visible: bool) -> Self {
        let target = if visible { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Self(ProgressBar::with_draw_target(Some(0), target))
    }

    /// Shows how far the job is.
    pub(crate) fn show(&self, job: &Job) {
        let template = match (job.total, job.unit.as_str()) {
            (0, _) => "{spinner} {prefix}: {msg}",
            (_, "bytes") => "{prefix} {wide_bar} {binary_bytes}/{binary_total_bytes} {eta} {msg}",
            _ => "{prefix} {wide_bar} {pos}/{len} {eta} {msg}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.0.set_style(style);
        }
        self.0.set_length(job.total);
        self.0.set_position(job.done);
        self.0.set_prefix(one_line(&format!("{} {}", job.kind, job.subject)));
        self.0.set_message(one_line(&job.message));
        self.0.tick();
    }

    /// Shows how many of `total` are done; of an unknown total when that is 0.
    pub(crate) fn count(&self, what: &str, done: u64, total: u64, said: &str) {
        let template = match total {
            0 => "{spinner} {prefix}: {pos}, {msg}",
            _ => "{prefix} {wide_bar} {pos}/{len} {eta} {msg}",
        };
        self.draw(template, what, done, total, said);
    }

    /// Shows how many bytes of `total` are done.
    pub(crate) fn bytes(&self, what: &str, done: u64, total: u64, said: &str) {
        self.draw(
            "{prefix} {wide_bar} {binary_bytes}/{binary_total_bytes} {eta} {msg}",
            what,
            done,
            total,
            said,
        );
    }

    fn draw(&self, template: &str, what: &str, done: u64, total: u64, said: &str) {
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.0.set_style(style);
        }
        self.0.set_length(total);
        self.0.set_position(done);
        self.0.set_prefix(what.to_owned());
        self.0.set_message(one_line(said));
        self.0.tick();
    }

    /// Takes the bar away.
    pub(crate) fn end(&self) {
        self.0.finish_and_clear();
    }
}
