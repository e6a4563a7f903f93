//! Raft's messages over gRPC: a queue and a stream for each member, and a stream of its own for each snapshot.
//!
//! Raft sends again what is lost, so nothing here waits for anybody: a queue that is full drops, a member that cannot be reached
//! is reported and tried again after a pause.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cluster::{ClusterId, MemberId, Outcome};
use parking_lot::Mutex;
use proto::limits::BATCH_BYTES_MAX;
use proto::raft::v1 as pb;
use proto::{ErrorCode, Fault};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use crate::peers::Peers;
use crate::raft::{OutgoingSnapshot, RaftHandle, Transport};
use crate::truth::Shared;

/// Messages that wait for one member; more are dropped.
const QUEUE_MESSAGES_MAX: usize = 1024;
/// Batches that are under way on one stream.
const BATCHES_MAX: usize = 4;
/// Messages of one batch.
const BATCH_MESSAGES_MAX: usize = 64;
/// Pauses after a member could not be reached.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_millis(500);
/// Frames of a snapshot that are read ahead.
const FRAMES_MAX: usize = 4;
/// The longest that sending a snapshot may take.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_mins(10);

/// See the head of this file. Cheap to clone.
#[derive(Clone)]
pub(crate) struct GrpcTransport {
    inner: Arc<Inner>,
}

struct Inner {
    cluster: ClusterId,
    me: MemberId,
    peers: Arc<Peers>,
    shared: Shared,
    runtime: tokio::runtime::Handle,
    stop: CancellationToken,
    queues: Mutex<BTreeMap<MemberId, mpsc::Sender<Bytes>>>,
    /// There once Raft's thread runs.
    raft: tokio::sync::OnceCell<RaftHandle<Outcome>>,
}

impl GrpcTransport {
    /// Sends for member `me`, on the runtime that this is called on, until `stop`.
    pub(crate) fn new(
        cluster: ClusterId,
        me: MemberId,
        peers: Arc<Peers>,
        shared: Shared,
        stop: CancellationToken,
    ) -> Self {
        let runtime = tokio::runtime::Handle::current();
        let queues = Mutex::default();
        let raft = tokio::sync::OnceCell::new();
        Self { inner: Arc::new(Inner { cluster, me, peers, shared, runtime, stop, queues, raft }) }
    }

    /// Says to whom failures are reported.
    pub(crate) fn report_to(&self, raft: RaftHandle<Outcome>) {
        let _ = self.inner.raft.set(raft);
    }

    /// Forgets members that are no more.
    pub(crate) fn retain(&self, stays: impl Fn(MemberId) -> bool) {
        self.inner.queues.lock().retain(|member, _| stays(*member));
    }
}

impl Transport for GrpcTransport {
    fn send(&self, to: MemberId, message: Bytes) {
        let mut queues = self.inner.queues.lock();
        let queue = queues.entry(to).or_insert_with(|| {
            let (sender, queue) = mpsc::channel(QUEUE_MESSAGES_MAX);
            let inner = Arc::clone(&self.inner);
            self.inner.runtime.spawn(async move { inner.serve(to, queue).await });
            sender
        });
        // Full: dropped.
        let _ = queue.try_send(message);
    }

    fn send_snapshot(&self, to: MemberId, snapshot: OutgoingSnapshot) {
        let inner = Arc::clone(&self.inner);
        self.inner.runtime.spawn(async move {
            let sending = tokio::time::timeout(SNAPSHOT_TIMEOUT, inner.snapshot(to, snapshot));
            let arrived = match inner.stop.run_until_cancelled(sending).await {
                Some(Ok(Ok(()))) => true,
                Some(Ok(Err(status))) => {
                    tracing::warn!(member = %to, %status, "failed to send a snapshot");
                    false
                }
                Some(Err(_)) => {
                    tracing::warn!(member = %to, "sending a snapshot took too long");
                    false
                }
                None => false,
            };
            if let Some(raft) = inner.raft.get() {
                raft.report_snapshot(to, arrived);
            }
        });
    }
}

impl Inner {
    fn envelope(&self, to: MemberId) -> pb::Envelope {
        pb::Envelope {
            cluster_id: Bytes::copy_from_slice(self.cluster.as_bytes()),
            from_member_id: self.me.get(),
            to_member_id: to.get(),
        }
    }

    /// Keeps a stream to a member open for as long as its queue is.
    async fn serve(&self, to: MemberId, mut queue: mpsc::Receiver<Bytes>) {
        let mut pause = PAUSE_MIN;
        let mut batch = Vec::new();
        loop {
            if batch.is_empty() && queue.recv_many(&mut batch, BATCH_MESSAGES_MAX).await == 0 {
                return;
            }
            let streaming = self.stream(to, &mut batch, &mut queue);
            match self.stop.run_until_cancelled(streaming).await {
                None | Some(Ended::QueueClosed) => return,
                Some(Ended::Broken { worked }) => {
                    if let Some(raft) = self.raft.get() {
                        raft.report_unreachable(to);
                    }
                    pause = if worked { PAUSE_MIN } else { (pause * 2).min(PAUSE_MAX) };
                    tokio::time::sleep(pause).await;
                    // What waited meanwhile is of no use to anybody.
                    batch.clear();
                    while queue.try_recv().is_ok() {}
                }
            }
        }
    }

