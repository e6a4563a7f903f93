//! Hashing an entry's content, inflating it first where needed, in constant memory.
//!
//! Invariant: content is never kept; it passes through one output buffer into SHA-256 and CRC-32.

use flate2::{Decompress, FlushDecompress, Status};
use sha2::{Digest, Sha256};

/// Bytes inflated at a time: enough that copying the 32 KiB window between calls hardly counts, little
/// enough that the hashes still find them in the processor's cache.
const OUTPUT_BYTES: usize = 64 << 10;

/// SHA-256, CRC-32 and length of what passed.
pub(super) struct Sink {
    sha256: Sha256,
    crc: crc32fast::Hasher,
    size: u64,
}

/// What a [`Sink`] saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) sha256: [u8; 32],
    pub(super) crc: u32,
    pub(super) size: u64,
}

impl Sink {
    pub(super) fn new() -> Self {
        Self { sha256: Sha256::new(), crc: crc32fast::Hasher::new(), size: 0 }
    }

    pub(super) fn absorb(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        self.crc.update(bytes);
        self.size += bytes.len() as u64;
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// What was seen since the last call.
    pub(super) fn finish(&mut self) -> Content {
        let sha256 = self.sha256.finalize_reset().into();
        let crc = std::mem::take(&mut self.crc).finalize();
        Content { sha256, crc, size: std::mem::take(&mut self.size) }
    }
}

/// Why inflating cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InflateFault {
    /// Not a deflate stream.
    Malformed,
    /// More content than allowed.
    TooLong,
}

/// An inflater whose buffers are reused from entry to entry. They come into being with the first entry
/// that needs them: a zip that is known already is verified without.
#[derive(Default)]
pub(super) struct Inflater(Option<Buffers>);

struct Buffers {
    state: Decompress,
    output: Box<[u8]>,
}

impl Buffers {
    fn new() -> Self {
        Self { state: Decompress::new(false), output: vec![0; OUTPUT_BYTES].into_boxed_slice() }
    }
}

impl Inflater {
    /// Makes ready for the next stream.
    pub(super) fn reset(&mut self) {
        if let Some(buffers) = &mut self.0 {
            buffers.state.reset(false);
        }
    }

    /// Compressed bytes of this stream taken so far.
    pub(super) fn consumed(&self) -> u64 {
        self.0.as_ref().map_or(0, |buffers| buffers.state.total_in())
    }

    /// Inflates `input` into `sink`, at most `size_max` bytes for the whole stream. Returns how much of it
    /// was taken and whether the stream has ended; all of it is taken unless it has.
    pub(super) fn push(
        &mut self,
        input: &[u8],
        sink: &mut Sink,
        size_max: u64,
    ) -> Result<(usize, bool), InflateFault> {
        let Buffers { state, output } = self.0.get_or_insert_with(Buffers::new);
        let mut taken = 0;
        loop {
            let rest = input.get(taken..).unwrap_or(&[]);
            let before = (state.total_in(), state.total_out());
            // `Finish` only promises that the rest of a small stream may be there already, which spares
            // the inflater its own window; it is allowed to be wrong.
            let status = state
                .decompress(rest, output, FlushDecompress::Finish)
                .map_err(|_| InflateFault::Malformed)?;
            let used = (state.total_in() - before.0) as usize;
            let made = (state.total_out() - before.1) as usize;
            taken += used;
            sink.absorb(output.get(..made).unwrap_or(&[]));
            if sink.size() > size_max {
                return Err(InflateFault::TooLong);
            }
            if status == Status::StreamEnd {
                return Ok((taken, true));
            }
            // A full buffer may hide more output; else more input is needed.
            if made < output.len() {
                return if taken == input.len() { Ok((taken, false)) } else { Err(InflateFault::Malformed) };
            }
        }
    }
}
