//! Names for the shell to complete: those that the cluster has, asked with the settings of the environment and the profile.
//!
//! Invariant: it never fails and never keeps a person waiting; who gets no candidates types the name.

use std::rc::Rc;
use std::time::Duration;

use clap_complete::CompletionCandidate;
use proto::control::v1::JobState;

use crate::args::global::Global;
use crate::commands::Context;
use crate::failure::Failure;
use crate::output::Screen;
use crate::settings::Settings;
use crate::surroundings::Surroundings;

/// The longest that somebody who pressed Tab waits.
const PATIENCE: Duration = Duration::from_millis(800);

/// Data nodes.
pub(crate) fn nodes() -> Vec<CompletionCandidate> {
    ask(&async |context| {
        let nodes = crate::commands::all_nodes(context).await?;
        Ok(nodes.into_iter().map(|node| node.name).collect())
    })
}

/// Zones that there are nodes in.
pub(crate) fn zones() -> Vec<CompletionCandidate> {
    ask(&async |context| {
        let nodes = crate::commands::all_nodes(context).await?;
        Ok(nodes.into_iter().map(|node| node.zone).collect())
    })
}

/// Control nodes.
pub(crate) fn members() -> Vec<CompletionCandidate> {
    ask(&async |context| {
        let members = crate::commands::all_members(context).await?;
        Ok(members.into_iter().map(|member| member.name).collect())
    })
}

/// Policy documents.
pub(crate) fn policies() -> Vec<CompletionCandidate> {
    ask(&async |context| {
        let policies = crate::commands::all_policies(context).await?;
        Ok(policies.into_iter().map(|policy| policy.name).collect())
    })
}

/// Tokens by name.
pub(crate) fn tokens() -> Vec<CompletionCandidate> {
    ask(&async |context| {
        let tokens = crate::commands::all_tokens(context).await?;
        Ok(tokens.into_iter().map(|token| token.name).collect())
    })
}

/// Jobs that have not ended.
pub(crate) fn jobs() -> Vec<CompletionCandidate> {
    ask(&async |context| {
        let open = [JobState::Queued, JobState::Running, JobState::Paused];
        let jobs = crate::commands::all_jobs(context, &open).await?;
        Ok(jobs.into_iter().map(|job| job.id).collect())
    })
}

fn ask(names: &impl AsyncFn(&Context) -> Result<Vec<String>, Failure>) -> Vec<CompletionCandidate> {
    let found = (|| {
        let around = Surroundings::of_process();
        let flags = Global { timeout: Some(PATIENCE), ..Global::default() };
        let settings = Settings::resolve(&flags, &around).ok()?;
        let screen = Rc::new(Screen::new(&around, false));
        let context = Context::new(settings, around, screen);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
        let found = runtime.block_on(async { tokio::time::timeout(PATIENCE, names(&context)).await });
        // A name that takes long to resolve has a thread that cannot be stopped.
        runtime.shutdown_background();
        found.ok()?.ok()
    })();
    let mut found = found.unwrap_or_default();
    found.sort();
    found.dedup();
    found.into_iter().map(CompletionCandidate::new).collect()
}
