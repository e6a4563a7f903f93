//! The answer to a lookup: a record's number and text, then a signed tree head.
//!
//! Owns its syntax and the go.sum lines inside; believes nothing. Invariant: [`Lookup::parse`] of what
//! [`Lookup::render`] wrote gives the same back.
//!
//! Source: golang.org/x/mod/sumdb/tlog, `FormatRecord`; go.dev/ref/mod#checksum-database.

use bytes::Bytes;
use thiserror::Error;

use super::note::NOTE_BYTES_MAX;
use super::tlog::parse_number;
use crate::ModuleVersion;
use crate::dirhash::{H1, H1Error};

/// Bytes of an answer: a note and a record of a few lines.
pub const LOOKUP_BYTES_MAX: usize = 2 * NOTE_BYTES_MAX;

/// A lookup's answer, well formed but not verified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lookup {
    /// Number of the record.
    pub id: u64,
    /// The record: lines as in go.sum. What the log's hash is over.
    pub record: String,
    /// A tree head under which the record is, signed.
    pub note: String,
}

/// The two hashes that the database has for a module version.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GoSum {
    /// Of the zip.
    pub zip: H1,
    /// Of the go.mod alone.
    pub go_mod: H1,
}

/// Why an answer is not used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LookupError {
    /// Nothing: an outage or a proxy that swallowed the answer.
    #[error("lookup is empty")]
    Empty,
    /// Larger than [`LOOKUP_BYTES_MAX`].
    #[error("lookup has {bytes} bytes, limit {LOOKUP_BYTES_MAX}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Not a number, a record, a blank line and a note.
    #[error("lookup is malformed")]
    Syntax,
    /// A record that does not have both hashes of what was asked.
    #[error("record has no hashes of {0}")]
    Unrelated(ModuleVersion),
    /// A record with two different hashes for one thing.
    #[error("record has contradicting hashes of {0}")]
    Contradiction(ModuleVersion),
}

impl Lookup {
    /// Splits an answer into its parts.
    pub fn parse(answer: &[u8]) -> Result<Self, LookupError> {
        if answer.is_empty() {
            return Err(LookupError::Empty);
        }
        if answer.len() > LOOKUP_BYTES_MAX {
            return Err(LookupError::TooLarge { bytes: answer.len() });
        }
        let answer = std::str::from_utf8(answer).map_err(|_| LookupError::Syntax)?;
        let (digits, rest) = answer.split_once('\n').ok_or(LookupError::Syntax)?;
        let id = parse_number(digits).ok_or(LookupError::Syntax)?;
        let split = rest.find("\n\n").ok_or(LookupError::Syntax)?;
        let (record, rest) = rest.split_at(split + 1);
        let note = rest.strip_prefix('\n').ok_or(LookupError::Syntax)?;
        if record.starts_with('\n') || record.bytes().any(|byte| byte < 0x20 && byte != b'\n') {
            return Err(LookupError::Syntax);
        }
        Ok(Self { id, record: record.to_owned(), note: note.to_owned() })
    }

    /// The answer as it goes over the wire. With the caller's own newest head as `note` it verifies for
    /// clients that have seen newer heads than the record's first one just as well.
    pub fn render(id: u64, record: &str, note: &str) -> Bytes {
        Bytes::from(format!("{id}\n{record}\n{note}"))
    }

