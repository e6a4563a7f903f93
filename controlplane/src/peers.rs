//! The other control nodes: where they are, and channels to them, each of which accepts that very member and no other.
//!
//! Addresses come from the truth; before there is any, from the list that a joiner was given.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cluster::{Address, MemberId};
use common::clock::Clock;
use identity::{ClientTls, Connector, Expect, HotCredentials, KeepAlive};
use parking_lot::Mutex;
use proto::limits::MESSAGE_BYTES_MAX;
use proto::raft::v1::peer_service_client::PeerServiceClient;
use proto::raft::v1::raft_service_client::RaftServiceClient;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Request, Status};

use crate::truth::Shared;

/// Connecting, handshake included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A connection on which nothing is heard for so long is asked, and given up when it does not answer in time: both together are
/// below the time that a half-open connection may last.
const KEEP_ALIVE: KeepAlive = KeepAlive { interval: Duration::from_secs(1), timeout: Duration::from_secs(2) };

/// Carries calls to another member.
pub(crate) type Line = InterceptedService<Channel, TellRecovery>;

/// Says with each call how often the cluster was recovered, as this member knows. One without a state says nothing.
#[derive(Clone, Debug)]
pub(crate) struct TellRecovery(Shared);

impl Interceptor for TellRecovery {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(recovery) = self.0.recovery() {
            proto::recovery::tell(request.metadata_mut(), recovery.get());
        }
        Ok(request)
    }
}

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct Peers {
    me: MemberId,
    shared: Shared,
    credentials: Arc<HotCredentials>,
    clock: Arc<dyn Clock>,
    known: Mutex<BTreeMap<MemberId, Known>>,
}

#[derive(Debug)]
struct Known {
    address: Address,
    channel: Option<Channel>,
}

impl Peers {
    /// Channels with these credentials, for member `me`.
    pub(crate) fn new(
        me: MemberId,
        shared: Shared,
        credentials: Arc<HotCredentials>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { me, shared, credentials, clock, known: Mutex::default() }
    }

    /// Takes up where members are. A channel stays as long as its address does.
    pub(crate) fn update(&self, addresses: impl IntoIterator<Item = (MemberId, Address)>) {
        let mut known = self.known.lock();
        let mut before = std::mem::take(&mut *known);
        for (member, address) in addresses {
            let kept = before.remove(&member).filter(|kept| kept.address == address);
            known.insert(member, kept.unwrap_or(Known { address, channel: None }));
        }
    }

    /// Where all members are, this one included.
    pub(crate) fn addresses(&self) -> Vec<Address> {
        self.known.lock().values().map(|known| known.address.clone()).collect()
    }

    /// Talks Raft to a member.
    pub(crate) fn raft(&self, member: MemberId) -> Option<RaftServiceClient<Line>> {
        let client = RaftServiceClient::new(self.line(member)?);
        Some(client.max_decoding_message_size(MESSAGE_BYTES_MAX).max_encoding_message_size(MESSAGE_BYTES_MAX))
    }

    /// Talks about everything else to a member.
    pub(crate) fn peer(&self, member: MemberId) -> Option<PeerServiceClient<Line>> {
        let client = PeerServiceClient::new(self.line(member)?);
        Some(client.max_decoding_message_size(MESSAGE_BYTES_MAX).max_encoding_message_size(MESSAGE_BYTES_MAX))
    }

    fn line(&self, member: MemberId) -> Option<Line> {
        Some(InterceptedService::new(self.channel(member)?, TellRecovery(self.shared.clone())))
    }

    fn channel(&self, member: MemberId) -> Option<Channel> {
        if member == self.me {
            return None;
        }
        let mut known = self.known.lock();
        let known = known.get_mut(&member)?;
        if let Some(channel) = &known.channel {
            return Some(channel.clone());
        }
        let tls =
            ClientTls::Process { credentials: Arc::clone(&self.credentials), expect: Expect::Member(member) };
        let connector = Connector::new(tls, Arc::clone(&self.clock), CONNECT_TIMEOUT);
        let channel = connector.kept_alive(known.address.as_str(), KEEP_ALIVE).ok()?;
        known.channel = Some(channel.clone());
        Some(channel)
    }
}
