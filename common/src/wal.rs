//! Looks through a database's log before it is opened: is what is damaged only its torn end?
//!
//! `RocksDB` can either refuse any bad record, the torn tail of a power cut included, or stop at the first bad
//! one and drop what follows without a word. This module tells the two cases apart, so that a torn tail opens
//! and a damaged middle does not lose acknowledged writes in silence. It reads, and changes nothing.
//!
//! Format (`RocksDB`, `db/log_format.h`): blocks of 32 KiB; in them records of a masked CRC32C of type and
//! payload (4 bytes, little-endian), the payload's length (2), a type (1), for recyclable types a log number
//! (4), and the payload. A record never crosses a block; fewer than 7 bytes at a block's end are padding.

use std::io::Read;
use std::path::{Path, PathBuf};

const BLOCK_BYTES: usize = 32 * 1024;
const HEADER_BYTES: usize = 7;
const RECYCLABLE_HEADER_BYTES: usize = 11;
/// Types that carry a log number: recyclable full, first, middle, last; the same of later additions.
const RECYCLABLE_TYPES: [u8; 6] = [5, 6, 7, 8, 11, 131];
const CRC_MASK_DELTA: u32 = 0xa282_ead8;

/// What the logs hold.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every record is whole.
    Whole,
    /// A bad record with nothing readable after it: what a power cut leaves.
    TornTail {
        /// The file.
        log: PathBuf,
        /// Where the first bad record begins, in bytes.
        offset: u64,
    },
    /// A bad record with good ones after it.
    DamagedMiddle {
        /// The file.
        log: PathBuf,
        /// Where the first bad record begins, in bytes.
        offset: u64,
    },
}

/// Examines all logs in `dir`, oldest first. A folder that is not there has none.
pub fn examine(dir: &Path) -> std::io::Result<Verdict> {
    let mut torn: Option<(PathBuf, u64)> = None;
    for log in logs_in(dir)? {
        let mut walk = Walk::default();
        let mut file = std::fs::File::open(&log)?;
        let mut block = vec![0; BLOCK_BYTES];
        loop {
            let len = read_full(&mut file, &mut block)?;
            walk.block(block.get(..len).unwrap_or_default());
            if len < BLOCK_BYTES {
                break;
            }
        }
        if let (Some((log, offset)), true) = (&torn, walk.any_good) {
            return Ok(Verdict::DamagedMiddle { log: log.clone(), offset: *offset });
        }
        match walk.first_bad {
            Some(offset) if walk.good_after_bad => return Ok(Verdict::DamagedMiddle { log, offset }),
            Some(offset) if torn.is_none() => torn = Some((log, offset)),
            _ => {}
        }
    }
    Ok(torn.map_or(Verdict::Whole, |(log, offset)| Verdict::TornTail { log, offset }))
}

fn logs_in(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut logs = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let number =
            path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse::<u64>().ok());
        if let (Some(number), true) = (number, path.extension().is_some_and(|end| end == "log")) {
            logs.push((number, path));
        }
    }
    logs.sort();
    Ok(logs.into_iter().map(|(_, path)| path).collect())
}

fn read_full(file: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut len = 0;
    while let Some(rest) = buffer.get_mut(len..).filter(|rest| !rest.is_empty()) {
        match file.read(rest)? {
            0 => break,
            read => len += read,
        }
    }
    Ok(len)
}

/// Walk over one log, block by block.
#[derive(Debug, Default)]
struct Walk {
    /// Bytes of the blocks before.
    offset: u64,
    /// Where the first bad record begins.
    first_bad: Option<u64>,
    any_good: bool,
    good_after_bad: bool,
    /// A record's first part was seen, its last part not yet.
    open_fragment: Option<u64>,
}

/// What is at one place of a block.
enum Found<'a> {
    /// A record whose checksum holds: its type and whole length.
    Good { kind: u8, len: usize },
    /// Zeros up to the block's end: never written.
    Unwritten,
    /// Anything else.
    Bad,
    /// Too short for a header: padding, or the file's end.
    End(&'a [u8]),
}

impl Walk {
    fn block(&mut self, block: &[u8]) {
        let mut at = 0;
        while let Some(rest) = block.get(at..) {
            match record_at(rest) {
                Found::Good { kind, len } => {
                    self.good(kind, self.offset + at as u64);
                    at += len;
                }
                Found::End(rest) => {
                    let cut = block.len() < BLOCK_BYTES && rest.iter().any(|&byte| byte != 0);
                    if cut {
                        self.bad(self.offset + at as u64);
                    }
                    break;
                }
                Found::Unwritten => {
                    self.bad(self.offset + at as u64);
                    break;
                }
                Found::Bad => {
                    self.bad(self.offset + at as u64);
                    // Its length cannot be trusted: look for a good record at every later place.
                    match (at + 1..block.len()).find(|&at| is_good(block.get(at..).unwrap_or_default())) {
                        Some(next) => at = next,
                        None => break,
                    }
                }
            }
        }
        self.offset += block.len() as u64;
        if block.len() < BLOCK_BYTES
            && let Some(start) = self.open_fragment.take()
        {
            self.bad(start);
        }
    }

    fn good(&mut self, kind: u8, offset: u64) {
        self.any_good = true;
        self.good_after_bad |= self.first_bad.is_some();
        match kind {
            2 | 6 => self.open_fragment = Some(offset),
            4 | 8 => self.open_fragment = None,
            _ => {}
        }
    }

