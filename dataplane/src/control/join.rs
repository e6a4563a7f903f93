//! Joining: once, with a token, for a certificate. After that the node goes on by itself.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cluster::{Address, Datacenter, NodeName};
use common::clock::Clock;
use common::error_chain::ErrorChain;
use identity::{
    Bundle, ClientTls, Connector, CredentialFiles, Credentials, JoinKind, JoinToken, KeyRequest,
    StoredCredentials, Who,
};
use proto::join::v1::join_service_client::JoinServiceClient;
use proto::join::v1::{JoinNodeRequest, JoinNodeResponse};
use proto::{ErrorCode, Fault};
use rustls_pki_types::CertificateDer;

/// Connecting to a control node.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest that a control node may take to let a node in.
const JOIN_TIMEOUT: Duration = Duration::from_secs(15);
/// Where control nodes are, as they said when this node joined.
const MEMBERS_FILE: &str = "members";

/// How a node that has no credentials yet gets them.
#[derive(Clone, Debug)]
pub enum NodeBegin {
    /// It joins a cluster.
    Join {
        /// Control nodes; the first that answers is asked.
        servers: Vec<Address>,
        /// What it was invited with.
        token: JoinToken,
    },
    /// It gets none: only a node that was here before goes on.
    Resume {
        /// Control nodes that are tried before those that it knows.
        servers: Vec<Address>,
    },
}

/// Who a node is and where it is reached.
#[derive(Clone, Debug)]
pub struct NodeIdentity {
    /// Its name.
    pub name: NodeName,
    /// The region that it is in.
    pub datacenter: Datacenter,
    /// Where other nodes reach it.
    pub rpc: Address,
    /// Where clients reach it.
    pub http: Address,
    /// What it runs.
    pub version: String,
}

/// Why a node cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The directory cannot be made or used.
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
    #[error("{} belongs to no cluster: join one with --join and --join-token", path.display())]
    Nobody {
        /// The directory.
        path: PathBuf,
    },
    /// They are another's.
    #[error("the credentials in {} are those of {who}, not of node {name}", path.display())]
    Other {
        /// The directory.
        path: PathBuf,
        /// Whose they are.
        who: Who,
        /// Who this is.
        name: NodeName,
    },
    /// The token is for another kind or name.
    #[error("the join token is for {kind} {token}, not for node {name}")]
    OtherToken {
        /// Its kind.
        kind: JoinKind,
        /// Its name.
        token: NodeName,
        /// Ours.
        name: NodeName,
    },
    /// No control node let it in.
    #[error("join through {server}")]
    Refused {
        /// Who was asked last.
        server: Address,
        /// What it said.
        #[source]
        source: Fault,
    },
    /// What a control node answered cannot be used.
    #[error("use what {server} answered: {reason}")]
    Answer {
        /// Who was asked.
        server: Address,
        /// What is wrong.
        reason: String,
    },
}

/// Takes up the node in `folder`, or joins: its credentials, and where control nodes are.
pub async fn prepare(
    folder: &Path,
    identity: &NodeIdentity,
    begin: NodeBegin,
    clock: &Arc<dyn Clock>,
) -> Result<(Credentials, Vec<Address>), JoinError> {
    let wrong = |source| JoinError::Folder { path: folder.to_owned(), source };
    fs::create_dir_all(folder).map_err(wrong)?;
    let files = CredentialFiles::new(folder);
    if let Some(credentials) = files.load()? {
        let who = &credentials.identity().who;
        if *who != Who::Node(identity.name.clone()) {
            let (path, who, name) = (folder.to_owned(), who.clone(), identity.name.clone());
            return Err(JoinError::Other { path, who, name });
        }
        let (NodeBegin::Join { mut servers, .. } | NodeBegin::Resume { mut servers }) = begin;
        servers.extend(joined_through(folder).map_err(wrong)?);
        return Ok((credentials, servers));
    }
    match begin {
        NodeBegin::Resume { .. } => Err(JoinError::Nobody { path: folder.to_owned() }),
        NodeBegin::Join { servers, token } => join(folder, &files, identity, servers, &token, clock).await,
    }
}

