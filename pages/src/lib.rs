//! Bytes that are kept in pages of a file in memory (memfd), from where the kernel can send them to a socket without
//! copying them (sendfile).
//!
//! To everybody else they are [`Bytes`] like any other: the file is mapped, and each piece points into the mapping. A
//! piece that is let go of gives its pages back by a hole in the file. That is also what makes sending safe: pages
//! that still lie in some socket's queue stay what they were, and the next piece at that place gets pages of its own.
//! A hole in a part of a huge page would not: the kernel zeroes that part where it lies. So there must be none in the file.
//!
//! Memory: pages are the file's, so they count where the process's memory is bounded (a control group), but not in
//! its resident set, except those that were read through the mapping.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use bytes::Bytes;
use memmap2::Mmap;
use parking_lot::Mutex;
use rustix::fs::{FallocateFlags, MemfdFlags, fallocate, memfd_create};

/// Which files in memory get huge pages when they are written; the word that is in force stands in brackets.
const HUGE_PAGES: &str = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";

/// See the head of this file.
#[derive(Debug)]
pub struct Pages {
    file: File,
    map: Mmap,
    place_bytes: usize,
    /// Places that nobody's bytes are at.
    free: Mutex<Vec<usize>>,
}

impl Pages {
    /// Room for `places` pieces of at most `place_bytes` each, a multiple of the page size. None of it is taken
    /// before bytes are kept there.
    ///
    /// # Errors
    /// Where the system has no memory files, or no address space for so many, or makes them of huge pages.
    pub fn new(place_bytes: usize, places: usize) -> io::Result<Arc<Self>> {
        let length = place_bytes.checked_mul(places).ok_or(io::ErrorKind::OutOfMemory)?;
        if std::fs::read_to_string(HUGE_PAGES).is_ok_and(|words| gives_huge_pages(&words)) {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "files in memory have huge pages here"));
        }
        let file = File::from(memfd_create("chunks", MemfdFlags::CLOEXEC)?);
        file.set_len(length as u64)?;
        let map = map(&file, length)?;
        // Nor may pages be joined later because they are mapped. Fails where the kernel knows no huge pages, and so no way to.
        let _ = map.advise(memmap2::Advice::NoHugePage);
        Ok(Arc::new(Self { file, map, place_bytes, free: Mutex::new((0..places).rev().collect()) }))
    }

    /// A copy of `bytes` in pages; [`None`] when there is no place, or no memory.
    pub fn keep(self: &Arc<Self>, bytes: &[u8]) -> Option<Bytes> {
        if bytes.is_empty() || bytes.len() > self.place_bytes {
            return None;
        }
        let number = self.free.lock().pop()?;
        let piece = Piece { pages: Arc::clone(self), number, length: bytes.len() };
        self.file.write_all_at(bytes, (number * self.place_bytes) as u64).ok()?;
        Some(Bytes::from_owner(piece))
    }

    /// Where in the file `bytes` are, if they are in it.
    pub fn offset_of(&self, bytes: &[u8]) -> Option<u64> {
        let offset = bytes.as_ptr().addr().checked_sub(self.map.as_ptr().addr())?;
        (offset.checked_add(bytes.len())? <= self.map.len()).then_some(offset as u64)
    }

    /// The file, to send from.
    pub fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// `advise` is for mappings that ask for it, which this one never does.
fn gives_huge_pages(words: &str) -> bool {
    ["[always]", "[within_size]", "[force]"].iter().any(|word| words.contains(word))
}

#[expect(unsafe_code, reason = "there is no safe way to map a file")]
fn map(file: &File, length: usize) -> io::Result<Mmap> {
    // SAFETY: a mapping must not change under those who read it. The file has no name, is handed out for sending
    // only, is never truncated, and is written by `Pages::keep` alone, at a place that was free: no `Piece`, and so no
    // `Bytes`, points there.
    unsafe { memmap2::MmapOptions::new().len(length).map(file) }
}

/// What a [`Bytes`] in pages owns.
struct Piece {
    pages: Arc<Pages>,
    number: usize,
    length: usize,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        let begin = self.number * self.pages.place_bytes;
        self.pages.map.get(begin..begin + self.length).unwrap_or_default()
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let pages = &self.pages;
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        let offset = (self.number * pages.place_bytes) as u64;
        // A place whose pages could not be let go of is not used again: they may lie in a socket's queue.
        if fallocate(&pages.file, flags, offset, pages.place_bytes as u64).is_ok() {
            pages.free.lock().push(self.number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;
    use std::os::unix::net::UnixStream;

    const PLACE: usize = 8 * 1024;

    fn blocks(pages: &Pages) -> u64 {
        use std::os::unix::fs::MetadataExt as _;
        pages.file.metadata().unwrap().blocks()
    }

    #[test]
    fn bytes_are_what_was_kept_and_their_pages_go_with_the_last_of_them() {
        let pages = Pages::new(PLACE, 2).unwrap();
        let (one, two) = (pages.keep(&[1; PLACE]).unwrap(), pages.keep(&[2; 100]).unwrap());
        assert!(pages.keep(&[3]).is_none(), "no place left");
        assert_eq!((&one[..], &two[..]), (&[1; PLACE][..], &[2; 100][..]));
        let part = one.slice(7..9);
        drop(one);
        assert!(pages.keep(&[3]).is_none(), "a part keeps the whole");
        drop((part, two));
        assert_eq!(blocks(&pages), 0);
        assert_eq!(pages.keep(&[3]).unwrap(), &[3][..]);
    }

    #[test]
    fn the_word_in_brackets_is_the_one_in_force() {
        for (words, gives) in [
            ("always within_size advise [never] deny force\n", false),
            ("always within_size [advise] never deny force\n", false),
            ("always within_size advise never [deny] force\n", false),
            ("[always] within_size advise never deny force\n", true),
            ("always [within_size] advise never deny force\n", true),
            ("always within_size advise never deny [force]\n", true),
            ("", false),
        ] {
            assert_eq!(gives_huge_pages(words), gives, "{words}");
        }
    }

    #[test]
    fn only_bytes_in_the_file_have_an_offset() {
        let pages = Pages::new(PLACE, 2).unwrap();
        let (one, two) = (pages.keep(&[1; 9]).unwrap(), pages.keep(&[2; 9]).unwrap());
        assert_eq!(pages.offset_of(&one[3..]), Some(3));
        assert_eq!(pages.offset_of(&two), Some(PLACE as u64));
        assert_eq!(pages.offset_of(&[1; 9]), None);
        assert!(pages.keep(&[0; PLACE + 1]).is_none());
    }

    #[test]
    fn what_was_sent_stays_what_it_was_when_its_place_is_used_again() {
        let pages = Pages::new(PLACE, 1).unwrap();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let first = pages.keep(&[1; PLACE]).unwrap();
        let mut offset = pages.offset_of(&first).unwrap();
        let sent = rustix::fs::sendfile(&ours, pages.file(), Some(&mut offset), PLACE).unwrap();
        drop(first);
        let second = pages.keep(&[2; PLACE]).unwrap();
        drop(ours);
        let mut got = Vec::new();
        theirs.read_to_end(&mut got).unwrap();
        assert!(sent > 0 && got == vec![1; sent]);
        assert_eq!(second, vec![2; PLACE]);
    }
}
