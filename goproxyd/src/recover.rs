//! `goproxyd recover`: going on from one control node that is stopped, after the majority of them is lost for good. With
//! `--accept-log-loss` it is about a store instead (`log_loss.rs`).

use std::fmt::Write as _;

use cluster::Note;
use controlplane::{MemberPlan, RecoverError, RecoverPlan, Recovery};

use crate::log_loss;
use crate::roles::ServeError;
use crate::settings::Settings;

/// What is asked of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recover {
    /// Whether to do it, and not only to say what it would come to.
    pub(crate) yes: bool,
    /// Whether to answer as JSON.
    pub(crate) json: bool,
    /// Why, for the audit trail.
    pub(crate) reason: Option<Note>,
    /// Whether it is about the log of a data node's store.
    pub(crate) accept_log_loss: bool,
}

/// Goes on from the member in the data directory of `settings`, or says what that would come to. Blocks.
pub(crate) fn run(settings: &Settings, asked: Recover) -> Result<String, ServeError> {
    if asked.accept_log_loss {
        return log_loss::run(settings, asked.yes);
    }
    let recovery = Recovery::open(&settings.data_dir).map_err(refused)?;
    let plan =
        if asked.yes { recovery.carry_out(asked.reason).map_err(refused)? } else { recovery.plan().clone() };
    if asked.json {
        let text = serde_json::to_string(&plan).map_err(|error| ServeError::Failed(error.into()))?;
        return Ok(text + "\n");
    }
    Ok(if asked.yes { done(&plan) } else { describe(&plan) })
}

fn refused(error: RecoverError) -> ServeError {
    if error.is_locked_or_damaged() {
        ServeError::DataDir(error.into())
    } else {
        ServeError::Recover(error.into())
    }
}

fn describe(plan: &RecoverPlan) -> String {
    let mut text = format!("cluster {}, from {} alone\n\n", plan.cluster_id, named(&plan.member));
    let mut line = |label: &str, said: String| {
        // A string takes whatever is written to it.
        let _ = writeln!(text, "  {label:<12}{said}");
    };
    line("log", format!("last entry {} of term {}", plan.last_index, plan.last_term));
    line("", format!("{} known as agreed on, {} applied", plan.committed_index, plan.applied_index));
    line("stays", format!("id, authorities, tokens, policies, layout {}", plan.layout_epoch));
    line("follow", format!("{} data nodes", plan.node_count));
    for (at, gone) in plan.gone.iter().enumerate() {
        let label = if at == 0 { "go for good" } else { "" };
        let place = if gone.rpc_address.is_empty() { "-" } else { &gone.rpc_address };
        line(label, format!("{}, {} at {place}", named(gone), gone.role));
    }
    line(
        "afterwards",
        format!("recovery {}, index {} in term {}", plan.recovery, plan.new_index, plan.new_term),
    );
    text.push_str(
        "\nNothing was changed. Of several members that are left take the one with the latest term, and of these the one with the last\n\
         entry furthest. Say --yes when it is certain that the members that go never come back.\n",
    );
    text
}

fn done(plan: &RecoverPlan) -> String {
    let gone: Vec<_> = plan.gone.iter().map(named).collect();
    format!(
        "the cluster goes on from {}: start it as before, and add members with `goproxyctl member add`\n\
         remove the data directories of {} wherever they are\n",
        named(&plan.member),
        gone.join(", ")
    )
}

fn named(member: &MemberPlan) -> String {
    format!("{} ({})", member.name, member.id)
}
