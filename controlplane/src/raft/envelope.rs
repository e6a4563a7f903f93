//! What stands before a proposal in its log entry: version, kind, and the request's id, by which its waiter is found.
//!
//! Layout: version (1 byte), kind (1 byte), request id (16 bytes, big-endian), then the command. Invariant: an
//! envelope of another version or kind is an error, which stops the member.

use bytes::{BufMut as _, Bytes, BytesMut};

use super::machine::RequestId;

const VERSION: u8 = 1;
const COMMAND: u8 = 1;
const MEMBERS: u8 = 2;
const HEAD_BYTES: usize = 18;

/// What an entry is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Purpose {
    /// A command for the state machine.
    Command,
    /// A change of members, whose content is raft's.
    Members,
}

/// An opened envelope.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Envelope {
    pub(super) purpose: Purpose,
    pub(super) request: RequestId,
    pub(super) command: Bytes,
}

pub(super) fn seal(purpose: Purpose, request: RequestId, command: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(HEAD_BYTES + command.len());
    bytes.put_u8(VERSION);
    bytes.put_u8(match purpose {
        Purpose::Command => COMMAND,
        Purpose::Members => MEMBERS,
    });
    bytes.put_u128(request.get());
    bytes.put_slice(command);
    bytes.freeze()
}

pub(super) fn open(bytes: &Bytes) -> Result<Envelope, &'static str> {
    let Some((head, _)) = bytes.split_first_chunk::<HEAD_BYTES>() else {
        return Err("it is shorter than an envelope");
    };
    let [version, kind, id @ ..] = *head;
    if version != VERSION {
        return Err("its envelope is of another version");
    }
    let purpose = match kind {
        COMMAND => Purpose::Command,
        MEMBERS => Purpose::Members,
        _ => return Err("its envelope is of an unknown kind"),
    };
    let request = RequestId::new(u128::from_be_bytes(id));
    Ok(Envelope { purpose, request, command: bytes.slice(HEAD_BYTES..) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens() {
        for purpose in [Purpose::Command, Purpose::Members] {
            let sealed = seal(purpose, RequestId::new(7 << 100), b"abc");
            let opened = open(&sealed).unwrap();
            assert_eq!((opened.purpose, opened.request), (purpose, RequestId::new(7 << 100)));
            assert_eq!(opened.command, &b"abc"[..]);
        }
    }

    #[test]
    fn the_first_version_stays_readable() {
        let golden = b"\x01\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x05hi";
        assert_eq!(seal(Purpose::Command, RequestId::new(5), b"hi"), &golden[..]);
    }

    #[test]
    fn what_is_unknown_is_refused() {
        let sealed = seal(Purpose::Command, RequestId::new(1), b"");
        for (at, byte) in [(0, 2), (1, 0), (1, 3)] {
            let mut other = sealed.to_vec();
            other[at] = byte;
            assert!(open(&other.into()).is_err());
        }
        assert!(open(&sealed.slice(..17)).is_err());
    }
}
