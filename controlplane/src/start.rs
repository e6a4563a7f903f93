//! How a member comes to be: it makes the cluster, joins one, or goes on with what is in its directory.
//!
//! Invariant: credentials are written last. Where they are, everything else a member needs was written before; where they are not,
//! nothing in the directory has ever taken part in anything, and is made anew.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use cluster::command::Bootstrap;
use cluster::record::{Certificate, Settings};
use cluster::{
    Actor, ActorRole, Address, Blob, ClusterId, Command, Datacenter, Generation, Hash, LogId, MemberId, Name,
    NodeName, Proposal, ReplicationFactor, RequestId, Serial, Timestamp, TokenName,
};
use common::clock::Clock;
use identity::{
    Authority, Bundle, ClientTls, Connector, CredentialFiles, Credentials, Grant, Host, JoinKind, JoinToken,
    KeyRequest, OperatorToken, SealingKey, SigningRequest, StoredCredentials, Who,
};
use proto::Fault;
use proto::join::v1::JoinMemberRequest;
use proto::join::v1::join_service_client::JoinServiceClient;
use rustls_pki_types::CertificateDer;

use crate::issue::KEY_PURPOSE;
use crate::raft::{Identity, Incarnation, LogStore, Members, OpenError};
use crate::services::convert::timestamp;

/// The member that makes a cluster.
const FIRST: MemberId = MemberId::ONE;
/// Replicas of each slot in a new cluster; with fewer nodes there is one on each.
const REPLICATION: u8 = 3;
/// The name of the first credential.
const FIRST_TOKEN: &str = "admin";
/// The proposal that makes the cluster, until it is carried out.
const BOOTSTRAP_FILE: &str = "bootstrap.proposal";
/// Where members were when this one joined: a number and an address a line.
const MEMBERS_FILE: &str = "members";
/// The folder of Raft's log and the records.
const STORE_FOLDER: &str = "raft";
/// Connecting to a member to join it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest that a member may take to let another in.
const JOIN_TIMEOUT: Duration = Duration::from_secs(15);

/// How a member that has no credentials yet gets them.
#[derive(Debug)]
pub enum Begin {
    /// It makes a cluster.
    Bootstrap,
    /// It joins one.
    Join {
        /// Members of it, the first that answers is asked.
        servers: Vec<Address>,
        /// What it was invited with.
        token: JoinToken,
    },
    /// It has none and gets none: only a member that was here before goes on.
    Resume,
}

/// What decides who a member is.
#[derive(Clone, Debug)]
pub(crate) struct Naming {
    /// Its name.
    pub name: NodeName,
    /// The region, for a new cluster.
    pub datacenter: Datacenter,
    /// Where others reach it.
    pub rpc: Address,
    /// What it runs.
    pub version: String,
}