    /// The hashes that the record gives for a module version. Lines of other versions and with other
    /// algorithms are passed over.
    pub fn hashes(&self, mv: &ModuleVersion) -> Result<GoSum, LookupError> {
        let (module, version) = (mv.module.as_str(), mv.version.as_str());
        let (mut zip, mut go_mod) = (None, None);
        for line in self.record.lines() {
            let mut words = line.split(' ');
            let (Some(found), Some(word), Some(hash), None) =
                (words.next(), words.next(), words.next(), words.next())
            else {
                continue;
            };
            let target = match word.strip_prefix(version) {
                Some("") => &mut zip,
                Some("/go.mod") => &mut go_mod,
                _ => continue,
            };
            if found != module {
                continue;
            }
            let hash = match H1::parse(hash) {
                Ok(hash) => hash,
                Err(H1Error::Algorithm) => continue,
                Err(H1Error::Encoding) => return Err(LookupError::Syntax),
            };
            if target.replace(hash).is_some_and(|earlier| earlier != hash) {
                return Err(LookupError::Contradiction(mv.clone()));
            }
        }
        match (zip, go_mod) {
            (Some(zip), Some(go_mod)) => Ok(GoSum { zip, go_mod }),
            _ => Err(LookupError::Unrelated(mv.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ModulePath, Version};

    const ZIP: &str = "h1:w5fcysjrx7yqtD/aO+QwRjYZOKnaM9Uh2b40tElTs3Y=";
    const MOD: &str = "h1:LzX7hefJvL54yjefDEDHNONDjII0t9xZLPXsUe+TKr0=";

    fn quote(version: &str) -> ModuleVersion {
        let module = ModulePath::parse("rsc.io/quote").unwrap();
        ModuleVersion::new(module, Version::parse(version).unwrap()).unwrap()
    }

    fn record() -> String {
        format!("rsc.io/quote v1.5.2 {ZIP}\nrsc.io/quote v1.5.2/go.mod {MOD}\n")
    }

    #[test]
    fn an_answer_comes_apart_and_together() {
        let answer = format!("5\n{}\nhead\n\n\u{2014} name AAAA\n", record());
        let lookup = Lookup::parse(answer.as_bytes()).unwrap();
        assert_eq!((lookup.id, &lookup.record), (5, &record()));
        assert_eq!(lookup.note, "head\n\n\u{2014} name AAAA\n");
        assert_eq!(Lookup::render(lookup.id, &lookup.record, &lookup.note), answer);
        let hashes = lookup.hashes(&quote("v1.5.2")).unwrap();
        assert_eq!((hashes.zip.to_string(), hashes.go_mod.to_string()), (ZIP.to_owned(), MOD.to_owned()));
    }

    #[test]
    fn odd_answers_are_refused() {
        assert_eq!(Lookup::parse(b""), Err(LookupError::Empty));
        let bytes = LOOKUP_BYTES_MAX + 1;
        assert_eq!(Lookup::parse(&vec![b'1'; bytes]), Err(LookupError::TooLarge { bytes }));
        for odd in [
            "\n",
            "5",
            "5\n",
            "5\na b c\n",
            "x\na\n\n",
            "-1\na\n\n",
            "05\na\n\n",
            "5\n\n\n",
            "5\na\tb\n\n",
            "not found",
        ] {
            assert_eq!(Lookup::parse(odd.as_bytes()), Err(LookupError::Syntax), "{odd:?}");
        }
        assert_eq!(Lookup::parse(b"5\n\xff\n\n"), Err(LookupError::Syntax));
    }

    #[test]
    fn only_the_asked_versions_hashes_count() {
        let with = |record: String| Lookup { id: 0, record, note: String::new() };
        let (asked, other) = (quote("v1.5.2"), quote("v1.5.3"));
        assert_eq!(with(record()).hashes(&other), Err(LookupError::Unrelated(other)));
        for record in [
            record().replace("rsc.io", "rsc.example"),
            record().replace("/go.mod", "/go.work"),
            record().replacen("h1:", "h2:", 1),
            record().replacen("v1.5.2 ", "v1.5.2  ", 1),
            record().replacen(" h1", "-pre h1", 1),
            record().lines().next().unwrap().to_owned(),
            String::new(),
        ] {
            assert_eq!(
                with(record.clone()).hashes(&asked),
                Err(LookupError::Unrelated(asked.clone())),
                "{record}"
            );
        }
        let more = format!("{}rsc.io/quote v1.5.2 h2:xyz\nother v1.5.2 h1:x\n{}", record(), record());
        assert!(with(more).hashes(&asked).is_ok());
        let two = format!("{}rsc.io/quote v1.5.2 {MOD}\n", record());
        assert_eq!(with(two).hashes(&asked), Err(LookupError::Contradiction(asked.clone())));
        let cut = record().replace("s3Y=", "s3Y");
        assert_eq!(with(cut).hashes(&asked), Err(LookupError::Syntax));
    }
}
