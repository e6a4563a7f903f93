//! Zips that no honest tool makes: every header field is what the test says.
//!
//! Written by hand after the zip application note, since a zip library refuses to write lies.

use flate2::write::DeflateEncoder;
use flate2::{Compress, Compression, FlushCompress};
use std::io::Write as _;

/// Zeros that are deflated once and then repeated.
const BOMB_BLOCK_BYTES: usize = 1 << 20;

/// A last deflate block (fixed codes) that holds nothing.
const EMPTY_FINAL_BLOCK: [u8; 2] = [3, 0];

/// One entry; the local and the central header can differ from each other and from the truth.
#[derive(Clone, Debug)]
pub struct Entry {
    name: Vec<u8>,
    data: Vec<u8>,
    method: u16,
    flags: u16,
    crc: u32,
    unpacked: u64,
    unpacked_central: Option<u64>,
    external: u32,
    extra: Vec<u8>,
}

impl Entry {
    /// An entry stored as it is.
    pub fn stored(name: impl AsRef<[u8]>, body: &[u8]) -> Self {
        Self {
            name: name.as_ref().to_vec(),
            data: body.to_vec(),
            method: 0,
            flags: 0,
            crc: crc32(body),
            unpacked: body.len() as u64,
            unpacked_central: None,
            external: 0,
            extra: Vec::new(),
        }
    }

    /// A deflated entry.
    pub fn deflated(name: impl AsRef<[u8]>, body: &[u8]) -> Self {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(body).expect("deflate to memory");
        let mut entry = Self::stored(name, body);
        entry.data = encoder.finish().expect("deflate to memory");
        entry.method = 8;
        entry
    }

    /// `bytes` zeros, deflated: a bomb of a thousandth of its size.
    pub fn bomb(name: impl AsRef<[u8]>, bytes: u64) -> Self {
        let mut entry = Self::stored(name, &[]);
        let mut crc = flate2::Crc::new();
        let (whole, whole_crc) = zeros(BOMB_BLOCK_BYTES);
        for _ in 0..bytes / BOMB_BLOCK_BYTES as u64 {
            entry.data.extend_from_slice(&whole);
            crc.combine(&whole_crc);
        }
        let (rest, rest_crc) = zeros((bytes % BOMB_BLOCK_BYTES as u64) as usize);
        entry.data.extend_from_slice(&rest);
        crc.combine(&rest_crc);
        entry.data.extend_from_slice(&EMPTY_FINAL_BLOCK);
        entry.method = 8;
        entry.crc = crc.sum();
        entry.unpacked = bytes;
        entry
    }

    /// Says another unpacked size in both headers.
    #[must_use]
    pub fn claims_unpacked(mut self, bytes: u64) -> Self {
        self.unpacked = bytes;
        self
    }

    /// Says another unpacked size in the central header only.
    #[must_use]
    pub fn central_claims_unpacked(mut self, bytes: u64) -> Self {
        self.unpacked_central = Some(bytes);
        self
    }

    /// Says another checksum.
    #[must_use]
    pub fn claims_crc(mut self, crc: u32) -> Self {
        self.crc = crc;
        self
    }

    /// Says another compression method.
    #[must_use]
    pub fn claims_method(mut self, method: u16) -> Self {
        self.method = method;
        self
    }

    /// Says that it is encrypted.
    #[must_use]
    pub fn encrypted(mut self) -> Self {
        self.flags |= 1;
        self
    }

    /// Marks it with a Unix mode, such as that of a symlink (0o120777).
    #[must_use]
    pub fn unix_mode(mut self, mode: u32) -> Self {
        self.external = mode << 16;
        self
    }

    fn local(&self) -> Vec<u8> {
        let mut out = 0x0403_4b50_u32.to_le_bytes().to_vec();
        push16(&mut out, &[20, self.flags, self.method, 0, 0x21]);
        push32(&mut out, &[self.crc, clip32(self.data.len() as u64), clip32(self.unpacked)]);
        push16(&mut out, &[self.name.len() as u16, 0]);
        out.extend_from_slice(&self.name);
        out.extend_from_slice(&self.data);
        out
    }

