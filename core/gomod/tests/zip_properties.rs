//! Whatever holds for every module zip: with and without memo, in chunks of any size, whole and damaged.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "test code: a broken helper ends the test")]

#[path = "support/zip_writer.rs"]
mod zip_writer;

use gomod::dirhash::{go_mod_h1, hash1};
use gomod::zip::{EntryDigests, PreHasher, ReadAt, ZIP_ENTRIES_MAX, ZipError, ZipSummary, verify};
use gomod::{ModulePath, ModuleVersion, Version};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use sha2::{Digest, Sha256};
use zip_writer::{Descriptor, Entry, zip};

fn module_version() -> ModuleVersion {
    ModuleVersion::new(ModulePath::parse("a.b/C").unwrap(), Version::parse("v1.2.3").unwrap()).unwrap()
}

fn check(zip: &[u8], memo: &EntryDigests) -> Result<ZipSummary, ZipError> {
    verify(&zip, &module_version(), memo)
}

fn prehash<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> EntryDigests {
    let mut hasher = PreHasher::new();
    chunks.into_iter().for_each(|chunk| hasher.push(chunk));
    hasher.finish()
}

fn entry(path: &str, content: &[u8]) -> Entry {
    Entry {
        name: format!("a.b/C@v1.2.3/{path}"),
        content: content.to_vec(),
        deflate: true,
        descriptor: Descriptor::After { signed: true, wide: false },
    }
}

/// Whether the entry can be read without the directory.
fn is_sequential(entry: &Entry) -> bool {
    entry.deflate || entry.descriptor == Descriptor::None
}

fn content() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..300),
        vec(0..3_u8, 0..3000),
        Just(Vec::new()),
        Just(vec![b'z'; 200_000]),
        Just(b"PK\x03\x04PK\x01\x02PK\x05\x06".repeat(3)),
    ]
}

fn descriptor() -> impl Strategy<Value = Descriptor> {
    prop_oneof![
        Just(Descriptor::None),
        any::<(bool, bool)>().prop_map(|(signed, wide)| Descriptor::After { signed, wide }),
    ]
}

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    // Directories are numbered and files have letters, so no file is a directory as well.
    let path = prop_oneof![Just("go.mod".to_owned()), "([1-3]/){0,2}[a-f]{1,2}", "[1-3](/[1-3])?/"];
    btree_map(path, (content(), any::<bool>(), descriptor()), 0..12).prop_map(|files| {
        let made = files.into_iter().map(|(path, (content, deflate, descriptor))| {
            let content = if path.ends_with('/') { Vec::new() } else { content };
            Entry { deflate, descriptor, ..entry(&path, &content) }
        });
        made.collect::<Vec<_>>()
    })
}

fn expected(entries: &[Entry]) -> ZipSummary {
    let files: Vec<&Entry> = entries.iter().filter(|entry| !entry.name.ends_with('/')).collect();
    let go_mod = files.iter().find(|entry| entry.name.ends_with("/go.mod"));
    ZipSummary {
        h1: hash1(entries.iter().map(|entry| (entry.name.as_str(), Sha256::digest(&entry.content).into()))),
        files: files.len() as u32,
        unpacked_bytes: files.iter().map(|entry| entry.content.len() as u64).sum(),
        go_mod: go_mod.map(|entry| go_mod_h1(&entry.content)),
    }
}

/// A source that gives few bytes at a time and counts them.
struct Meter<'a> {
    bytes: &'a [u8],
    read: std::cell::Cell<u64>,
}

impl ReadAt for Meter<'_> {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> std::io::Result<usize> {
        let most = buf.len().min(1000);
        let count = self.bytes.read_at(offset, &mut buf[..most])?;
        self.read.set(self.read.get() + count as u64);
        Ok(count)
    }

    fn len(&self) -> u64 {
        ReadAt::len(&self.bytes)
    }
}

proptest! {
    #[test]
    fn any_chunks_and_any_memo_give_the_same_verdict(
        entries in entries().prop_shuffle(),
        comment in "[ -~]{0,20}",
        cuts in vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let zip = zip(&entries, comment.as_bytes());
        let summary = expected(&entries);
        prop_assert_eq!(check(&zip, &EntryDigests::default()).unwrap(), summary);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(zip.len())).collect();
        cuts.extend([0, zip.len()]);
        cuts.sort_unstable();
        let memo = prehash(cuts.windows(2).map(|pair| &zip[pair[0]..pair[1]]));
        prop_assert_eq!(check(&zip, &memo).unwrap(), summary);
        prop_assert_eq!(&memo, &prehash([zip.as_slice()]));
        prop_assert_eq!(&memo, &prehash(zip.chunks(1)));
        let sequential = entries.iter().take_while(|entry| is_sequential(entry)).count();
        prop_assert_eq!(memo.len(), sequential);
    }

    #[test]
    fn a_damaged_zip_is_refused_or_means_the_same(
        entries in entries(),
        damage in vec((any::<prop::sample::Index>(), 1..=255_u8), 1..4),
    ) {
        let mut zip = zip(&entries, b"");
        for (at, flip) in damage {
            let at = at.index(zip.len());
            zip[at] ^= flip;
        }
        let outcome = check(&zip, &EntryDigests::default());
        if let Ok(summary) = &outcome {
            prop_assert_eq!(*summary, expected(&entries));
        }
        let memo = prehash(zip.chunks(13));
        prop_assert_eq!(format!("{:?}", check(&zip, &memo)), format!("{outcome:?}"));
    }

    #[test]
    fn arbitrary_bytes_do_no_harm(bytes in vec(any::<u8>(), 0..2000)) {
        prop_assert!(check(&bytes, &prehash([bytes.as_slice()])).is_err());
    }
}

