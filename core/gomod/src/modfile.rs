//! go.mod files, as far as a proxy looks into them: the one it writes for modules without one, and the head of any other.
//!
//! Owns a light reading that stops at the lines it needs. It accepts every file that modfile's `ParseLax` accepts, and says
//! the same about its module path and Go version; it does not check the other directives.

use bytes::Bytes;

use crate::path::ModulePath;
use crate::quote::{auto_quote, unquote_token};

/// Bound of a go.mod file in bytes (go.dev/ref/mod, "Path and size constraints").
pub const GO_MOD_BYTES_MAX: usize = 16 << 20;

/// Why a go.mod file cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ModFileError {
    /// Longer than [`GO_MOD_BYTES_MAX`].
    #[error("go.mod of {bytes} bytes is over the limit of {GO_MOD_BYTES_MAX}")]
    TooLong {
        /// The length met.
        bytes: usize,
    },
    /// No `module` directive.
    #[error("go.mod has no module directive")]
    NoModule,
    /// A second `module` directive, so the first cannot be believed either.
    #[error("go.mod has more than one module directive")]
    RepeatedModule,
    /// The syntax is broken.
    #[error("malformed go.mod, line {line}")]
    Syntax {
        /// Counted from 1.
        line: usize,
    },
}

/// What a go.mod file says of its module.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ModuleLine {
    /// The module path as written, unquoted. Not necessarily a valid one: old files have their own ideas.
    pub path: String,
    /// The version in the `go` directive, such as `1.21` or `1.22rc1`, if there is one and it is well-formed.
    pub go_version: Option<String>,
}

/// Writes the go.mod file that a version without one is served with (GOPROXY protocol, `$base/$module/@v/$version.mod`).
pub fn synthesize(module: &ModulePath) -> Bytes {
    format!("module {}\n", auto_quote(module.as_str())).into()
}

/// Reads the `module` and `go` directives of a go.mod file.
pub fn module_line(data: &[u8]) -> Result<ModuleLine, ModFileError> {
    read(data, |_, _| {})
}

/// The same, and tells of each `require` directive its two arguments as they are written.
pub(crate) fn read(data: &[u8], mut required: impl FnMut(&str, &str)) -> Result<ModuleLine, ModFileError> {
    if data.len() > GO_MOD_BYTES_MAX {
        return Err(ModFileError::TooLong { bytes: data.len() });
    }
    let mut reader = Reader::default();
    let mut line_count = 0;
    for line in data.split(|&b| b == b'\n') {
        line_count += 1;
        // Comments in old files may be in any encoding.
        let line = String::from_utf8_lossy(line);
        let read = tokens(&line).and_then(|tokens| reader.line(&tokens, &mut required));
        read.map_err(|flaw| flaw.at(line_count))?;
    }
    if reader.block.is_some() {
        return Err(ModFileError::Syntax { line: line_count });
    }
    Ok(ModuleLine { path: reader.path.ok_or(ModFileError::NoModule)?, go_version: reader.go_version })
}

/// What is wrong with one line.
enum Flaw {
    Syntax,
    RepeatedModule,
}

impl Flaw {
    fn at(self, line: usize) -> ModFileError {
        match self {
            Self::Syntax => ModFileError::Syntax { line },
            Self::RepeatedModule => ModFileError::RepeatedModule,
        }
    }
}

/// A parenthesised block of lines.
enum Block {
    Module,
    Require,
    Other,
}

#[derive(Default)]
struct Reader {
    block: Option<Block>,
    path: Option<String>,
    go_version: Option<String>,
}

impl Reader {
    fn line(&mut self, tokens: &[&str], required: &mut impl FnMut(&str, &str)) -> Result<(), Flaw> {
        match &self.block {
            _ if tokens.is_empty() => Ok(()),
            None => self.statement(tokens, required),
            Some(_) if tokens == [")"] => {
                self.block = None;
                Ok(())
            }
            Some(_) if tokens.starts_with(&[")"]) => Err(Flaw::Syntax),
            Some(Block::Module) => self.module(tokens),
            Some(Block::Require) => {
                require(tokens, required);
                Ok(())
            }
            Some(Block::Other) => Ok(()),
        }
    }

