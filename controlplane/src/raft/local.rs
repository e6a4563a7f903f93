//! Members of one process, for tests and for a member that is alone. Links can be cut in each direction by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use cluster::MemberId;
use parking_lot::Mutex;
use tokio::runtime::Handle;

use super::error::SnapshotError;
use super::handle::RaftHandle;
use super::snapshot::OutgoingSnapshot;
use super::transport::Transport;

/// Reaches nobody: for a member that is alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nowhere;

impl Transport for Nowhere {
    fn send(&self, _to: MemberId, _message: Bytes) {}

    fn send_snapshot(&self, _to: MemberId, _snapshot: OutgoingSnapshot) {}
}

/// Members that reach each other by a call.
pub struct LocalNetwork<A>(Arc<Inner<A>>);

struct Inner<A> {
    runtime: Handle,
    links: Mutex<Links<A>>,
}

struct Links<A> {
    members: BTreeMap<MemberId, RaftHandle<A>>,
    cut: BTreeSet<(MemberId, MemberId)>,
}

impl<A> Clone for LocalNetwork<A> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<A: Send + 'static> LocalNetwork<A> {
    /// Nobody yet. States are carried by tasks on `runtime`.
    pub fn new(runtime: Handle) -> Self {
        let links = Mutex::new(Links { members: BTreeMap::new(), cut: BTreeSet::new() });
        Self(Arc::new(Inner { runtime, links }))
    }

    /// A member comes, or comes back: the transport for it.
    pub fn join(&self, member: MemberId, handle: &RaftHandle<A>) -> LocalTransport<A> {
        self.0.links.lock().members.insert(member, handle.clone());
        LocalTransport { network: self.clone(), from: member }
    }

    /// A member is gone.
    pub fn leave(&self, member: MemberId) {
        self.0.links.lock().members.remove(&member);
    }

    /// Messages in this direction are lost from now on.
    pub fn cut(&self, from: MemberId, to: MemberId) {
        self.0.links.lock().cut.insert((from, to));
    }

    /// Nothing is lost any more.
    pub fn heal(&self) {
        self.0.links.lock().cut.clear();
    }

    fn reach(&self, from: MemberId, to: MemberId) -> Option<RaftHandle<A>> {
        let links = self.0.links.lock();
        if links.cut.contains(&(from, to)) { None } else { links.members.get(&to).cloned() }
    }
}

/// What one member sends through a [`LocalNetwork`].
pub struct LocalTransport<A> {
    network: LocalNetwork<A>,
    from: MemberId,
}

impl<A: Send + 'static> Transport for LocalTransport<A> {
    fn send(&self, to: MemberId, message: Bytes) {
        if let Some(receiver) = self.network.reach(self.from, to) {
            // Refused as it would be by a network.
            let _ = receiver.deliver(message);
        }
    }

    fn send_snapshot(&self, to: MemberId, snapshot: OutgoingSnapshot) {
        let (network, from) = (self.network.clone(), self.from);
        self.network.0.runtime.spawn(async move {
            let arrived = carry(&network, from, to, snapshot).await;
            if let Err(error) = &arrived {
                tracing::debug!(%error, to = to.get(), "snapshot did not arrive");
            }
            if let Some(sender) = network.reach(from, from) {
                sender.report_snapshot(to, arrived.is_ok());
            }
        });
    }
}

async fn carry<A: Send + 'static>(
    network: &LocalNetwork<A>,
    from: MemberId,
    to: MemberId,
    snapshot: OutgoingSnapshot,
) -> Result<(), SnapshotError> {
    let receiver = network.reach(from, to).ok_or(SnapshotError::Stopped)?;
    let mut receiving = receiver.receive_snapshot(snapshot.message()).await?;
    let mut snapshot = Some(snapshot);
    while let Some(mut reading) = snapshot.take() {
        // Reading waits for the disk.
        let read = tokio::task::spawn_blocking(move || {
            let frame = reading.next_frame();
            (frame, reading)
        });
        let Ok((Ok(frame), reading)) = read.await else { return Err(SnapshotError::Stopped) };
        let Some(frame) = frame else { break };
        if network.reach(from, to).is_none() {
            return Err(SnapshotError::Stopped);
        }
        receiving.frame(frame).await?;
        snapshot = Some(reading);
    }
    receiving.finish().await
}