    fn central(&self, offset: u64) -> Vec<u8> {
        let unpacked = self.unpacked_central.unwrap_or(self.unpacked);
        let mut out = 0x0201_4b50_u32.to_le_bytes().to_vec();
        // Made by Unix, so that the mode counts.
        push16(&mut out, &[0x0314, 20, self.flags, self.method, 0, 0x21]);
        push32(&mut out, &[self.crc, clip32(self.data.len() as u64), clip32(unpacked)]);
        push16(&mut out, &[self.name.len() as u16, self.extra.len() as u16, 0, 0, 0]);
        push32(&mut out, &[self.external, clip32(offset)]);
        out.extend_from_slice(&self.name);
        out.extend_from_slice(&self.extra);
        out
    }
}

/// So many zeros as deflate blocks that end at a byte and refer to nothing before them, and their checksum.
fn zeros(bytes: usize) -> (Vec<u8>, flate2::Crc) {
    let plain = vec![0; bytes];
    let mut crc = flate2::Crc::new();
    crc.update(&plain);
    let mut packed = Vec::with_capacity(bytes / 100 + 1024);
    let mut compress = Compress::new(Compression::best(), false);
    compress.compress_vec(&plain, &mut packed, FlushCompress::Full).expect("deflate to memory");
    (packed, crc)
}

/// A zip of these entries.
pub fn build(entries: &[Entry]) -> Vec<u8> {
    build_claiming(entries, entries.len() as u64)
}

/// A zip of these entries whose end record says that there are `claimed`.
pub fn build_claiming(entries: &[Entry], claimed: u64) -> Vec<u8> {
    let mut out = Vec::new();
    let mut directory = Vec::new();
    for entry in entries {
        directory.extend_from_slice(&entry.central(out.len() as u64));
        out.extend_from_slice(&entry.local());
    }
    let (start, size) = (out.len() as u64, directory.len() as u64);
    out.extend_from_slice(&directory);
    if claimed > 0xfffe {
        zip64_end(&mut out, claimed, start, size);
    }
    out.extend_from_slice(&0x0605_4b50_u32.to_le_bytes());
    let count = claimed.min(0xffff) as u16;
    push16(&mut out, &[0, 0, count, count]);
    push32(&mut out, &[clip32(size), clip32(start)]);
    push16(&mut out, &[0]);
    out
}

fn zip64_end(out: &mut Vec<u8>, count: u64, start: u64, size: u64) {
    let at = out.len() as u64;
    push32(out, &[0x0606_4b50]);
    push64(out, &[44]);
    push16(out, &[45, 45]);
    push32(out, &[0, 0]);
    push64(out, &[count, count, size, start]);
    push32(out, &[0x0706_4b50, 0]);
    push64(out, &[at]);
    push32(out, &[1]);
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

fn clip32(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn push16(out: &mut Vec<u8>, numbers: &[u16]) {
    for number in numbers {
        out.extend_from_slice(&number.to_le_bytes());
    }
}

fn push32(out: &mut Vec<u8>, numbers: &[u32]) {
    for number in numbers {
        out.extend_from_slice(&number.to_le_bytes());
    }
}

fn push64(out: &mut Vec<u8>, numbers: &[u64]) {
    for number in numbers {
        out.extend_from_slice(&number.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_honest_zip_is_read_by_the_zip_library() {
        let bytes = build(&[Entry::stored("a", b"one"), Entry::deflated("b", &[7; 1000])]);
        let mut archive = zip::ZipArchive::new(std::io::Cursor::new(bytes)).unwrap();
        let mut body = Vec::new();
        std::io::Read::read_to_end(&mut archive.by_name("b").unwrap(), &mut body).unwrap();
        assert_eq!(body, [7; 1000]);
    }

    #[test]
    fn a_bomb_is_so_many_zeros() {
        let bytes = build(&[Entry::bomb("zeros", 5_000_001)]);
        assert!(bytes.len() < 10_000);
        let mut archive = zip::ZipArchive::new(std::io::Cursor::new(bytes)).unwrap();
        let mut body = Vec::new();
        std::io::Read::read_to_end(&mut archive.by_name("zeros").unwrap(), &mut body).unwrap();
        assert!(body.len() == 5_000_001 && body.iter().all(|byte| *byte == 0));
    }

    #[test]
    fn more_entries_than_sixteen_bits_count_need_zip64() {
        let entries: Vec<Entry> = (0..70_000).map(|n| Entry::stored(n.to_string(), b"")).collect();
        let archive = zip::ZipArchive::new(std::io::Cursor::new(build(&entries))).unwrap();
        assert_eq!(archive.len(), 70_000);
    }
}