    fn statement(&mut self, tokens: &[&str], required: &mut impl FnMut(&str, &str)) -> Result<(), Flaw> {
        match tokens {
            // An empty block.
            [_, .., "(", ")"] => {}
            ["module", "("] => self.block = Some(Block::Module),
            ["require", "("] => self.block = Some(Block::Require),
            [_, .., "("] => self.block = Some(Block::Other),
            ["module", arguments @ ..] => self.module(arguments)?,
            ["require", arguments @ ..] => require(arguments, required),
            ["go", version] if self.go_version.is_none() => {
                self.go_version = go_version(version).map(str::to_owned);
            }
            _ => {}
        }
        Ok(())
    }

    fn module(&mut self, arguments: &[&str]) -> Result<(), Flaw> {
        let [path] = arguments else { return Err(Flaw::Syntax) };
        let path = unquote_token(path).ok_or(Flaw::Syntax)?;
        if self.path.replace(path.into_owned()).is_some() {
            return Err(Flaw::RepeatedModule);
        }
        Ok(())
    }
}

/// Tells of a requirement; what is none is passed over, as is all that is not looked at.
fn require(arguments: &[&str], required: &mut impl FnMut(&str, &str)) {
    if let [path, version] = arguments {
        required(path, version);
    }
}

/// Tokens of a line that are looked at: the first ones, and the last two. Of a longer line some in the middle are left out, as it may
/// have millions.
const TOKENS_MAX: usize = 8;

/// Splits a line into words, quoted strings with their quotation marks, and punctuation; comments are dropped.
fn tokens(line: &str) -> Result<Vec<&str>, Flaw> {
    let mut tokens = Vec::new();
    let mut rest = line;
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\r']);
        if rest.is_empty() || rest.starts_with("//") {
            return Ok(tokens);
        }
        let (token, after) = rest.split_at_checked(token_len(rest)?).ok_or(Flaw::Syntax)?;
        if tokens.len() == TOKENS_MAX {
            tokens.remove(TOKENS_MAX - 2);
        }
        tokens.push(token);
        rest = after;
    }
}

/// The length in bytes of the token that `text` starts with.
fn token_len(text: &str) -> Result<usize, Flaw> {
    match text.chars().next() {
        Some('(' | ')' | '[' | ']' | '{' | '}' | ',') => Ok(1),
        Some(mark @ ('"' | '`')) => string_len(text, mark).ok_or(Flaw::Syntax),
        _ => match word_len(text) {
            0 => Err(Flaw::Syntax),
            len if text.get(len..).is_some_and(|after| after.starts_with("/*")) => Err(Flaw::Syntax),
            len => Ok(len),
        },
    }
}

/// The length of a string with its marks; `None` if it does not end on the line.
fn string_len(text: &str, mark: char) -> Option<usize> {
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        if c == mark {
            return Some(at + 1);
        }
        if c == '\\' && mark == '"' {
            chars.next()?;
        }
    }
    None
}

/// The length of a word: printable characters but spaces and punctuation, up to a comment.
fn word_len(text: &str) -> usize {
    let ends = |c: char| c.is_whitespace() || c.is_control() || "()[]{},".contains(c);
    let word = text.find(ends).unwrap_or(text.len());
    // Looked for within the word alone: a line may have many.
    let comment =
        text.get(..word).and_then(|word| ["//", "/*"].iter().filter_map(|mark| word.find(mark)).min());
    comment.unwrap_or(word)
}

/// The version in a `go` directive; of a malformed one that at least starts with two numbers, those, as in modfile.
fn go_version(text: &str) -> Option<&str> {
    let (language, rest) = take_language(text.strip_prefix('v').unwrap_or(text))?;
    let strict = !text.starts_with('v') && is_release_suffix(rest);
    match rest.chars().next() {
        _ if strict => Some(text),
        Some(c) if !c.is_ascii_digit() => Some(language),
        _ => None,
    }
}

/// Splits `1.21` off the front.
fn take_language(text: &str) -> Option<(&str, &str)> {
    let (major, after_dot) = text.split_once('.')?;
    let minor = number_prefix(after_dot)?;
    let is_major = number_prefix(major) == Some(major) && major != "0";
    is_major.then(|| text.split_at_checked(major.len() + 1 + minor.len())).flatten()
}

/// Whether `text` may follow a language version: a patch number, a pre-release such as `rc1`, both or neither.
fn is_release_suffix(text: &str) -> bool {
    let after_patch = match text.strip_prefix('.') {
        Some(patch) => match number_prefix(patch).and_then(|number| patch.strip_prefix(number)) {
            Some(rest) => rest,
            None => return false,
        },
        None => text,
    };
    let number = after_patch.trim_start_matches(|c: char| c.is_ascii_lowercase());
    let has_kind = number.len() < after_patch.len();
    let has_number = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    after_patch.is_empty() || (has_kind && has_number)
}