    async fn stream(&self, to: MemberId, batch: &mut Vec<Bytes>, queue: &mut mpsc::Receiver<Bytes>) -> Ended {
        let Some(mut client) = self.peers.raft(to) else { return Ended::Broken { worked: false } };
        let (requests, stream) = mpsc::channel(BATCHES_MAX);
        let exchange = client.exchange(ReceiverStream::new(stream));
        let mut exchange = std::pin::pin!(exchange);
        let mut worked = false;
        loop {
            for messages in batches(std::mem::take(batch)) {
                let request = pb::ExchangeRequest { envelope: Some(self.envelope(to)), messages };
                tokio::select! {
                    biased;
                    ended = &mut exchange => {
                        self.ended(to, ended);
                        return Ended::Broken { worked };
                    }
                    sent = requests.send(request) => {
                        if sent.is_err() {
                            return Ended::Broken { worked };
                        }
                        worked = true;
                    }
                }
            }
            tokio::select! {
                biased;
                ended = &mut exchange => {
                    self.ended(to, ended);
                    return Ended::Broken { worked };
                }
                received = queue.recv_many(batch, BATCH_MESSAGES_MAX) => {
                    if received == 0 {
                        return Ended::QueueClosed;
                    }
                }
            }
        }
    }

    /// A stream ended. Who says that this member was left behind knows of a recovery that this member has no part in.
    fn ended(&self, to: MemberId, ended: Result<tonic::Response<pb::ExchangeResponse>, tonic::Status>) {
        let Err(status) = ended else { return };
        if Fault::of_status(&status).code == ErrorCode::LeftBehind {
            self.shared.leave_behind();
        }
        tracing::debug!(member = %to, %status, "stream to a member ended");
    }

    async fn snapshot(&self, to: MemberId, snapshot: OutgoingSnapshot) -> Result<(), tonic::Status> {
        let Some(mut client) = self.peers.raft(to) else {
            return Err(tonic::Status::unavailable("its address is not known"));
        };
        let (parts, stream) = mpsc::channel(FRAMES_MAX);
        let header = pb::SnapshotHeader { envelope: Some(self.envelope(to)), message: snapshot.message() };
        let reading = tokio::task::spawn_blocking(move || read_frames(header, snapshot, &parts));
        client.install_snapshot(ReceiverStream::new(stream)).await?;
        reading.await.map_err(|_| tonic::Status::internal("reading the snapshot was broken off"))?
    }
}

/// How a stream ended.
enum Ended {
    QueueClosed,
    Broken { worked: bool },
}

fn read_frames(
    header: pb::SnapshotHeader,
    mut snapshot: OutgoingSnapshot,
    parts: &mpsc::Sender<pb::InstallSnapshotRequest>,
) -> Result<(), tonic::Status> {
    use pb::install_snapshot_request::Part;
    let send = |part| {
        let request = pb::InstallSnapshotRequest { part: Some(part) };
        parts
            .blocking_send(request)
            .map_err(|_| tonic::Status::cancelled("the other side has ended the stream"))
    };
    send(Part::Header(header))?;
    while let Some(frame) =
        snapshot.next_frame().map_err(|error| tonic::Status::internal(error.to_string()))?
    {
        send(Part::Frame(frame))?;
    }
    send(Part::End(pb::SnapshotEnd {}))
}

/// Messages in batches that fit into a gRPC message.
fn batches(messages: Vec<Bytes>) -> Vec<Vec<Bytes>> {
    let mut all: Vec<Vec<Bytes>> = Vec::new();
    let mut bytes = usize::MAX;
    for message in messages {
        if bytes.saturating_add(message.len()) > BATCH_BYTES_MAX {
            all.push(Vec::new());
            bytes = 0;
        }
        bytes += message.len();
        if let Some(last) = all.last_mut() {
            last.push(message);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_keep_order_and_bounds() {
        let sizes = [10, BATCH_BYTES_MAX - 5, 3, BATCH_BYTES_MAX + 7, 1];
        let messages: Vec<_> = sizes.iter().map(|size| Bytes::from(vec![0; *size])).collect();
        let lengths: Vec<Vec<_>> =
            batches(messages).iter().map(|batch| batch.iter().map(Bytes::len).collect()).collect();
        assert_eq!(lengths, [vec![10], vec![BATCH_BYTES_MAX - 5, 3], vec![BATCH_BYTES_MAX + 7], vec![1]]);
        assert!(batches(Vec::new()).is_empty());
    }
}
