//! Commands: everything that changes the replicated truth, one file each.
//!
//! A command is a function of the state: it looks, and says what would change, or why nothing may. Nothing is changed here.
//!
//! Invariant: a command's meaning never changes while a log may hold it. What comes of it depends on the state, the command and
//! what stands beside it in the proposal, and on nothing else.

mod add_authority;
mod admit_member;
mod admit_node;
mod advance_job;
mod alter_settings;
mod announce_node;
mod apply_layout;
mod bind_version;
mod bootstrap;
mod clear_alarm;
mod clear_mark;
mod context;
mod cordon_node;
mod create_token;
mod delete_policy;
mod drain_node;
mod finish_job;
mod install;
mod label_node;
mod mark_node;
mod move_member;
mod pause_layout;
mod promote_member;
mod put_mark;
mod put_policy;
mod raise_alarm;
mod record_certificate;
mod record_deed;
mod recover_cluster;
mod remove_member;
mod remove_node;
mod replace_node;
mod report_sync;
mod resume_layout;
mod retire_authority;
mod revert_layout;
mod revoke_token;
mod rotate_token;
mod stage_member;
mod stage_node;
mod start_job;
mod switch_authority;
mod uncordon_node;
mod work;

use serde::{Deserialize, Serialize};

pub use add_authority::AddAuthority;
pub use admit_member::AdmitMember;
pub use admit_node::AdmitNode;
pub use advance_job::AdvanceJob;
pub use alter_settings::AlterSettings;
pub use announce_node::AnnounceNode;
pub use apply_layout::ApplyLayout;
pub use bind_version::BindVersion;
pub use bootstrap::Bootstrap;
pub use clear_alarm::ClearAlarm;
pub use clear_mark::ClearMark;
pub(crate) use context::{Context, Effect};
pub use cordon_node::CordonNode;
pub use create_token::CreateToken;
pub use delete_policy::DeletePolicy;
pub use drain_node::DrainNode;
pub use finish_job::FinishJob;
pub use label_node::LabelNode;
pub use mark_node::{MarkNode, NodeHealth};
pub use move_member::MoveMember;
pub use pause_layout::PauseLayout;
pub use promote_member::PromoteMember;
pub use put_mark::PutMark;
pub use put_policy::PutPolicy;
pub use raise_alarm::RaiseAlarm;
pub use record_certificate::{Holder, RecordCertificate};
pub use record_deed::RecordDeed;
pub use recover_cluster::RecoverCluster;
pub use remove_member::RemoveMember;
pub use remove_node::RemoveNode;
pub use replace_node::ReplaceNode;
pub use report_sync::ReportSync;
pub use resume_layout::ResumeLayout;
pub use retire_authority::RetireAuthority;
pub use revert_layout::RevertLayout;
pub use revoke_token::RevokeToken;
pub use rotate_token::RotateToken;
pub use stage_member::StageMember;
pub use stage_node::StageNode;
pub use start_job::StartJob;
pub use switch_authority::SwitchAuthority;
pub use uncordon_node::UncordonNode;

use crate::outcome::Refusal;
use crate::proposal::Role;
use crate::record::MarkKind;