    fn bad(&mut self, offset: u64) {
        if self.first_bad.is_none() {
            // A write that was cut in a later part is bad from its first part on.
            self.first_bad = Some(self.open_fragment.take().unwrap_or(offset));
        }
    }
}

fn is_good(rest: &[u8]) -> bool {
    matches!(record_at(rest), Found::Good { .. })
}

fn record_at(rest: &[u8]) -> Found<'_> {
    let Some((header, payload)) = rest.split_first_chunk::<HEADER_BYTES>() else {
        return Found::End(rest);
    };
    let [crc0, crc1, crc2, crc3, len0, len1, kind] = *header;
    let payload_len = usize::from(u16::from_le_bytes([len0, len1]));
    if kind == 0 && payload_len == 0 {
        return if rest.iter().all(|&byte| byte == 0) { Found::Unwritten } else { Found::Bad };
    }
    let header_bytes = if RECYCLABLE_TYPES.contains(&kind) { RECYCLABLE_HEADER_BYTES } else { HEADER_BYTES };
    let summed = header_bytes - HEADER_BYTES + payload_len;
    let Some(summed) = payload.get(..summed) else { return Found::Bad };
    let crc = crc32c::crc32c_append(crc32c::crc32c(&[kind]), summed);
    let masked = crc.rotate_right(15).wrapping_add(CRC_MASK_DELTA);
    if masked == u32::from_le_bytes([crc0, crc1, crc2, crc3]) {
        Found::Good { kind, len: header_bytes + payload_len }
    } else {
        Found::Bad
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u8, payload: &[u8]) -> Vec<u8> {
        let crc = crc32c::crc32c_append(crc32c::crc32c(&[kind]), payload);
        let mut bytes = crc.rotate_right(15).wrapping_add(CRC_MASK_DELTA).to_le_bytes().to_vec();
        bytes.extend_from_slice(&u16::try_from(payload.len()).expect("short").to_le_bytes());
        bytes.push(kind);
        bytes.extend_from_slice(payload);
        bytes
    }

    fn examined(logs: &[&[u8]]) -> Verdict {
        let dir = tempfile::tempdir().expect("temporary folder");
        for (number, bytes) in logs.iter().enumerate() {
            std::fs::write(dir.path().join(format!("{:06}.log", number + 4)), bytes).expect("write");
        }
        examine(dir.path()).expect("examine")
    }

    fn offset_of(verdict: &Verdict) -> (&'static str, u64) {
        match verdict {
            Verdict::Whole => ("whole", 0),
            Verdict::TornTail { offset, .. } => ("torn", *offset),
            Verdict::DamagedMiddle { offset, .. } => ("middle", *offset),
        }
    }

    #[test]
    fn every_cut_of_a_log_is_a_torn_tail() {
        let log = [record(1, b"one"), record(2, b"two, first"), record(4, b"two, last")].concat();
        let ends = [0, 10, log.len()];
        for cut in 0..=log.len() {
            let verdict = examined(&[&log[..cut]]);
            let whole_until = ends.iter().rev().find(|&&end| end <= cut).copied().expect("an end");
            if whole_until == cut {
                assert_eq!(verdict, Verdict::Whole, "cut at {cut}");
            } else {
                assert_eq!(offset_of(&verdict), ("torn", whole_until as u64), "cut at {cut}");
            }
        }
    }

    #[test]
    fn every_flipped_bit_is_found_and_placed() {
        let records = [record(1, b"one"), record(1, b"two"), record(1, b"three")];
        let log = records.concat();
        let last = (records[0].len() + records[1].len()) as u64;
        for bit in 0..log.len() * 8 {
            let mut spoilt = log.clone();
            spoilt[bit / 8] ^= 1 << (bit % 8);
            let (kind, offset) = offset_of(&examined(&[&spoilt]));
            let expected = if (bit / 8) as u64 >= last { "torn" } else { "middle" };
            assert_eq!(kind, expected, "bit {bit}");
            assert!(offset <= (bit / 8) as u64, "bit {bit}");
        }
    }

    #[test]
    fn zeros_at_the_end_are_a_torn_tail() {
        let log = [record(1, b"one"), vec![0; 5000]].concat();
        assert_eq!(offset_of(&examined(&[&log])), ("torn", 10));
    }

    #[test]
    fn a_torn_log_before_a_good_one_is_a_damaged_middle() {
        let whole = record(1, b"one");
        assert_eq!(offset_of(&examined(&[&whole[..8], &whole])), ("middle", 0));
        assert_eq!(offset_of(&examined(&[&whole[..8], b""])), ("torn", 0));
    }

    #[test]
    fn records_over_several_blocks_are_followed() {
        let first = record(2, &vec![7; BLOCK_BYTES - HEADER_BYTES]);
        let log = [first.clone(), first.clone(), record(4, b"end"), record(1, b"x")].concat();
        // A middle part has its own type; the second `first` stands for a writer that died and went on.
        assert_eq!(examined(&[&log]), Verdict::Whole);
        let mut spoilt = log;
        spoilt[BLOCK_BYTES + 100] ^= 1;
        assert_eq!(offset_of(&examined(&[&spoilt])), ("middle", 0));
    }
}
