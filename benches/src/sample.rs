//! Module versions whose content is the same in every run.

use std::fmt::Write as _;
use std::io::{Cursor, Write as _};

use bytes::Bytes;
use gomod::zip::EntryDigests;
use gomod::{H1, ModulePath, ModuleVersion, Version};
use zip::write::SimpleFileOptions;

/// A version with its files.
#[derive(Debug)]
pub struct Sample {
    /// Its name.
    pub version: ModuleVersion,
    /// `.info`
    pub info: Bytes,
    /// `.mod`
    pub go_mod: Bytes,
    /// `.zip`
    pub zip: Bytes,
}

impl Sample {
    /// A version with `files` files of `file_bytes` bytes of text that compresses about as source code does.
    pub fn new(module: &str, tag: &str, files: usize, file_bytes: usize) -> Self {
        let version = version(module, tag);
        let go_mod = Bytes::from(format!("module {module}\n\ngo 1.21\n"));
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        let mut file = |name: &str, content: &[u8]| {
            zip.start_file(format!("{version}/{name}"), SimpleFileOptions::default()).expect("begin a file");
            zip.write_all(content).expect("write a file");
        };
        file("go.mod", &go_mod);
        for number in 0..files {
            file(&format!("pkg{}/file{number}.go", number / 20), &source(number as u64, file_bytes));
        }
        let zip = zip.finish().expect("finish a zip").into_inner().into();
        let info = Bytes::from(format!("{{\"Version\":\"{tag}\",\"Time\":\"2026-01-02T03:04:05Z\"}}"));
        Self { version, info, go_mod, zip }
    }

    /// The hash of the zip, computed as the server computes it.
    pub fn h1(&self) -> H1 {
        let summary = gomod::zip::verify(&self.zip, &self.version, &EntryDigests::default());
        summary.expect("the sample is a module zip").h1
    }
}

/// The version `tag` of `module`.
pub fn version(module: &str, tag: &str) -> ModuleVersion {
    let module = ModulePath::parse(module).expect("a module path");
    ModuleVersion { module, version: Version::parse(tag).expect("a version") }
}

/// Bytes that do not compress, the same for the same seed.
pub fn noise(seed: u64, bytes: usize) -> Bytes {
    let mut numbers = Numbers::new(seed);
    (0..bytes.div_ceil(8)).flat_map(|_| numbers.next().to_le_bytes()).take(bytes).collect()
}

/// Lines of words out of a small vocabulary.
fn source(seed: u64, bytes: usize) -> Vec<u8> {
    const WORDS: [&str; 16] = [
        "func", "return", "error", "nil", "if", "for", "range", "context", "string", "struct", "{", "}",
        ":=", "(", ")", "\n",
    ];
    let mut numbers = Numbers::new(seed);
    let mut text = String::new();
    while text.len() < bytes {
        let number = numbers.next();
        text.push_str(WORDS.get((number % 16) as usize).copied().unwrap_or_default());
        // A name that repeats seldom, so that the text is not all dictionary.
        if number & 0x70 == 0 {
            let _ = write!(text, " v{:x}", number >> 44);
        }
        text.push(' ');
    }
    text.truncate(bytes);
    text.into_bytes()
}

/// Xorshift: quick, and the same every time.
struct Numbers(u64);

impl Numbers {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