/// What somebody wants.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// [`Bootstrap`]
    Bootstrap(Box<Bootstrap>),
    /// [`StageMember`]
    StageMember(StageMember),
    /// [`AdmitMember`]
    AdmitMember(AdmitMember),
    /// [`PromoteMember`]
    PromoteMember(PromoteMember),
    /// [`RemoveMember`]
    RemoveMember(RemoveMember),
    /// [`MoveMember`]
    MoveMember(MoveMember),
    /// [`StageNode`]
    StageNode(StageNode),
    /// [`AdmitNode`]
    AdmitNode(AdmitNode),
    /// [`AnnounceNode`]
    AnnounceNode(AnnounceNode),
    /// [`CordonNode`]
    CordonNode(CordonNode),
    /// [`UncordonNode`]
    UncordonNode(UncordonNode),
    /// [`DrainNode`]
    DrainNode(DrainNode),
    /// [`MarkNode`]
    MarkNode(MarkNode),
    /// [`RemoveNode`]
    RemoveNode(RemoveNode),
    /// [`ReplaceNode`]
    ReplaceNode(ReplaceNode),
    /// [`LabelNode`]
    LabelNode(LabelNode),
    /// [`ApplyLayout`]
    ApplyLayout(ApplyLayout),
    /// [`RevertLayout`]
    RevertLayout(RevertLayout),
    /// [`ReportSync`]
    ReportSync(ReportSync),
    /// [`PauseLayout`]
    PauseLayout(PauseLayout),
    /// [`ResumeLayout`]
    ResumeLayout(ResumeLayout),
    /// [`PutPolicy`]
    PutPolicy(PutPolicy),
    /// [`DeletePolicy`]
    DeletePolicy(DeletePolicy),
    /// [`CreateToken`]
    CreateToken(CreateToken),
    /// [`RotateToken`]
    RotateToken(RotateToken),
    /// [`RevokeToken`]
    RevokeToken(RevokeToken),
    /// [`RaiseAlarm`]
    RaiseAlarm(RaiseAlarm),
    /// [`ClearAlarm`]
    ClearAlarm(ClearAlarm),
    /// [`StartJob`]
    StartJob(StartJob),
    /// [`AdvanceJob`]
    AdvanceJob(AdvanceJob),
    /// [`FinishJob`]
    FinishJob(FinishJob),
    /// [`AddAuthority`]
    AddAuthority(AddAuthority),
    /// [`SwitchAuthority`]
    SwitchAuthority(SwitchAuthority),
    /// [`RetireAuthority`]
    RetireAuthority(RetireAuthority),
    /// [`RecordCertificate`]
    RecordCertificate(RecordCertificate),
    /// [`AlterSettings`]
    AlterSettings(AlterSettings),
    /// [`RecoverCluster`]
    RecoverCluster(RecoverCluster),
    /// [`PutMark`]
    PutMark(PutMark),
    /// [`ClearMark`]
    ClearMark(ClearMark),
    /// [`RecordDeed`]
    RecordDeed(RecordDeed),
    /// [`BindVersion`]
    BindVersion(BindVersion),
}

