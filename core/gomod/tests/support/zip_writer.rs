//! A zip writer that can write everything a module zip may be, and no more.

#![expect(clippy::unwrap_used, reason = "test code: writing to memory does not fail")]

use std::io::Write;

use flate2::Compression;
use flate2::write::DeflateEncoder;

/// One entry; a name that ends with a slash is a directory.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) content: Vec<u8>,
    pub(crate) deflate: bool,
    pub(crate) descriptor: Descriptor,
}

/// Where an entry's checksum and sizes stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Descriptor {
    /// In the local header.
    None,
    /// After the data: with signature or without, with sizes of 64 bits or of 32.
    After { signed: bool, wide: bool },
}

/// The zip of these entries.
pub(crate) fn zip(entries: &[Entry], comment: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut directory = Vec::new();
    for entry in entries {
        write_entry(entry, &mut out, &mut directory);
    }
    let start = out.len() as u32;
    let count = (entries.len() as u16).to_le_bytes();
    out.extend_from_slice(&directory);
    out.extend_from_slice(b"PK\x05\x06\0\0\0\0");
    out.extend([count, count].concat());
    out.extend((directory.len() as u32).to_le_bytes());
    out.extend(start.to_le_bytes());
    out.extend((comment.len() as u16).to_le_bytes());
    out.extend_from_slice(comment);
    out
}

fn write_entry(entry: &Entry, out: &mut Vec<u8>, directory: &mut Vec<u8>) {
    let offset = out.len() as u32;
    let data = if entry.deflate { deflated(&entry.content) } else { entry.content.clone() };
    let crc = crc32fast::hash(&entry.content);
    let [compressed, size] = [data.len(), entry.content.len()].map(|bytes| bytes as u32);
    let numbers = [crc, compressed, size].map(u32::to_le_bytes).concat();
    let after = entry.descriptor != Descriptor::None;
    // Version, flags, method, time and date are the same in both headers.
    let mut common = vec![20, 0, if after { 8 } else { 0 }, 0, if entry.deflate { 8 } else { 0 }, 0];
    common.extend([0x21; 4]);
    let name_bytes = (entry.name.len() as u16).to_le_bytes();

    out.extend_from_slice(b"PK\x03\x04");
    out.extend_from_slice(&common);
    out.extend_from_slice(if after { &[0; 12] } else { &numbers });
    out.extend(name_bytes);
    out.extend([0; 2]);
    out.extend_from_slice(entry.name.as_bytes());
    out.extend_from_slice(&data);
    if let Descriptor::After { signed, wide } = entry.descriptor {
        out.extend_from_slice(if signed { b"PK\x07\x08" } else { b"" });
        out.extend(crc.to_le_bytes());
        for bytes in [compressed, size] {
            out.extend(bytes.to_le_bytes());
            out.extend_from_slice(if wide { &[0; 4] } else { &[] });
        }
    }

    directory.extend_from_slice(b"PK\x01\x02\x14\0");
    directory.extend_from_slice(&common);
    directory.extend_from_slice(&numbers);
    directory.extend(name_bytes);
    directory.extend([0; 16 - 4]);
    directory.extend(offset.to_le_bytes());
    directory.extend_from_slice(entry.name.as_bytes());
}

fn deflated(content: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}
