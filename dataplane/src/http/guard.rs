//! What is tied to the life of a response body rather than of its head: the in-flight permit, the
//! connection's phase, and the record of a transfer that is settled when the last byte has left or the
//! client has gone.

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

    /// Counts bytes that were handed to the connection.
    pub fn sent(&mut self, bytes: u64) {
        if let Some(transfer) = &mut self.transfer {
            transfer.sent(bytes);
        }
    }

    /// Marks the transfer as broken off by us.
    pub fn failed(&mut self) {
        if let Some(transfer) = &mut self.transfer {
            transfer.failed();
        }
    }
}