async fn join(
    folder: &Path,
    files: &CredentialFiles,
    identity: &NodeIdentity,
    servers: Vec<Address>,
    token: &JoinToken,
    clock: &Arc<dyn Clock>,
) -> Result<(Credentials, Vec<Address>), JoinError> {
    if token.kind != JoinKind::Node || token.name != identity.name {
        let (kind, token, name) = (token.kind, token.name.clone(), identity.name.clone());
        return Err(JoinError::OtherToken { kind, token, name });
    }
    let key = files.joining_key()?;
    let request = JoinNodeRequest {
        secret: Bytes::copy_from_slice(token.secret.expose()),
        name: identity.name.to_string(),
        certificate_request: Bytes::copy_from_slice(key.request()),
        rpc_address: identity.rpc.to_string(),
        listen: identity.http.to_string(),
        datacenter: identity.datacenter.to_string(),
        version: identity.version.clone(),
    };
    let tls = ClientTls::Joiner { cluster: token.cluster, fingerprint: token.fingerprint };
    let mut last = None;
    for server in servers {
        match ask(&server, &tls, clock, request.clone()).await {
            Ok(answer) => return take(folder, files, &server, answer, &key),
            Err(source) => last = Some((server, source)),
        }
    }
    let (server, source) = last.ok_or_else(|| JoinError::Nobody { path: folder.to_owned() })?;
    Err(JoinError::Refused { server, source })
}

async fn ask(
    server: &Address,
    tls: &ClientTls,
    clock: &Arc<dyn Clock>,
    request: JoinNodeRequest,
) -> Result<JoinNodeResponse, Fault> {
    let connector = Connector::new(tls.clone(), Arc::clone(clock), CONNECT_TIMEOUT);
    let channel = connector
        .channel(server.as_str())
        .map_err(|error| Fault::new(ErrorCode::Unavailable, ErrorChain::new(&error).to_string()))?;
    let mut request = tonic::Request::new(request);
    request.set_timeout(JOIN_TIMEOUT);
    let answer = JoinServiceClient::new(channel).join_node(request).await;
    answer.map(tonic::Response::into_inner).map_err(|status| Fault::of_status(&status))
}

fn take(
    folder: &Path,
    files: &CredentialFiles,
    server: &Address,
    answer: JoinNodeResponse,
    key: &KeyRequest,
) -> Result<(Credentials, Vec<Address>), JoinError> {
    let wrong = |reason: String| JoinError::Answer { server: server.clone(), reason };
    let given = answer.credentials.ok_or_else(|| wrong("no credentials".to_owned()))?;
    let certificates = |all: Vec<Bytes>| all.into_iter().map(|der| CertificateDer::from(der.to_vec()));
    let bundle = Bundle::new(certificates(given.authorities)).map_err(|error| wrong(error.to_string()))?;
    let chain = certificates(given.certificate_chain).collect();
    let mut known: Vec<Address> =
        answer.members.iter().filter_map(|member| Address::parse(&member.rpc_address).ok()).collect();
    if !known.contains(server) {
        known.push(server.clone());
    }
    let text = known.iter().map(Address::as_str).collect::<Vec<_>>().join("\n");
    let path = folder.join(MEMBERS_FILE);
    common::durable_file::replace(&path, text.as_bytes())
        .map_err(|source| JoinError::Folder { path, source })?;
    // Last: where credentials are, the node has joined.
    let stored = StoredCredentials { chain, key: key.private_key(), bundle };
    Ok((files.store(&stored)?, known))
}

/// Where control nodes were when the node in `folder` joined; nowhere before that.
pub fn joined_through(folder: &Path) -> io::Result<Vec<Address>> {
    match fs::read_to_string(folder.join(MEMBERS_FILE)) {
        Ok(text) => Ok(text.lines().filter_map(|line| Address::parse(line).ok()).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}
