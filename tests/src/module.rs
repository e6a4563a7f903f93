//! Module versions made in code: their files, and the `.info`, `.mod` and `.zip` a proxy serves of them.
//!
//! Owns the layout of a well-formed module zip, the h1 hash and the `!` escaping, written from the
//! published rules (go.dev/ref/mod). Malformed zips are made in [`crate::hostile_zip`].

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fmt::Write as _;
use std::io::{Cursor, Write as _};

/// One version of one module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// The module path, unescaped.
    pub path: String,
    /// The canonical version, unescaped.
    pub version: String,
    /// RFC 3339 time of the `.info`.
    pub time: String,
    files: Vec<(String, Vec<u8>)>,
    go_mod: Option<String>,
    requires: Vec<(String, String)>,
    info_extra: String,
    zip_override: Option<Vec<u8>>,
}

impl Module {
    /// A module with a `go.mod` and one Go file that declares `const Version`.
    pub fn new(path: &str, version: &str) -> Self {
        let source =
            format!("package {}\n\n// Version is {version}.\nconst Version = {version:?}\n", package(path));
        Self {
            path: path.to_owned(),
            version: version.to_owned(),
            time: "2024-01-02T03:04:05Z".to_owned(),
            files: vec![("lib.go".to_owned(), source.into_bytes())],
            go_mod: Some(format!("module {path}\n\ngo 1.21\n")),
            requires: Vec::new(),
            info_extra: String::new(),
            zip_override: None,
        }
    }

    /// Adds a file, or replaces the one of that name.
    #[must_use]
    pub fn file(mut self, name: &str, contents: impl AsRef<[u8]>) -> Self {
        self.files.retain(|(have, _)| have != name);
        self.files.push((name.to_owned(), contents.as_ref().to_vec()));
        self
    }

    /// Adds `bytes` of noise that does not compress.
    #[must_use]
    pub fn filler(self, bytes: usize) -> Self {
        let seed = bytes as u64 ^ self.path.len() as u64;
        self.file("filler.bin", noise(bytes, seed))
    }

    /// Adds a `require` line to the go.mod.
    #[must_use]
    pub fn require(mut self, path: &str, version: &str) -> Self {
        self.requires.push((path.to_owned(), version.to_owned()));
        self
    }

    /// A module from before modules: no go.mod in the zip, a synthetic one at the proxy.
    #[must_use]
    pub fn without_go_mod(mut self) -> Self {
        self.go_mod = None;
        self
    }

    /// Puts this text in place of the go.mod.
    #[must_use]
    pub fn go_mod_text(mut self, text: &str) -> Self {
        self.go_mod = Some(text.to_owned());
        self
    }

    /// Sets the time in the `.info`.
    #[must_use]
    pub fn at(mut self, time: &str) -> Self {
        time.clone_into(&mut self.time);
        self
    }

    /// Appends raw members to the `.info` object, such as `,"Origin":{…}`.
    #[must_use]
    pub fn info_extra(mut self, members: &str) -> Self {
        members.clone_into(&mut self.info_extra);
        self
    }

    /// Serves these bytes as the zip, whatever the files are.
    #[must_use]
    pub fn zip_bytes_are(mut self, bytes: Vec<u8>) -> Self {
        self.zip_override = Some(bytes);
        self
    }

    /// The go.mod bytes that a proxy serves as `.mod`.
    pub fn go_mod(&self) -> Vec<u8> {
        let mut text = self.go_mod.clone().unwrap_or_else(|| format!("module {}\n", self.path));
        for (path, version) in &self.requires {
            writeln!(text, "\nrequire {path} {version}").unwrap();
        }
        text.into_bytes()
    }

    /// The `.info` bytes.
    pub fn info(&self) -> Vec<u8> {
        format!(r#"{{"Version":"{}","Time":"{}"{}}}"#, self.version, self.time, self.info_extra).into_bytes()
    }

    /// The module zip.
    pub fn zip(&self) -> Vec<u8> {
        if let Some(bytes) = &self.zip_override {
            return bytes.clone();
        }
        let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (name, contents) in self.zip_files() {
            let method = if name.ends_with("filler.bin") {
                zip::CompressionMethod::Stored
            } else {
                zip::CompressionMethod::Deflated
            };
            let options = zip::write::SimpleFileOptions::default().compression_method(method);
            writer.start_file(name, options).unwrap();
            writer.write_all(&contents).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    /// `h1:` of the zip's files, as in go.sum.
    pub fn h1(&self) -> String {
        hash1(&self.zip_files())
    }

    /// `h1:` of the go.mod, as in go.sum's `/go.mod` lines.
    pub fn go_mod_h1(&self) -> String {
        hash1(&[("go.mod".to_owned(), self.go_mod())])
    }

    /// The two go.sum lines, which are also the checksum database's record.
    pub fn sum_lines(&self) -> String {
        let (path, version) = (&self.path, &self.version);
        format!("{path} {version} {}\n{path} {version}/go.mod {}\n", self.h1(), self.go_mod_h1())
    }

    /// `/<escaped path>/@v/<escaped version><suffix>`, with literal `!`.
    pub fn url_path(&self, suffix: &str) -> String {
        format!("/{}/@v/{}{suffix}", escape(&self.path), escape(&self.version))
    }

    /// `path@version`, as the go command takes it.
    pub fn spec(&self) -> String {
        format!("{}@{}", self.path, self.version)
    }

    fn zip_files(&self) -> Vec<(String, Vec<u8>)> {
        let prefix = format!("{}@{}/", self.path, self.version);
        let mut files: Vec<_> =
            self.files.iter().map(|(name, body)| (format!("{prefix}{name}"), body.clone())).collect();
        if self.go_mod.is_some() {
            files.push((format!("{prefix}go.mod"), self.go_mod()));
        }
        files
    }
}

/// Bang-encoding: each capital becomes `!` and its lower-case letter.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_ascii_uppercase() {
            out.push('!');
        }
        out.push(letter.to_ascii_lowercase());
    }
    out
}

/// Lower-case hex of the SHA-256 of `bytes`.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref())
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// Noise that does not compress, the same for the same seed (xorshift64*).
pub fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut out = Vec::with_capacity(bytes + 8);
    while out.len() < bytes {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        out.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    out.truncate(bytes);
    out
}

fn hash1(files: &[(String, Vec<u8>)]) -> String {
    let mut sorted: Vec<_> = files.iter().collect();
    sorted.sort_by(|a, b| a.0.cmp(&b.0));
    let summary = sorted.iter().fold(String::new(), |mut text, (name, body)| {
        writeln!(text, "{}  {name}", sha256_hex(body)).unwrap();
        text
    });
    format!("h1:{}", STANDARD.encode(ring::digest::digest(&ring::digest::SHA256, summary.as_bytes())))
}

/// A package name out of a module path: letters of its last element that is not a major suffix.
fn package(path: &str) -> String {
    let mut elements: Vec<&str> = path.split('/').collect();
    if elements.len() > 1
        && elements.last().is_some_and(|last| last.starts_with('v') && last[1..].parse::<u32>().is_ok())
    {
        elements.pop();
    }
    let last = elements.last().copied().unwrap_or("lib");
    let name: String =
        last.split('.').next().unwrap_or("lib").chars().filter(char::is_ascii_alphanumeric).collect();
    name.to_ascii_lowercase()
}