/// Why a member cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The directory cannot be made or written.
    #[error("prepare {}", path.display())]
    Folder {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Credentials cannot be read or written.
    #[error("take up the credentials")]
    Files(#[from] identity::FilesError),
    /// There are none, and none can be had.
    #[error("{} belongs to no cluster: make one with --bootstrap, or join one with --join and --join-token", path.display())]
    Nobody {
        /// The directory.
        path: PathBuf,
    },
    /// They are a data node's.
    #[error("the credentials in {} are those of {who}, which is no control node", path.display())]
    OtherKind {
        /// The directory.
        path: PathBuf,
        /// Whose they are.
        who: Who,
    },
    /// The token is for another kind or name.
    #[error("the join token is for {kind} {token}, not for control node {name}")]
    OtherToken {
        /// Its kind.
        kind: JoinKind,
        /// Its name.
        token: NodeName,
        /// Ours.
        name: NodeName,
    },
    /// The authority, the certificate or a token cannot be made.
    #[error("make the cluster's authority: {0}")]
    Authority(String),
    /// No member let it in.
    #[error("join through {server}")]
    Refused {
        /// Who was asked last.
        server: Address,
        /// What it said.
        #[source]
        source: Fault,
    },
    /// What a member answered cannot be used.
    #[error("use what {server} answered: {reason}")]
    Answer {
        /// Who was asked.
        server: Address,
        /// What is wrong.
        reason: String,
    },
    /// Raft's store.
    #[error("open the log in {}", path.display())]
    Store {
        /// Its folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: OpenError,
    },
}

impl StartError {
    /// Whether another process uses the directory, or it is damaged.
    pub fn is_locked_or_damaged(&self) -> bool {
        matches!(self, Self::Store { .. } | Self::OtherKind { .. } | Self::Files(_))
    }
}

/// Everything a member is made of.
pub(crate) struct Member {
    pub(crate) cluster: ClusterId,
    pub(crate) id: MemberId,
    pub(crate) credentials: Credentials,
    pub(crate) sealing: SealingKey,
    pub(crate) bootstrap: Option<(PathBuf, Proposal)>,
    /// Members as they were when this one joined, to answer the first of them before any state has come.
    pub(crate) known: Vec<(MemberId, Address)>,
    /// Whether it has just come to be.
    pub(crate) is_new: bool,
}

/// Takes up the member in `folder`, or makes one. `shown` is where operators look for `ca.pem` and `admin.token`.
pub(crate) async fn prepare(
    folder: &Path,
    shown: &Path,
    naming: &Naming,
    begin: Begin,
    clock: &Arc<dyn Clock>,
) -> Result<Member, StartError> {
    fs::create_dir_all(folder).map_err(|source| StartError::Folder { path: folder.to_owned(), source })?;
    let files = CredentialFiles::new(folder);
    if let Some(credentials) = files.load()? {
        return resume(folder, &files, credentials, false);
    }
    // Nothing that is left here has ever taken part.
    let store = folder.join(STORE_FOLDER);
    match fs::remove_dir_all(&store) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            return Err(StartError::Folder { path: store, source });
        }
        Ok(()) | Err(_) => {}
    }
    let credentials = match begin {
        Begin::Resume => return Err(StartError::Nobody { path: folder.to_owned() }),
        Begin::Bootstrap => bootstrap(folder, shown, &files, naming, clock)?,
        Begin::Join { servers, token } => join(folder, shown, &files, naming, servers, token, clock).await?,
    };
    resume(folder, &files, credentials, true)
}

