//! Shell patterns as Go's `path.Match` reads them, compiled once.
//!
//! Invariant: matching takes time bounded by pattern length times text length, and never fails: what is malformed is
//! refused when the pattern is compiled.

/// Why a pattern is malformed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum GlobError {
    /// A backslash at the end.
    #[error("pattern ends in a backslash")]
    TrailingBackslash,
    /// A `[` whose class is empty, has a stray `-`, or does not end.
    #[error("malformed character class in a pattern")]
    Class,
}

/// A compiled pattern: the parts between its stars.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Glob(Vec<Chunk>);

/// A run of single-character terms.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
struct Chunk {
    /// Whether a star stands before the terms.
    starred: bool,
    terms: Vec<Term>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Term {
    /// `?`: any character but a slash.
    Any,
    /// The character itself.
    Literal(char),
    /// `[a-z]` or `[^a-z]`. It may match a slash, as in Go.
    Class { negated: bool, ranges: Vec<(char, char)> },
}

impl Glob {
    /// Compiles `pattern`, or says what is malformed in it.
    pub(crate) fn compile(pattern: &str) -> Result<Self, GlobError> {
        let mut chunks = Vec::new();
        let mut chunk = Chunk::default();
        let mut rest = pattern.chars();
        while let Some(c) = rest.next() {
            match c {
                '*' => {
                    if !chunk.terms.is_empty() {
                        chunks.push(std::mem::take(&mut chunk));
                    }
                    chunk.starred = true;
                }
                '?' => chunk.terms.push(Term::Any),
                '[' => chunk.terms.push(compile_class(&mut rest)?),
                '\\' => chunk.terms.push(Term::Literal(rest.next().ok_or(GlobError::TrailingBackslash)?)),
                _ => chunk.terms.push(Term::Literal(c)),
            }
        }
        if chunk.starred || !chunk.terms.is_empty() {
            chunks.push(chunk);
        }
        Ok(Self(chunks))
    }

    /// Whether the pattern matches all of `text`.
    ///
    /// Each chunk takes the first place where it fits and never moves on from it. With a class that matches a slash this
    /// misses some matches that a search with backtracking finds, and Go misses the same ones.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let mut rest = text;
        let mut chunks = self.0.iter().peekable();
        while let Some(chunk) = chunks.next() {
            let is_last = chunks.peek().is_none();
            if is_last && chunk.terms.is_empty() {
                return !rest.contains('/');
            }
            match chunk.find(rest, is_last) {
                Some(after) => rest = after,
                None => return false,
            }
        }
        rest.is_empty()
    }
}

impl Chunk {
    /// Finds the first place in `text` where the terms fit and returns what follows. A star skips no slash, and the last
    /// chunk must end where the text ends.
    fn find<'a>(&self, text: &'a str, is_last: bool) -> Option<&'a str> {
        let mut rest = text;
        loop {
            if let Some(after) = self.strip(rest)
                && (!is_last || after.is_empty())
            {
                return Some(after);
            }
            let mut skipped = rest.chars();
            if !self.starred || skipped.next().is_none_or(|c| c == '/') {
                return None;
            }
            rest = skipped.as_str();
        }
    }

    /// Matches the terms at the start of `text` and returns what follows.
    fn strip<'a>(&self, text: &'a str) -> Option<&'a str> {
        let mut rest = text.chars();
        for term in &self.terms {
            let c = rest.next()?;
            let matched = match term {
                Term::Any => c != '/',
                Term::Literal(literal) => c == *literal,
                Term::Class { negated, ranges } => {
                    ranges.iter().any(|&(low, high)| (low..=high).contains(&c)) != *negated
                }
            };
            if !matched {
                return None;
            }
        }
        Some(rest.as_str())
    }
}

/// Compiles what follows a `[`, up to and including its `]`.
fn compile_class(rest: &mut std::str::Chars<'_>) -> Result<Term, GlobError> {
    let negated = take_if(rest, '^');
    let mut ranges = Vec::new();
    while ranges.is_empty() || !take_if(rest, ']') {
        let low = class_char(rest)?;
        let high = if take_if(rest, '-') { class_char(rest)? } else { low };
        ranges.push((low, high));
    }
    Ok(Term::Class { negated, ranges })
}

/// Takes one character of a class, perhaps behind a backslash.
fn class_char(rest: &mut std::str::Chars<'_>) -> Result<char, GlobError> {
    match rest.next() {
        Some('\\') => rest.next().ok_or(GlobError::Class),
        None | Some('-' | ']') => Err(GlobError::Class),
        Some(c) => Ok(c),
    }
}

fn take_if(rest: &mut std::str::Chars<'_>, wanted: char) -> bool {
    let mut after = rest.clone();
    let taken = after.next() == Some(wanted);
    if taken {
        *rest = after;
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        Glob::compile(pattern).unwrap().matches(text)
    }

    #[test]
    fn matches_as_path_match_does() {
        for (pattern, text) in [
            ("abc", "abc"),
            ("*", "abc"),
            ("a*", "a"),
            ("a*/b", "abc/b"),
            ("*.corp.example", "git.corp.example"),
            ("a*b?c*x", "abxbbxdbxebxczzx"),
            ("a[b-d]e", "ace"),
            ("a[^b]c", "a/c"),
            ("[\\-\\]]", "]"),
            ("[*]", "*"),
            ("a\\*", "a*"),
            ("", ""),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in
            [("a*", "ab/c"), ("a?b", "a/b"), ("abc", "ab"), ("ab", "abc"), ("[^a]", "a"), ("a*b*c", "a/b/c")]
        {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
        // A search with backtracking would match this.
        assert!(!matches("*[^a]*c", "xy/c"));
    }

    #[test]
    fn refuses_malformed_patterns() {
        assert_eq!(Glob::compile("a\\"), Err(GlobError::TrailingBackslash));
        for pattern in ["[", "[]", "[^]", "[a", "[a-", "[a-]", "[-a]", "[]a]", "a[b\\", "[^"] {
            assert_eq!(Glob::compile(pattern), Err(GlobError::Class), "{pattern}");
        }
    }

    #[test]
    fn many_stars_stay_fast() {
        let (pattern, text) = ("a*".repeat(1000) + "b", "a".repeat(2000));
        assert!(!matches(&pattern, &text));
    }
}
