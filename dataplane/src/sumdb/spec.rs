//! Owns the syntax of the checksum database setting, which is that of GOSUMDB.
//!
//! Pure. Source: `cmd/go/internal/modfetch.dbDial` and its list of known keys.

use std::fmt;
use std::str::FromStr;

use gomod::sumdb::{KeyError, VerifierKey};
use url::Url;

use crate::upstream::SumSource;

/// Databases known by name alone, as in `cmd/go/internal/modfetch/key.go`.
const KNOWN: [(&str, &str); 1] =
    [("sum.golang.org", "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8")];
/// A name for the same database at another address.
const ALIASES: [(&str, &str); 1] = [("sum.golang.google.cn", "sum.golang.org https://sum.golang.google.cn")];

/// Which checksum database to use.
#[derive(Debug, Clone)]
pub enum SumSpec {
    /// None.
    Off,
    /// This one.
    Database(Box<Database>),
}

/// A checksum database: what it signs with and where it is.
#[derive(Debug, Clone)]
pub struct Database {
    /// Its name and public key.
    pub key: VerifierKey,
    /// Its own address.
    pub url: Url,
}

impl Database {
    /// What fetching needs to know of it.
    pub fn source(&self) -> SumSource {
        SumSource { name: self.key.name().to_owned(), url: self.url.clone() }
    }
}

/// Why a text does not name a checksum database.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// Nothing in it.
    #[error("the checksum database is empty; write `off` for none")]
    Empty,
    /// More than a name or key and a URL.
    #[error("the checksum database has {count} fields; expected a name or key, and perhaps a URL")]
    TooManyFields {
        /// How many there are.
        count: usize,
    },
    /// A name alone, whose key is not known.
    #[error("the key of checksum database {name:?} is not known; write it as name+hash+key")]
    UnknownName {
        /// The name.
        name: String,
    },
    /// A key that is not one.
    #[error("read the checksum database's key")]
    Key(#[source] KeyError),
    /// A name that cannot be a host with perhaps a path.
    #[error("checksum database name {name:?} is not a host, or a host and a path")]
    Name {
        /// The name.
        name: String,
    },
    /// An address that is no http or https URL, or has credentials in it.
    #[error("checksum database URL {url:?} is not a plain https or http URL")]
    Url {
        /// The URL as written.
        url: String,
    },
}

impl FromStr for SumSpec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let text = text.trim();
        let text = ALIASES.iter().find(|(alias, _)| *alias == text).map_or(text, |(_, meaning)| meaning);
        if text == "off" {
            return Ok(Self::Off);
        }
        let fields: Vec<&str> = text.split_whitespace().collect();
        let (key, url) = match fields.as_slice() {
            [] => return Err(SpecError::Empty),
            [key] => (*key, None),
            [key, url] => (*key, Some(*url)),
            more => return Err(SpecError::TooManyFields { count: more.len() }),
        };
        let key = KNOWN.iter().find(|(name, _)| *name == key).map_or(key, |(_, known)| known);
        if !key.contains('+') {
            return Err(SpecError::UnknownName { name: key.to_owned() });
        }
        let key = VerifierKey::parse(key).map_err(SpecError::Key)?;
        let own = own_url(key.name())?;
        let url = match url {
            None => own,
            Some(text) => plain_url(text).ok_or_else(|| SpecError::Url { url: text.to_owned() })?,
        };
        Ok(Self::Database(Box::new(Database { key, url })))
    }
}

/// `https://name`, if the name is a host and perhaps a path and nothing else.
fn own_url(name: &str) -> Result<Url, SpecError> {
    let bad = || SpecError::Name { name: name.to_owned() };
    let url = plain_url(&format!("https://{name}")).ok_or_else(bad)?;
    // The URL parser repairs much: a name is taken only if there was nothing to repair.
    let repaired = url.as_str().trim_start_matches("https://");
    if name.ends_with('/') || repaired.trim_end_matches('/') != name { Err(bad()) } else { Ok(url) }
}

fn plain_url(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let plain = matches!(url.scheme(), "https" | "http")
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    plain.then_some(url)
}

/// GOSUMDB's syntax again, with the key and the address written out.
impl fmt::Display for SumSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Database(database) => write!(f, "{} {}", database.key, database.url),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Database {
        match text.parse::<SumSpec>().unwrap() {
            SumSpec::Database(database) => *database,
            SumSpec::Off => panic!("off"),
        }
    }

    #[test]
    fn all_forms_of_gosumdb() {
        let known = parse("sum.golang.org");
        assert_eq!(known.key.name(), "sum.golang.org");
        assert_eq!(known.url.as_str(), "https://sum.golang.org/");
        let alias = parse("sum.golang.google.cn");
        assert_eq!(
            (alias.key.name(), alias.url.as_str()),
            ("sum.golang.org", "https://sum.golang.google.cn/")
        );
        assert_eq!(parse(KNOWN[0].1).url.as_str(), "https://sum.golang.org/");
        assert_eq!(parse("sum.golang.org  http://127.0.0.1:9/db").url.as_str(), "http://127.0.0.1:9/db");
        assert!(matches!(" off ".parse(), Ok(SumSpec::Off)));
        let key = gomod::sumdb::SignerKey::from_seed("sum.example/with/path", &[1; 32]).unwrap();
        let own = parse(&key.verifier().to_string());
        assert_eq!(own.source().name, "sum.example/with/path");
        assert_eq!(own.url.as_str(), "https://sum.example/with/path");
        let again = parse(&SumSpec::Database(Box::new(own.clone())).to_string());
        assert_eq!((again.key.to_string(), again.url), (own.key.to_string(), own.url));
    }

    #[test]
    fn errors_say_what_is_wrong() {
        let error = |text: &str| text.parse::<SumSpec>().unwrap_err();
        assert_eq!(error(" "), SpecError::Empty);
        assert_eq!(error("a b c"), SpecError::TooManyFields { count: 3 });
        assert_eq!(error("sum.example"), SpecError::UnknownName { name: "sum.example".into() });
        assert!(matches!(error("sum.example+00000000+AAAA"), SpecError::Key(_)));
        for url in ["ftp://a.example", "nothing", "https://u:p@a.example", "https://a.example/?x"] {
            assert!(matches!(error(&format!("sum.golang.org {url}")), SpecError::Url { .. }), "{url}");
        }
        for name in ["a.example/", "a.example/?x", "u@a.example", "a.example/../b", "A.example#x"] {
            let key = gomod::sumdb::SignerKey::from_seed(name, &[1; 32]).unwrap();
            assert!(matches!(error(&key.verifier().to_string()), SpecError::Name { .. }), "{name}");
        }
    }
}
