//! What members send each other: raft's messages, and digests of states, each with a head that says who sends it.
//!
//! Layout: version (1 byte), kind (1), cluster id (16), sender (8), incarnation of the sender's log (16), that of the
//! receiver's log as the sender knows it or 0 (16), then the message; numbers big-endian. Invariant: a head that is not
//! as expected is refused before anything behind it is read.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use cluster::{ClusterId, MemberId};
use prost::Message as _;
use raft::eraftpb::{Message, MessageType};

use super::disk::{Identity, Incarnation};
use super::error::MessageError;
use super::machine::Digest;

const VERSION: u8 = 1;
const RAFT: u8 = 1;
const DIGEST: u8 = 2;
const HEAD_BYTES: usize = 58;
/// Stands for a log that the sender has not met.
const UNKNOWN: u128 = 0;

/// A message behind its head.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Content {
    /// Raft's.
    Raft(Box<Message>),
    /// The sender's state at an index.
    Digest { index: u64, digest: Digest },
}

/// A message that came in.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Received {
    pub(super) from: MemberId,
    pub(super) incarnation: Incarnation,
    pub(super) content: Content,
}

/// Writes a message to somebody who is known with this log, or not yet.
pub(super) fn write(identity: &Identity, receiver: Option<Incarnation>, content: &Content) -> Bytes {
    let mut bytes = BytesMut::with_capacity(HEAD_BYTES + 64);
    bytes.put_u8(VERSION);
    bytes.put_u8(match content {
        Content::Raft(_) => RAFT,
        Content::Digest { .. } => DIGEST,
    });
    bytes.put_slice(identity.cluster.as_bytes());
    bytes.put_u64(identity.member.get());
    bytes.put_u128(identity.incarnation.0);
    bytes.put_u128(receiver.map_or(UNKNOWN, |receiver| receiver.0));
    match content {
        Content::Raft(message) => {
            bytes.reserve(message.encoded_len());
            // A buffer that grows has room for everything.
            let _ = message.encode(&mut bytes);
        }
        Content::Digest { index, digest } => {
            bytes.put_u64(*index);
            bytes.put_slice(&digest.0);
        }
    }
    bytes.freeze()
}

/// Reads a message that came to `us`.
pub(super) fn read(us: &Identity, mut bytes: Bytes) -> Result<Received, MessageError> {
    let malformed = |reason| MessageError::Malformed { reason };
    if bytes.len() < HEAD_BYTES {
        return Err(malformed("it is shorter than its head"));
    }
    if bytes.get_u8() != VERSION {
        return Err(malformed("it is of another version"));
    }
    let kind = bytes.get_u8();
    if ClusterId::from_bytes(bytes.get_u128().to_be_bytes()) != us.cluster {
        return Err(MessageError::OtherCluster);
    }
    let from = MemberId::new(bytes.get_u64()).ok_or(malformed("it is from nobody"))?;
    if from == us.member {
        return Err(malformed("it is from ourselves"));
    }
    let incarnation = Incarnation(bytes.get_u128());
    let receiver = bytes.get_u128();
    if receiver != UNKNOWN && receiver != us.incarnation.0 {
        return Err(MessageError::Disowned { by: from });
    }
    let content = match kind {
        RAFT => {
            let message = Message::decode(bytes).map_err(|_| malformed("it is no message of raft"))?;
            check(us, from, &message)?;
            Content::Raft(Box::new(message))
        }
        DIGEST => digest(bytes).ok_or(malformed("it is no digest"))?,
        _ => return Err(malformed("it is of an unknown kind")),
    };
    Ok(Received { from, incarnation, content })
}

fn digest(mut bytes: Bytes) -> Option<Content> {
    let index = bytes.try_get_u64().ok()?;
    let digest = Digest(bytes.as_ref().try_into().ok()?);
    Some(Content::Digest { index, digest })
}