/// The number at the front of `text`, without leading zeros.
fn number_prefix(text: &str) -> Option<&str> {
    let end = match text.bytes().position(|b| !b.is_ascii_digit()).unwrap_or(text.len()) {
        0 => return None,
        _ if text.starts_with('0') => 1,
        end => end,
    };
    text.get(..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Result<String, ModFileError> {
        module_line(text.as_bytes()).map(|line| line.path)
    }

    fn version(text: &str) -> Option<String> {
        module_line(format!("module m\ngo {text}\n").as_bytes()).unwrap().go_version
    }

    #[test]
    fn writes_one_line() {
        assert_eq!(synthesize(&ModulePath::parse("a.b/C/v2").unwrap()), "module a.b/C/v2\n");
    }

    #[test]
    fn finds_the_module_line() {
        for text in [
            "module a.b/c",
            "// hello\r\n\r\nmodule\ta.b/c // why\r\n",
            "module \"a.b/\\u0063\"\n",
            "module (\n\t// in a block\n\ta.b/c\n)\n",
            "module a.b/c//x\n",
            "require (\n\tmodule v1.0.0\n)\nmodule a.b/c\n",
            "x ( )\nmodule ()\nmodule a.b/c",
        ] {
            assert_eq!(path(text).as_deref(), Ok("a.b/c"), "{text:?}");
        }
        assert_eq!(module_line(b"// \xe9\xff\nmodule a.b/c\n").unwrap().path, "a.b/c");
    }

    #[test]
    fn refuses_broken_files() {
        assert_eq!(path(""), Err(ModFileError::NoModule));
        assert_eq!(path("modules a\n(\n"), Err(ModFileError::NoModule));
        assert_eq!(path("module a\nmodule b\n"), Err(ModFileError::RepeatedModule));
        for (text, line) in [
            ("module", 1),
            ("module a b", 1),
            ("\nmodule `a`", 2),
            ("module \"a", 1),
            ("module a/*x*/", 1),
            ("/* x */ module a", 1),
            ("module a\x01", 1),
            ("module a\nrequire (\n\tb v1\n", 4),
            ("module a\nx (\n) y", 3),
        ] {
            assert_eq!(path(text), Err(ModFileError::Syntax { line }), "{text:?}");
        }
        let long = vec![b'\n'; GO_MOD_BYTES_MAX + 1];
        assert_eq!(module_line(&long), Err(ModFileError::TooLong { bytes: long.len() }));
    }

    /// By the square of its length this would take minutes.
    #[test]
    fn a_long_line_takes_no_longer_than_many_short_ones() {
        let text = format!("module a.b/c\nx {}", "a ".repeat(1 << 19));
        assert_eq!(path(&text).as_deref(), Ok("a.b/c"));
    }

    #[test]
    fn of_a_long_line_the_ends_are_looked_at() {
        let (words, none) = ("a ".repeat(1 << 19), Vec::<&str>::new());
        for (line, first, last) in [
            (format!("x {words}( )"), "x", &["(", ")"]),
            (format!("x {words}b ("), "x", &["b", "("]),
            (format!(") {words}b c"), ")", &["b", "c"]),
        ] {
            let tokens = tokens(&line).unwrap_or(none.clone());
            assert_eq!(tokens.len(), TOKENS_MAX);
            assert!(tokens.starts_with(&[first]) && tokens.ends_with(last), "{tokens:?}");
        }
        assert_eq!(path(&format!("module a.b/c\nx {words}(\ny\n)\nx {words}( )\n")).as_deref(), Ok("a.b/c"));
        assert_eq!(path(&format!("module {words}")), Err(ModFileError::Syntax { line: 1 }));
    }

    #[test]
    fn reads_the_go_version() {
        for same in ["1.21", "1.0", "1.21.3", "1.22rc1", "1.22.0rc1", "10.20.30beta4"] {
            assert_eq!(version(same).as_deref(), Some(same));
        }
        for (text, read) in [("v1.2.x", "1.2"), ("1.12+", "1.12"), ("1.21rc", "1.21"), ("v1.21.0", "1.21")] {
            assert_eq!(version(text).as_deref(), Some(read));
        }
        for none in ["1", "1.", "01.2", "1.02", "0.1", "go1.2", "v1.2", "x"] {
            assert_eq!(version(none), None, "{none}");
        }
    }
}