impl Command {
    /// Its name, as metrics have it, and the audit trail but for a deed.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Bootstrap(_) => "bootstrap",
            Self::StageMember(_) => "stage-member",
            Self::AdmitMember(_) => "admit-member",
            Self::PromoteMember(_) => "promote-member",
            Self::RemoveMember(_) => "remove-member",
            Self::MoveMember(_) => "move-member",
            Self::StageNode(_) => "stage-node",
            Self::AdmitNode(_) => "admit-node",
            Self::AnnounceNode(_) => "announce-node",
            Self::CordonNode(_) => "cordon-node",
            Self::UncordonNode(_) => "uncordon-node",
            Self::DrainNode(_) => "drain-node",
            Self::MarkNode(_) => "mark-node",
            Self::RemoveNode(_) => "remove-node",
            Self::ReplaceNode(_) => "replace-node",
            Self::LabelNode(_) => "label-node",
            Self::ApplyLayout(_) => "apply-layout",
            Self::RevertLayout(_) => "revert-layout",
            Self::ReportSync(_) => "report-sync",
            Self::PauseLayout(_) => "pause-layout",
            Self::ResumeLayout(_) => "resume-layout",
            Self::PutPolicy(_) => "put-policy",
            Self::DeletePolicy(_) => "delete-policy",
            Self::CreateToken(_) => "create-token",
            Self::RotateToken(_) => "rotate-token",
            Self::RevokeToken(_) => "revoke-token",
            Self::RaiseAlarm(_) => "raise-alarm",
            Self::ClearAlarm(_) => "clear-alarm",
            Self::StartJob(_) => "start-job",
            Self::AdvanceJob(_) => "advance-job",
            Self::FinishJob(_) => "finish-job",
            Self::AddAuthority(_) => "add-authority",
            Self::SwitchAuthority(_) => "switch-authority",
            Self::RetireAuthority(_) => "retire-authority",
            Self::RecordCertificate(_) => "record-certificate",
            Self::AlterSettings(_) => "alter-settings",
            Self::RecoverCluster(_) => "recover-cluster",
            Self::PutMark(_) => "put-mark",
            Self::ClearMark(_) => "clear-mark",
            Self::RecordDeed(_) => "record-deed",
            Self::BindVersion(_) => "bind-version",
        }
    }

    /// What the audit trail calls it: a deed by its own name.
    pub(crate) fn audited_as(&self) -> &str {
        if let Self::RecordDeed(command) = self { command.deed.as_str() } else { self.name() }
    }

    /// Whether it comes so often by itself that the audit trail has it only if an operator asked for it.
    pub const fn is_chatter(&self) -> bool {
        matches!(
            self,
            Self::AnnounceNode(_)
                | Self::ReportSync(_)
                | Self::AdvanceJob(_)
                | Self::RaiseAlarm(_)
                | Self::ClearAlarm(_)
        )
    }

    /// The least role with which an operator may ask for it.
    pub const fn least_role(&self) -> Role {
        match self {
            Self::StageNode(_)
            | Self::CordonNode(_)
            | Self::UncordonNode(_)
            | Self::DrainNode(_)
            | Self::MarkNode(_)
            | Self::RemoveNode(_)
            | Self::ReplaceNode(_)
            | Self::LabelNode(_)
            | Self::ApplyLayout(_)
            | Self::RevertLayout(_)
            | Self::PauseLayout(_)
            | Self::ResumeLayout(_)
            | Self::RaiseAlarm(_)
            | Self::ClearAlarm(_)
            | Self::StartJob(_)
            | Self::AdvanceJob(_)
            | Self::FinishJob(_)
            | Self::RecordDeed(_)
            | Self::BindVersion(_) => Role::Operator,
            // What is taken down stays so, unless somebody with more to say says otherwise.
            Self::PutMark(PutMark { kind, .. }) | Self::ClearMark(ClearMark { kind, .. }) => match kind {
                MarkKind::Pinned | MarkKind::Quarantined => Role::Operator,
                MarkKind::TakenDown => Role::Admin,
            },
            Self::Bootstrap(_)
            | Self::StageMember(_)
            | Self::AdmitMember(_)
            | Self::PromoteMember(_)
            | Self::RemoveMember(_)
            | Self::MoveMember(_)
            | Self::AdmitNode(_)
            | Self::AnnounceNode(_)
            | Self::ReportSync(_)
            | Self::PutPolicy(_)
            | Self::DeletePolicy(_)
            | Self::CreateToken(_)
            | Self::RotateToken(_)
            | Self::RevokeToken(_)
            | Self::AddAuthority(_)
            | Self::SwitchAuthority(_)
            | Self::RetireAuthority(_)
            | Self::RecordCertificate(_)
            | Self::AlterSettings(_)
            | Self::RecoverCluster(_) => Role::Admin,
        }
    }

    pub(crate) fn apply(&self, context: &Context<'_>) -> Result<Effect, Refusal> {
        match self {
            // It is for a state without a cluster, which this one has.
            Self::Bootstrap(_) => Err(Refusal::Bootstrapped),
            Self::StageMember(command) => command.apply(context),
            Self::AdmitMember(command) => command.apply(context),
            Self::PromoteMember(command) => command.apply(context),
            Self::RemoveMember(command) => command.apply(context),
            Self::MoveMember(command) => command.apply(context),
            Self::StageNode(command) => command.apply(context),
            Self::AdmitNode(command) => command.apply(context),
            Self::AnnounceNode(command) => command.apply(context),
            Self::CordonNode(command) => command.apply(context),
            Self::UncordonNode(command) => command.apply(context),
            Self::DrainNode(command) => command.apply(context),
            Self::MarkNode(command) => command.apply(context),
            Self::RemoveNode(command) => command.apply(context),
            Self::ReplaceNode(command) => command.apply(context),
            Self::LabelNode(command) => command.apply(context),
            Self::ApplyLayout(command) => command.apply(context),
            Self::RevertLayout(command) => command.apply(context),
            Self::ReportSync(command) => command.apply(context),
            Self::PauseLayout(command) => command.apply(context),
            Self::ResumeLayout(command) => command.apply(context),
            Self::PutPolicy(command) => command.apply(context),
            Self::DeletePolicy(command) => command.apply(context),
            Self::CreateToken(command) => command.apply(context),
            Self::RotateToken(command) => command.apply(context),
            Self::RevokeToken(command) => command.apply(context),
            Self::RaiseAlarm(command) => command.apply(context),
            Self::ClearAlarm(command) => command.apply(context),
            Self::StartJob(command) => command.apply(context),
            Self::AdvanceJob(command) => command.apply(context),
            Self::FinishJob(command) => command.apply(context),
            Self::AddAuthority(command) => command.apply(context),
            Self::SwitchAuthority(command) => command.apply(context),
            Self::RetireAuthority(command) => command.apply(context),
            Self::RecordCertificate(command) => command.apply(context),
            Self::AlterSettings(command) => command.apply(context),
            Self::RecoverCluster(command) => command.apply(context),
            Self::PutMark(command) => command.apply(context),
            Self::ClearMark(command) => command.apply(context),
            Self::RecordDeed(command) => command.apply(context),
            Self::BindVersion(command) => command.apply(context),
        }
    }
}