/// Refuses what raft's own messages never say: some of it would be forwarded or make raft panic.
fn check(us: &Identity, from: MemberId, message: &Message) -> Result<(), MessageError> {
    let malformed = |reason| Err(MessageError::Malformed { reason });
    if message.from != from.get() {
        return malformed("its sender is another one inside");
    }
    if message.to != us.member.get() {
        return Err(MessageError::OtherMember { to: message.to });
    }
    match MessageType::try_from(message.msg_type) {
        Err(_) => malformed("raft does not know its type"),
        Ok(
            MessageType::MsgHup
            | MessageType::MsgBeat
            | MessageType::MsgUnreachable
            | MessageType::MsgSnapStatus
            | MessageType::MsgCheckQuorum,
        ) => malformed("raft sends this to itself only"),
        // Who wants these done is told who leads.
        Ok(MessageType::MsgPropose | MessageType::MsgTransferLeader) => malformed("nothing is forwarded"),
        Ok(MessageType::MsgReadIndex | MessageType::MsgReadIndexResp) if message.entries.len() != 1 => {
            malformed("a read has one context")
        }
        Ok(
            MessageType::MsgAppend
            | MessageType::MsgAppendResponse
            | MessageType::MsgRequestVote
            | MessageType::MsgRequestVoteResponse
            | MessageType::MsgSnapshot
            | MessageType::MsgHeartbeat
            | MessageType::MsgHeartbeatResponse
            | MessageType::MsgTimeoutNow
            | MessageType::MsgReadIndex
            | MessageType::MsgReadIndexResp
            | MessageType::MsgRequestPreVote
            | MessageType::MsgRequestPreVoteResponse,
        ) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(member: u64) -> Identity {
        Identity {
            cluster: ClusterId::from_bytes([7; 16]),
            member: MemberId::new(member).unwrap(),
            incarnation: Incarnation(u128::from(member) << 64),
        }
    }

    fn message(kind: MessageType) -> Content {
        let message = Message { msg_type: kind.into(), from: 1, to: 2, term: 5, ..Message::default() };
        Content::Raft(Box::new(message))
    }

    #[test]
    fn what_is_written_is_read() {
        for content in
            [message(MessageType::MsgAppend), Content::Digest { index: 1000, digest: Digest([3; 32]) }]
        {
            let received = read(&identity(2), write(&identity(1), None, &content)).unwrap();
            assert_eq!(received.content, content);
            assert_eq!((received.from.get(), received.incarnation), (1, identity(1).incarnation));
        }
    }

    #[test]
    fn strangers_and_misdirected_messages_are_refused() {
        let bytes = write(&identity(1), None, &message(MessageType::MsgHeartbeat));
        let other = Identity { cluster: ClusterId::from_bytes([8; 16]), ..identity(2) };
        assert_eq!(read(&other, bytes.clone()), Err(MessageError::OtherCluster));
        assert_eq!(read(&identity(3), bytes.clone()), Err(MessageError::OtherMember { to: 2 }));
        assert!(read(&identity(1), bytes).is_err(), "from ourselves");
        let disguised = write(&identity(3), None, &message(MessageType::MsgHeartbeat));
        assert!(read(&identity(2), disguised).is_err());
    }

    #[test]
    fn a_member_hears_that_it_is_known_with_another_log() {
        let heartbeat = message(MessageType::MsgHeartbeat);
        let known = |incarnation| {
            read(&identity(2), write(&identity(1), Some(Incarnation(incarnation)), &heartbeat)).map(drop)
        };
        assert_eq!(known(identity(2).incarnation.0), Ok(()));
        assert_eq!(known(77), Err(MessageError::Disowned { by: identity(1).member }));
    }

    #[test]
    fn what_no_member_sends_is_refused() {
        for kind in [
            MessageType::MsgPropose,
            MessageType::MsgTransferLeader,
            MessageType::MsgHup,
            MessageType::MsgReadIndex,
        ] {
            assert!(read(&identity(2), write(&identity(1), None, &message(kind))).is_err(), "{kind:?}");
        }
    }

    #[test]
    fn no_cut_or_changed_byte_panics() {
        let bytes = write(&identity(1), None, &message(MessageType::MsgAppend));
        for at in 0..bytes.len() {
            assert!(read(&identity(2), bytes.slice(..at)).is_err() || at >= HEAD_BYTES);
            let mut other = bytes.to_vec();
            other[at] ^= 0xff;
            let _ = read(&identity(2), other.into());
        }
    }
}
