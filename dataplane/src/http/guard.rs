//! What is tied to the life of a response body rather than of its head: the in-flight permit, the
//! connection's phase, and the record of a transfer that is settled when the last byte has left or the
//! client has gone. Moves into the body's last [`Piece`](super::piece::Piece).

use super::connection::Answering;
use super::limits::InFlightPermit;
use super::observe::Transfer;

/// Dropped with the body; dropping it frees the permit and settles the transfer.
#[derive(Default)]
pub struct Guard {
    permit: Option<InFlightPermit>,
    answering: Option<Answering>,
    transfer: Option<Box<Transfer>>,
}

impl Guard {
    /// Keeps an in-flight permit until the body is gone.
    pub fn hold_permit(&mut self, permit: InFlightPermit) {
        self.permit = Some(permit);
    }

    /// Tells the connection when the answer is over.
    pub fn hold_answering(&mut self, answering: Answering) {
        self.answering = Some(answering);
    }

    /// Settles `transfer` when the body is gone.
    pub fn hold_transfer(&mut self, transfer: Box<Transfer>) {
        self.transfer = Some(transfer);
    }

    /// Bytes of the body that may be handed over at once.
    pub fn piece_bytes_max(&self) -> usize {
        self.answering.as_ref().map_or(usize::MAX, Answering::piece_bytes_max)
    }

    /// The last bytes of the body have been handed over, and this guard with them.
    pub fn leave(&mut self) {
        if let Some(answering) = &mut self.answering {
            answering.leave();
        }
    }

    /// Counts bytes that were handed to the connection.
    pub fn sent(&mut self, bytes: u64) {
        if let Some(transfer) = &mut self.transfer {
            transfer.sent(bytes);
        }
    }

    /// Takes back bytes that were handed over and never left.
    pub fn unsent(&mut self, bytes: u64) {
        if let Some(transfer) = &mut self.transfer {
            transfer.unsent(bytes);
        }
    }

    /// Marks the transfer as broken off by us.
    pub fn failed(&mut self) {
        if let Some(transfer) = &mut self.transfer {
            transfer.failed();
        }
    }
}
