//! Going on from one member after the majority of the control nodes is lost for good. It works on the directory of that member, which
//! has to be stopped: docs/operations/losing-machines.md has the procedure, docs/adr/0022 the reasons.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use cluster::command::RecoverCluster;
use cluster::record::{Member, MemberState};
use cluster::{Command, MemberId, Note, Proposal, ProposalError, Refusal};
use identity::{CredentialFiles, Who};
use serde::Serialize;

use crate::authorize::system_actor;
use crate::plane::FOLDER;
use crate::raft::{LogStore, OpenError, RequestId, Rescue, RescueError, Standing};
use crate::services::convert::timestamp;
use crate::truth::{Shared, Truth};
use crate::watch::Hub;

/// Why a cluster is not gone on with from a directory.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// Nothing of a control node is there.
    #[error("{} holds no control node", folder.display())]
    Absent {
        /// The folder.
        folder: PathBuf,
    },
    /// Its credentials cannot be read.
    #[error("take up the credentials")]
    Files(#[from] identity::FilesError),
    /// Its store cannot be opened: another process has it, or it is damaged.
    #[error("open the log in {}", folder.display())]
    Store {
        /// The folder.
        folder: PathBuf,
        /// Why.
        #[source]
        source: OpenError,
    },
    /// Its log cannot be gone on from.
    #[error("go on from this member")]
    Rescue(#[from] RescueError),
    /// It joined and was lost before it heard of anything.
    #[error("this member never heard what the cluster agrees on; take one that did")]
    Empty,
    /// It is the only one already.
    #[error("this member is the only one of its cluster: start it")]
    Alone,
    /// The cluster does not go on from it.
    #[error("go on from this member: {0}")]
    Refused(Refusal),
    /// What is to be written cannot be.
    #[error("write what begins the new log")]
    Proposal(#[from] ProposalError),
}

impl RecoverError {
    /// Whether another process uses the directory, or it is damaged.
    pub fn is_locked_or_damaged(&self) -> bool {
        match self {
            Self::Files(_) | Self::Store { .. } | Self::Rescue(_) => true,
            Self::Absent { .. } | Self::Empty | Self::Alone | Self::Refused(_) | Self::Proposal(_) => false,
        }
    }
}

/// What going on from a member means.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct RecoverPlan {
    /// The cluster, which stays the same one.
    pub cluster_id: String,
    /// The member that is left.
    pub member: MemberPlan,
    /// The newest term that it knows of.
    pub term: u64,
    /// The term of the last entry of its log.
    pub last_term: u64,
    /// The last entry of its log.
    pub last_index: u64,
    /// The last entry that it knew to be agreed on; what lies behind it counts as well.
    pub committed_index: u64,
    /// The last entry that it had applied.
    pub applied_index: u64,
    /// The members that go for good.
    pub gone: Vec<MemberPlan>,
    /// Data nodes that follow it afterwards.
    pub node_count: u64,
    /// The layout that stays in force.
    pub layout_epoch: u64,
    /// How often the cluster will have been recovered.
    pub recovery: u64,
    /// Where the new log begins.
    pub new_index: u64,
    /// In which term.
    pub new_term: u64,
}

/// A member, as it is recorded before.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct MemberPlan {
    /// Its name.
    pub name: String,
    /// Its number.
    pub id: u64,
    /// How far it had come.
    pub role: &'static str,
    /// Where it is reached; empty for one that has not joined.
    pub rpc_address: String,
}

impl MemberPlan {
    fn of(member: &Member) -> Self {
        Self {
            name: member.name.to_string(),
            id: member.id.get(),
            role: member.state.name(),
            rpc_address: member.rpc.as_ref().map(ToString::to_string).unwrap_or_default(),
        }
    }
}

/// A stopped member's directory, held so that nobody else takes it up, and what is to become of it.
pub struct Recovery {
    rescue: Rescue<LogStore, Truth>,
    plan: RecoverPlan,
}

impl Recovery {
    /// Takes up the member in a process's data directory. Nothing that counts is written. Blocks.
    pub fn open(data_dir: &Path) -> Result<Self, RecoverError> {
        let folder = data_dir.join(FOLDER);
        let absent = || RecoverError::Absent { folder: folder.clone() };
        if !folder.is_dir() {
            return Err(absent());
        }
        let credentials = CredentialFiles::new(&folder).load()?.ok_or_else(absent)?;
        let identity = credentials.identity();
        let Who::Member(id) = identity.who else { return Err(absent()) };
        let store = LogStore::open(&folder, identity.cluster, id)
            .map_err(|source| RecoverError::Store { folder: folder.clone(), source })?;
        let nobody_watches = Truth::new(Shared::default(), Arc::new(Hub::default()));
        let rescue = Rescue::begin(store, &nobody_watches)?;
        let plan = plan(&rescue, id)?;
        Ok(Self { rescue, plan })
    }

    /// What going on from it means.
    pub fn plan(&self) -> &RecoverPlan {
        &self.plan
    }

    /// Makes it so. After whatever interruption the directory is as it was, or as it is to be. Blocks.
    pub fn carry_out(mut self, why: Option<Note>) -> Result<RecoverPlan, RecoverError> {
        let request: [u8; 16] = rand::random();
        let proposal = Proposal {
            request: cluster::RequestId::from_bytes(request),
            key: None,
            actor: system_actor("recover"),
            at: timestamp(SystemTime::now()),
            why,
            command: Command::RecoverCluster(RecoverCluster { member: self.rescue.member() }),
        };
        let request = RequestId::new(u128::from_be_bytes(request));
        let outcome = self.rescue.apply(request, &proposal.encode()?)?;
        outcome.result.map_err(RecoverError::Refused)?;
        self.rescue.write()?;
        Ok(self.plan)
    }
}

fn plan(rescue: &Rescue<LogStore, Truth>, id: MemberId) -> Result<RecoverPlan, RecoverError> {
    let tables = rescue.machine().state().tables();
    let cluster = tables.cluster.as_ref().ok_or(RecoverError::Empty)?;
    let member = tables.members.get(&id).ok_or(RecoverError::Empty)?;
    let others = || tables.members.values().filter(|other| other.id != id);
    if !rescue.has_others() && !others().any(|other| other.state.is_in_group()) {
        return Err(RecoverError::Alone);
    }
    let gone = others().filter(|other| other.state != MemberState::Removed);
    let Standing { term, last_index, last_term, commit, applied } = rescue.standing();
    let (new_index, new_term) = rescue.beginning();
    Ok(RecoverPlan {
        cluster_id: cluster.id.to_string(),
        member: MemberPlan::of(member),
        term,
        last_term,
        last_index,
        committed_index: commit,
        applied_index: applied,
        gone: gone.map(MemberPlan::of).collect(),
        node_count: tables.nodes.values().filter(|node| node.state.is_admitted()).count() as u64,
        layout_epoch: tables.transition.map(|transition| transition.current.get()).unwrap_or_default(),
        recovery: cluster.recovery.next().get(),
        new_index,
        new_term,
    })
}
