//! Telling one data node of changes, from a revision on, and after a silence that there was none.
//!
//! Invariant: that there was none is said only by a member that has just made sure of it. One that is cut off from the others hears of
//! nothing: whoever follows it is sent away, to the next member.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cluster::view::for_nodes;
use cluster::{NodeName, Record, StateDigest};
use proto::limits::BATCH_BYTES_MAX;
use proto::node::v1 as pb;
use proto::node::v1::watch_records_response::Event;
use proto::{ErrorCode, Fault};
use tokio::sync::mpsc;
use tonic::Status;

use crate::control::Control;
use crate::watch::{Next, Told};

/// The longest silence of a watch: after it the node hears that nothing has changed.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(5);
/// How long a member may take to make sure of that: an election takes about half a second. Nodes give up after 15 s in which nothing came.
const MAKE_SURE_MAX: Duration = Duration::from_secs(5);

/// See the head of this file.
pub(super) struct Follower {
    pub(super) control: Arc<Control>,
    pub(super) name: NodeName,
    pub(super) revision: u64,
    /// When it was told something last.
    pub(super) told_at: Instant,
    pub(super) answers: mpsc::Sender<Result<pb::WatchRecordsResponse, Status>>,
}

/// The node reads no more, or was sent away.
struct Gone;

impl Follower {
    /// Tells until the node reads no more, or is sent away.
    pub(super) async fn run(mut self) {
        let mut revisions = self.control.hub.subscribe();
        if self.revision == 0 && self.resync().await.is_err() {
            return;
        }
        loop {
            revisions.borrow_and_update();
            if !self.is_admitted() {
                let fault = Fault::new(
                    ErrorCode::PermissionDenied,
                    format!("node {} was removed from the cluster", self.name),
                );
                self.send_away(fault).await;
                return;
            }
            if let Err(fault) = self.control.gate.still_followed() {
                self.send_away(fault).await;
                return;
            }
            if self.catch_up().await.is_err() {
                return;
            }
            // Not only when nothing is committed: most of it may be nothing that nodes are told.
            if self.told_at.elapsed() >= BOOKMARK_INTERVAL && self.bookmark().await.is_err() {
                return;
            }
            let silent_until = self.told_at + BOOKMARK_INTERVAL;
            tokio::select! {
                () = self.answers.closed() => return,
                changed = tokio::time::timeout_at(silent_until.into(), revisions.changed()) => {
                    if matches!(changed, Ok(Err(_))) {
                        // The process ends.
                        return;
                    }
                }
            }
        }
    }

    fn is_admitted(&self) -> bool {
        self.control
            .shared
            .read(|state| state.tables().nodes.get(&self.name).is_some_and(|node| node.state.is_admitted()))
    }

    /// Nothing was told for a while, as far as this member knows there was nothing to tell: says so, if it knows.
    async fn bookmark(&mut self) -> Result<(), Gone> {
        if let Err(fault) = self.control.read_recent(Instant::now() + MAKE_SURE_MAX).await {
            let text = format!("whether there is anything new is not known here: {fault}");
            self.send_away(Fault::new(ErrorCode::Unavailable, text)).await;
            return Err(Gone);
        }
        self.catch_up().await?;
        self.tell(Event::Bookmark(pb::RecordsBookmark { revision: self.revision })).await
    }

    async fn catch_up(&mut self) -> Result<(), Gone> {
        match self.control.hub.after(self.revision) {
            Next::Resync => self.resync().await,
            Next::Changes { changes, revision } => {
                for told in changes {
                    self.tell(Event::Changes(changes_of(&told))).await?;
                }
                self.revision = revision;
                Ok(())
            }
        }
    }

    /// Sends everything. What changes meanwhile comes after it, by revision.
    async fn resync(&mut self) -> Result<(), Gone> {
        let (revision, records) = self.control.shared.read(|state| {
            let told: BTreeMap<Vec<u8>, Record> = state
                .records()
                .filter_map(|record| for_nodes(&record))
                .map(|record| (record.key().encode(), record))
                .collect();
            (state.revision().get(), told)
        });
        self.tell(Event::ResyncBegin(pb::ResyncBegin { revision, record_count: records.len() as u64 }))
            .await?;
        let digest = StateDigest::of(records.values().cloned());
        let mut part = Vec::new();
        let mut bytes = 0;
        for (key, record) in records {
            let record = pb::Record { key: key.into(), value: record.encode().into() };
            let size = record.key.len() + record.value.len();
            if bytes + size > BATCH_BYTES_MAX && !part.is_empty() {
                self.tell(Event::ResyncPart(pb::ResyncPart { records: std::mem::take(&mut part) })).await?;
                bytes = 0;
            }
            bytes += size;
            part.push(record);
        }
        self.tell(Event::ResyncPart(pb::ResyncPart { records: part })).await?;
        let digest = Bytes::copy_from_slice(&digest.to_bytes());
        self.tell(Event::ResyncEnd(pb::ResyncEnd { revision, digest })).await?;
        self.revision = revision;
        Ok(())
    }

    async fn send_away(&self, fault: Fault) {
        // Who reads no more need not be told.
        let _ = self.answers.send(Err(fault.into())).await;
    }

    async fn tell(&mut self, event: Event) -> Result<(), Gone> {
        let answer = pb::WatchRecordsResponse { event: Some(event) };
        self.answers.send(Ok(answer)).await.map_err(|_| Gone)?;
        self.told_at = Instant::now();
        Ok(())
    }
}

fn changes_of(told: &Told) -> pb::RecordChanges {
    pb::RecordChanges {
        revision: told.revision,
        puts: told
            .puts
            .iter()
            .map(|(key, value)| pb::Record { key: key.clone(), value: value.clone() })
            .collect(),
        deletes: told.deletes.to_vec(),
    }
}
