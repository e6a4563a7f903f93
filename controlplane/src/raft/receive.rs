//! Taking in a state from the leader: begun by its message, frame by frame, and at the end handed to raft.
//!
//! One at a time: a newer one takes the place of one that is coming in. Invariant: what is staged is not the state in
//! use, so that whatever goes wrong here leaves the old one.

use bytes::Bytes;
use fail::fail_point;
use raft::eraftpb::MessageType;

use super::disk::Disk;
use super::error::{Fatal, MessageError, SnapshotError};
use super::machine::Machine;
use super::peer::Peer;
use super::snapshot::{Incoming, IncomingId, NotVerified};
use super::wire::Content;

impl<D: Disk, M: Machine> Peer<D, M> {
    /// A snapshot is announced by this message.
    pub fn snapshot_begin(&mut self, message: Bytes) -> Result<IncomingId, SnapshotError> {
        if self.is_dead {
            return Err(SnapshotError::Stopped);
        }
        // What is staged belongs to a state that is about to be installed.
        if self.verified.is_some() {
            return Err(SnapshotError::Superseded);
        }
        let received = self.receive(message).map_err(SnapshotError::Message)?;
        let malformed = |reason| SnapshotError::Message(MessageError::Malformed { reason });
        let Content::Raft(message) = received.content else { return Err(malformed("it is no snapshot")) };
        if message.msg_type != i32::from(MessageType::MsgSnapshot) || message.get_snapshot().is_empty() {
            return Err(malformed("it is no snapshot"));
        }
        self.incoming_count += 1;
        let incoming = Incoming::new(IncomingId(self.incoming_count), message)?;
        self.raw.mut_store().disk_mut().stage_begin().map_err(|error| {
            self.disk_failed(error);
            SnapshotError::Stopped
        })?;
        let id = incoming.id;
        self.incoming = Some(incoming);
        Ok(id)
    }

    /// The next frame of a snapshot.
    pub fn snapshot_frame(&mut self, id: IncomingId, frame: Bytes) -> Result<(), SnapshotError> {
        if self.is_dead {
            return Err(SnapshotError::Stopped);
        }
        let Some(incoming) = self.incoming.as_mut().filter(|incoming| incoming.id == id) else {
            return Err(SnapshotError::Superseded);
        };
        fail_point!("raft::snapshot::receive_frame");
        let staged = incoming.frame(frame).map(|records| self.raw.mut_store().disk_mut().stage(&records));
        match staged {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                self.disk_failed(error);
                Err(SnapshotError::Stopped)
            }
            Err(error) => {
                self.incoming = None;
                Err(error)
            }
        }
    }

    /// All frames were given: verifies the state and hands it to raft. It is installed at the next [`Self::ready`].
    pub fn snapshot_end(&mut self, id: IncomingId) -> Result<(), SnapshotError> {
        if self.is_dead {
            return Err(SnapshotError::Stopped);
        }
        let Some(incoming) = self.incoming.take_if(|incoming| incoming.id == id) else {
            return Err(SnapshotError::Superseded);
        };
        match incoming.verify(&self.machine, self.raw.store().disk()) {
            Ok(verified) => self.verified = Some(verified),
            Err(NotVerified::Content(error)) => return Err(error),
            Err(NotVerified::Disk(error)) => {
                self.disk_failed(error);
                return Err(SnapshotError::Stopped);
            }
        }
        fail_point!("raft::snapshot::verified");
        // A leader that is gone by now is answered like any other late message.
        let _ = self.raw.step(*incoming.message);
        self.after_step();
        Ok(())
    }

    /// The sender is gone before the end.
    pub fn snapshot_abort(&mut self, id: IncomingId) {
        self.incoming.take_if(|incoming| incoming.id == id);
    }

    /// Notes why this peer ends; the next [`Self::ready`] says so.
    pub(super) fn die(&mut self, fatal: Fatal) -> Fatal {
        self.fatal.get_or_insert(fatal).clone()
    }
}
