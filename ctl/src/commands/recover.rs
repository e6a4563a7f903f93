//! `cluster recover`: it works on a directory of this machine, by the `goproxyd` that the directory belongs to, and asks no server.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tokio::process::Command;

use super::Context;
use crate::args::cluster::Recover;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Answer;
use crate::view;

/// The program that knows what is in the directory.
const PROGRAM: &str = "goproxyd";

/// What going on from a member comes to, as `goproxyd recover --json` says it.
#[derive(Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) cluster_id: String,
    pub(crate) member: PlannedMember,
    pub(crate) term: u64,
    pub(crate) last_term: u64,
    pub(crate) last_index: u64,
    pub(crate) committed_index: u64,
    pub(crate) applied_index: u64,
    pub(crate) gone: Vec<PlannedMember>,
    pub(crate) node_count: u64,
    pub(crate) layout_epoch: u64,
    pub(crate) recovery: u64,
    pub(crate) new_index: u64,
    pub(crate) new_term: u64,
}

/// A member as it was recorded.
#[derive(Serialize, Deserialize)]
pub(crate) struct PlannedMember {
    pub(crate) name: String,
    pub(crate) id: u64,
    pub(crate) role: String,
    pub(crate) rpc_address: String,
}

pub(super) async fn run(context: &Context, asked: Recover) -> Result<Answer, Failure> {
    let folder = asked.data_dir.clone().or_else(|| context.settings.data_dir.clone());
    let folder = folder.ok_or_else(|| {
        Failure::usage("there is no default data directory for this user", "name one with --data-dir")
    })?;
    let program = asked.goproxyd.clone().unwrap_or_else(program);
    let plan = goproxyd(&program, &folder, &[]).await?;
    if asked.dry_run {
        let page = view::recover::plan(&plan);
        return Ok(Answer::new(plan, page).note("nothing was changed"));
    }
    let deed = format!("go on from {} alone; the other members never come back", plan.member.name);
    context.screen.preview(&view::recover::plan(&plan));
    context.screen.confirm(&deed, &plan.member.name, asked.confirmation.yes).await?;
    let mut more: Vec<OsString> = vec!["--yes".into()];
    if let Some(reason) = asked.reason {
        more.push(format!("--reason={reason}").into());
    }
    let done = goproxyd(&program, &folder, &more).await?;
    let page = view::recover::done(&done);
    Ok(Answer::new(done, page))
}

/// Runs `goproxyd recover` on a directory. It reads no settings but that one: the environment may be that of a service.
async fn goproxyd(program: &Path, folder: &Path, more: &[OsString]) -> Result<Plan, Failure> {
    let mut command = Command::new(program);
    command.arg("recover").arg("--data-dir").arg(folder).arg("--json").args(more);
    let ended = command.output().await.map_err(|source| Failure::Program {
        message: format!("{} cannot be run: {source}", program.display()),
        hint: "run it on the machine of the member that is left, where goproxyd is installed".to_owned(),
        exit: Exit::Failed,
    })?;
    if !ended.status.success() {
        let text = String::from_utf8_lossy(&ended.stderr);
        let text = text.trim().trim_start_matches("error: ").to_owned();
        // A directory that is in use, damaged, or not one to go on from.
        let exit = if matches!(ended.status.code(), Some(2 | 3)) { Exit::Precondition } else { Exit::Failed };
        let hint = "the member has to be stopped; docs/operations/losing-machines.md has the procedure";
        return Err(Failure::Program { message: text, hint: hint.to_owned(), exit });
    }
    serde_json::from_slice(&ended.stdout)
        .map_err(|error| Failure::Internal(format!("what {PROGRAM} said cannot be read: {error}")))
}

/// The one beside this program, else whichever the shell would find.
fn program() -> PathBuf {
    let beside = std::env::current_exe().ok().map(|own| own.with_file_name(PROGRAM));
    beside.filter(|path| path.is_file()).unwrap_or_else(|| PROGRAM.into())
}