#[test]
fn with_a_whole_memo_only_the_directory_is_read() {
    let entries: Vec<Entry> =
        (0..50_u8).map(|id| entry(&format!("{id}.txt"), &vec![id; 10_000].repeat(9))).collect();
    let stored: Vec<Entry> = entries
        .iter()
        .map(|entry| Entry { deflate: false, descriptor: Descriptor::None, ..entry.clone() })
        .collect();
    let zip = zip(&stored, b"");
    let source = Meter { bytes: &zip, read: std::cell::Cell::new(0) };
    let cold = verify(&source, &module_version(), &EntryDigests::default()).unwrap();
    assert!(source.read.get() > zip.len() as u64);
    source.read.set(0);
    let warm = verify(&source, &module_version(), &prehash([zip.as_slice()])).unwrap();
    assert!(source.read.get() < 100_000, "{} bytes read", source.read.get());
    assert_eq!(cold, warm);
}

#[test]
fn a_memo_of_other_bytes_is_not_used_where_the_directory_differs() {
    let ours = zip(&[entry("a", b"aaaa"), entry("b", b"bbbb")], b"");
    let other = zip(&[entry("a", b"AAAA"), entry("c", b"bbbb")], b"");
    let summary = check(&ours, &prehash([other.as_slice()])).unwrap();
    assert_eq!(summary, check(&ours, &EntryDigests::default()).unwrap());
}

#[test]
fn a_stream_longer_than_declared_is_cut_short() {
    let mut bomb = zip(&[entry("bomb", &vec![0; 10 << 20])], b"");
    let at = bomb.windows(4).position(|window| window == b"PK\x01\x02").unwrap() + 24;
    bomb[at..at + 4].copy_from_slice(&1_u32.to_le_bytes());
    assert!(matches!(check(&bomb, &EntryDigests::default()), Err(ZipError::Size { declared: 1, .. })));
    assert!(matches!(check(&bomb, &prehash([bomb.as_slice()])), Err(ZipError::Size { declared: 1, .. })));
}

#[test]
fn an_endless_stream_is_noticed_while_it_passes() {
    // 64 MiB of zeros, eight times over: 12 MiB more than a module may unpack to.
    let one = zip(&[entry("zeros", &vec![0; 64 << 20])], b"");
    let local = one.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    let mut hasher = PreHasher::new();
    for _ in 0..7 {
        hasher.push(&one[..local]);
        assert!(hasher.over_limit().is_none());
    }
    hasher.push(&one[..local]);
    assert!(matches!(hasher.over_limit(), Some(ZipError::UnpackedTooLarge { .. })));
    assert_eq!(hasher.finish().len(), 7);
}

#[test]
fn too_many_entries_are_noticed_while_they_pass() {
    let empty = Entry { deflate: false, descriptor: Descriptor::None, ..entry("x", b"") };
    let one = zip(&[empty], b"");
    let local = one.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    let mut hasher = PreHasher::new();
    for _ in 0..ZIP_ENTRIES_MAX {
        hasher.push(&one[..local]);
    }
    assert!(hasher.over_limit().is_none());
    hasher.push(&one[..local]);
    assert!(matches!(hasher.over_limit(), Some(ZipError::TooManyEntries { .. })));
}

#[test]
fn trouble_of_the_source_is_not_blamed_on_the_zip() {
    struct Broken;
    impl ReadAt for Broken {
        fn read_at(&self, _: u64, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("no disk"))
        }

        fn len(&self) -> u64 {
            100
        }
    }
    let outcome = verify(&Broken, &module_version(), &EntryDigests::default());
    assert!(matches!(outcome, Err(ZipError::Io { .. })), "{outcome:?}");
}

#[test]
fn paths_that_differ_in_case_are_told_whole() {
    for (files, first, second) in
        [(["x/y.go", "x/Y.go"], "x/y.go", "x/Y.go"), (["x/y/z.go", "x/Y/zz/ww.go"], "x/y", "x/Y")]
    {
        let error =
            check(&zip(&files.map(|file| entry(file, b"package x\n")), b""), &EntryDigests::default());
        let told =
            format!("zip paths \"a.b/C@v1.2.3/{first}\" and \"a.b/C@v1.2.3/{second}\" differ in case only");
        assert_eq!(error.unwrap_err().to_string(), told);
    }
}
