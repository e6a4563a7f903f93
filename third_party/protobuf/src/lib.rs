//! What crate `raft` calls of protobuf 2, for every message of prost: sizes, writing, reading. Nothing else of
//! protobuf is here, so a decoder that must not be reachable is not.

#![forbid(unsafe_code)]

/// Why bytes are no message.
pub use prost::DecodeError as ProtobufError;

/// The methods that raft calls.
pub trait Message {
    /// Length of the encoding in bytes.
    fn compute_size(&self) -> u32;

    /// The encoding. It cannot fail; the type is what the caller expects.
    fn write_to_bytes(&self) -> Result<Vec<u8>, ProtobufError>;

    /// Reads fields from an encoding over those that are there.
    fn merge_from_bytes(&mut self, bytes: &[u8]) -> Result<(), ProtobufError>;
}

impl<M: prost::Message> Message for M {
    fn compute_size(&self) -> u32 {
        u32::try_from(self.encoded_len()).unwrap_or(u32::MAX)
    }

    fn write_to_bytes(&self) -> Result<Vec<u8>, ProtobufError> {
        Ok(self.encode_to_vec())
    }

    fn merge_from_bytes(&mut self, bytes: &[u8]) -> Result<(), ProtobufError> {
        self.merge(bytes)
    }
}