fn resume(
    folder: &Path,
    files: &CredentialFiles,
    credentials: Credentials,
    is_new: bool,
) -> Result<Member, StartError> {
    let identity = credentials.identity();
    let Who::Member(id) = identity.who else {
        return Err(StartError::OtherKind { path: folder.to_owned(), who: identity.who.clone() });
    };
    let path = folder.join(BOOTSTRAP_FILE);
    let bootstrap = match fs::read(&path) {
        Ok(bytes) => {
            let wrong =
                |error: cluster::ProposalError| StartError::Authority(format!("{}: {error}", path.display()));
            let proposal = Proposal::decode(&bytes).map_err(wrong)?;
            Some((path, proposal))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(source) => return Err(StartError::Folder { path, source }),
    };
    Ok(Member {
        cluster: identity.cluster,
        id,
        sealing: files.sealing_key()?,
        known: known(folder)?,
        bootstrap,
        credentials,
        is_new,
    })
}

/// Makes a cluster: its authority, its first member and its first credential. The rest follows from the proposal that is left
/// in the folder.
fn bootstrap(
    folder: &Path,
    shown: &Path,
    files: &CredentialFiles,
    naming: &Naming,
    clock: &Arc<dyn Clock>,
) -> Result<Credentials, StartError> {
    let failed = |error: &(dyn std::error::Error + 'static)| {
        StartError::Authority(common::error_chain::ErrorChain::new(error).to_string())
    };
    let random = |_| StartError::Authority("this system has no random source".to_owned());
    let cluster = identity::random_cluster_id().map_err(random)?;
    let authority = Authority::create(cluster, clock.now_us()).map_err(|error| failed(&error))?;
    let key = KeyRequest::make().map_err(|error| failed(&error))?;
    let request = SigningRequest::check(key.request()).map_err(|error| failed(&error))?;
    let host = Host::of_authority(naming.rpc.as_str()).map_err(|error| failed(&error))?;
    let grant = Grant { who: Who::Member(FIRST), hosts: BTreeSet::from([host]) };
    let issued = authority.sign(&request, &grant, clock.now_us()).map_err(|error| failed(&error))?;
    let sealing = SealingKey::random().map_err(|error| failed(&error))?;
    let sealed = sealing.seal(&authority.private_key(), KEY_PURPOSE).map_err(|error| failed(&error))?;
    let admin = OperatorToken::random().map_err(random)?;
    let log = Incarnation(rand::random());
    let bundle = Bundle::new([authority.certificate().clone()]).map_err(|error| failed(&error))?;
    let serial =
        Serial::parse(issued.facts.serial.trim_start_matches('0')).map_err(|error| failed(&error))?;
    let expires = u64::try_from(issued.facts.end_s).unwrap_or_default().saturating_mul(1000);
    let command = Bootstrap {
        cluster,
        datacenter: naming.datacenter.clone(),
        settings: Settings {
            replication: ReplicationFactor::new(REPLICATION).unwrap_or(ReplicationFactor::ONE),
            ..Settings::DEFAULT
        },
        member: naming.name.clone(),
        rpc: naming.rpc.clone(),
        log: log_id(log),
        certificate: Certificate {
            serial,
            expires: Timestamp::from_millis(expires),
            authority: Generation::new(1),
        },
        authority: Blob::new(authority.certificate()),
        sealed_key: Blob::new(&sealed),
        token: TokenName::parse(FIRST_TOKEN).map_err(|error| failed(&error))?,
        token_hash: Hash::from_bytes(*admin.secret.hash().as_bytes()),
    };
    let proposal = Proposal {
        request: RequestId::from_bytes(rand::random()),
        key: None,
        actor: Actor {
            name: Name::parse("bootstrap").map_err(|error| failed(&error))?,
            role: ActorRole::System,
        },
        at: timestamp(SystemTime::now()),
        why: None,
        command: Command::Bootstrap(Box::new(command)),
    };
    let bytes = proposal.encode().map_err(|error| failed(&error))?;
    let path = folder.join(BOOTSTRAP_FILE);
    common::durable_file::replace(&path, &bytes).map_err(|source| StartError::Folder { path, source })?;
    files.store_sealing_key(&sealing)?;
    let operators = CredentialFiles::new(shown);
    operators.store_bundle(&bundle)?;
    operators.store_admin_token(&admin)?;
    create_log(folder, cluster, FIRST, log, Some(&Members::of_voters([(FIRST, log)])))?;
    Ok(files.store(&StoredCredentials { chain: issued.chain, key: key.private_key(), bundle })?)
}

async fn join(
    folder: &Path,
    shown: &Path,
    files: &CredentialFiles,
    naming: &Naming,
    servers: Vec<Address>,
    token: JoinToken,
    clock: &Arc<dyn Clock>,
) -> Result<Credentials, StartError> {
    if token.kind != JoinKind::Member || token.name != naming.name {
        return Err(StartError::OtherToken {
            kind: token.kind,
            token: token.name,
            name: naming.name.clone(),
        });
    }
    let key = files.joining_key()?;
    let log = log_of(&key)?;
    let request = JoinMemberRequest {
        secret: Bytes::copy_from_slice(token.secret.expose()),
        name: naming.name.to_string(),
        certificate_request: Bytes::copy_from_slice(key.request()),
        rpc_address: naming.rpc.to_string(),
        version: naming.version.clone(),
        log_id: Bytes::copy_from_slice(log_id(log).as_bytes()),
    };
    let tls = ClientTls::Joiner { cluster: token.cluster, fingerprint: token.fingerprint };
    let mut last = None;
    for server in servers {
        match ask(&server, &tls, clock, request.clone()).await {
            Ok(answer) => {
                let wrong = |reason: String| StartError::Answer { server: server.clone(), reason };
                let id = MemberId::new(answer.member_id)
                    .ok_or_else(|| wrong("no member has number 0".to_owned()))?;
                let sealing = SealingKey::from_slice(&answer.sealing_key)
                    .ok_or_else(|| wrong("the sealing key has another length".to_owned()))?;
                let given = answer.credentials.ok_or_else(|| wrong("no credentials".to_owned()))?;
                let certificates =
                    |all: Vec<Bytes>| all.into_iter().map(|der| CertificateDer::from(der.to_vec()));
                let bundle =
                    Bundle::new(certificates(given.authorities)).map_err(|error| wrong(error.to_string()))?;
                let chain = certificates(given.certificate_chain).collect();
                let known: Vec<_> = answer
                    .members
                    .iter()
                    .map(|member| format!("{} {}", member.id, member.rpc_address))
                    .collect();
                let known = known.join("\n");
                let path = folder.join(MEMBERS_FILE);
                common::durable_file::replace(&path, known.as_bytes())
                    .map_err(|source| StartError::Folder { path, source })?;
                files.store_sealing_key(&sealing)?;
                CredentialFiles::new(shown).store_bundle(&bundle)?;
                // Nobody has a vote by this log: it learns from the leader who is in the group.
                create_log(folder, token.cluster, id, log, None)?;
                return Ok(files.store(&StoredCredentials { chain, key: key.private_key(), bundle })?);
            }
            Err(source) => last = Some((server, source)),
        }
    }
    let (server, source) = last.ok_or_else(|| StartError::Nobody { path: folder.to_owned() })?;
    Err(StartError::Refused { server, source })
}

async fn ask(
    server: &Address,
    tls: &ClientTls,
    clock: &Arc<dyn Clock>,
    request: JoinMemberRequest,
) -> Result<proto::join::v1::JoinMemberResponse, Fault> {
    let connector = Connector::new(tls.clone(), Arc::clone(clock), CONNECT_TIMEOUT);
    let channel = connector.channel(server.as_str()).map_err(|error| {
        Fault::new(proto::ErrorCode::Unavailable, common::error_chain::ErrorChain::new(&error).to_string())
    })?;
    let mut request = tonic::Request::new(request);
    request.set_timeout(JOIN_TIMEOUT);
    let answer = JoinServiceClient::new(channel).join_member(request).await;
    answer.map(tonic::Response::into_inner).map_err(|status| Fault::of_status(&status))
}

fn known(folder: &Path) -> Result<Vec<(MemberId, Address)>, StartError> {
    let path = folder.join(MEMBERS_FILE);
    match fs::read_to_string(&path) {
        Ok(text) => {
            let line = |line: &str| {
                let (id, address) = line.split_once(' ')?;
                Some((id.parse().ok()?, Address::parse(address).ok()?))
            };
            Ok(text.lines().filter_map(line).collect())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(StartError::Folder { path, source }),
    }
}

fn create_log(
    folder: &Path,
    cluster: ClusterId,
    member: MemberId,
    incarnation: Incarnation,
    members: Option<&Members>,
) -> Result<(), StartError> {
    let identity = Identity { cluster, member, incarnation };
    let created = LogStore::create(folder, identity, members);
    created.map(drop).map_err(|source| StartError::Store { path: folder.to_owned(), source })
}

/// The log of a member that joins with this key: who asks again with the key, since he did not hear the answer, asks for the same.
fn log_of(key: &KeyRequest) -> Result<Incarnation, StartError> {
    let request = SigningRequest::check(key.request())
        .map_err(|error| StartError::Authority(common::error_chain::ErrorChain::new(&error).to_string()))?;
    let hash = Hash::of(request.public_key());
    let (first, _) = hash.as_bytes().split_at(16);
    Ok(Incarnation(first.iter().fold(0, |log, byte| (log << 8) | u128::from(*byte))))
}

/// A log's id as the state machine has it.
fn log_id(log: Incarnation) -> LogId {
    LogId::from_bytes(log.0.to_be_bytes())
}
