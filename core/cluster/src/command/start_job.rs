//! `StartJob`.

use serde::{Deserialize, Serialize};

use super::context::{Context, Effect};
use super::work::Work;
use crate::ids::JobKind;
use crate::outcome::{Answer, Kind, Refusal};
use crate::record::JOBS_RUNNING_MAX;
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
        let mut work = Work::new(context);
        let id = work.begin(self.kind.as_str(), self.target.as_str());
        let id = id.ok_or(Refusal::Limit { kind: Kind::Job, max: JOBS_RUNNING_MAX })?;
        let effect = Effect::new(Answer::Job { id }, format!("{} {}", self.kind, self.target));
        Ok(effect.working(&work).is("running"))
    }
}
