//! Owns the syntax of an upstream chain: GOPROXY's own list of proxies, with `,` and `|` between them.
//!
//! Does not fetch and does not decide who is asked next (see [`super::walk`]).
//! Invariant: credentials in a URL are never shown by `Display`, `Debug` or an error.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use url::Url;

/// Most entries that a chain may have; a longer one is a mistake, and each entry costs a request on every miss.
pub const CHAIN_ENTRIES_MAX: usize = 32;

/// Where modules may be had from, in the order in which to ask.
#[derive(Clone, PartialEq, Eq)]
pub struct Chain(Vec<Entry>);

/// One place of a [`Chain`].
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// Whom to ask.
    pub origin: OriginSpec,
    /// Which answers let the next entry be asked.
    pub then: FallThrough,
}

/// Whom to ask, as written by the operator.
#[derive(Clone, PartialEq, Eq)]
pub enum OriginSpec {
    /// Another module proxy, by `http` or `https`; may carry `user:password@`.
    Proxy(Url),
    /// A directory in the layout of a module cache's `cache/download`.
    File(PathBuf),
    /// The version control system that the module path names.
    Direct,
    /// Nobody: the list ends here.
    Off,
}

/// Which answers of an entry let the next one be asked (go.dev/ref/mod#environment-variables, GOPROXY).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FallThrough {
    /// `,`: only "not found" (404 and 410).
    OnNotFound,
    /// `|`: any error, broken connections and timeouts included.
    OnAnyError,
}

/// Why a text is not a chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// There is no entry in it.
    #[error("the upstream list has no entries; write `off` to fetch nothing")]
    Empty,
    /// More than [`CHAIN_ENTRIES_MAX`].
    #[error("the upstream list has more than {CHAIN_ENTRIES_MAX} entries")]
    TooManyEntries,
    /// A single word that is neither `direct` nor `off`.
    #[error("unknown word {entry:?} in the upstream list; expected a URL, `direct` or `off`")]
    UnknownWord {
        /// The entry as written.
        entry: String,
    },
    /// Not a URL at all.
    #[error("upstream {entry:?} is not a URL: {reason}")]
    InvalidUrl {
        /// The entry, without credentials.
        entry: String,
        /// What the URL parser said.
        reason: String,
    },
    /// An absolute path where `file://` was meant.
    #[error("upstream {entry:?} has no scheme; for a directory write file://{entry}")]
    MissingScheme {
        /// The entry as written.
        entry: String,
    },
    /// Neither http, https nor file.
    #[error("upstream {entry:?} has scheme {scheme:?}; expected https, http or file")]
    UnsupportedScheme {
        /// The entry, without credentials.
        entry: String,
        /// Its scheme.
        scheme: String,
    },
    /// A query or fragment, which module requests cannot carry.
    #[error("upstream {entry:?} has a query or fragment, which the module proxy protocol has no use for")]
    QueryOrFragment {
        /// The entry, without credentials.
        entry: String,
    },
    /// `file://` with a host, a port or credentials, or a relative path.
    #[error("upstream {entry:?} must be file:/// followed by an absolute path and nothing else")]
    FilePath {
        /// The entry, without credentials.
        entry: String,
    },
    /// Credentials that would travel in clear text; the go command refuses them too.
    #[error("upstream {entry:?} would send its credentials unencrypted; use https")]
    InsecureCredentials {
        /// The entry, without credentials.
        entry: String,
    },
}

impl Chain {
    /// The chain `off`: nothing is fetched.
    pub fn off() -> Self {
        Self(vec![Entry { origin: OriginSpec::Off, then: FallThrough::OnNotFound }])
    }

    /// The entries in order; never empty.
    pub fn entries(&self) -> &[Entry] {
        &self.0
    }

    /// Whether every entry is a local directory, so that asking again costs nothing worth saving.
    pub fn is_local(&self) -> bool {
        self.0.iter().all(|entry| matches!(entry.origin, OriginSpec::File(_) | OriginSpec::Off))
    }
}

/// Parses GOPROXY's syntax (`cmd/go/internal/modfetch.proxyList`): blanks around entries and empty entries are
/// dropped, `direct` and `off` end the list, and a bare host name means `https://`.
impl FromStr for Chain {
    type Err = ChainError;

    fn from_str(text: &str) -> Result<Self, ChainError> {
        let mut entries = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (entry, then, after) = match rest.find([',', '|']) {
                None => (rest, FallThrough::OnNotFound, ""),
                Some(at) => {
                    let (entry, tail) = rest.split_at(at);
                    let then =
                        if tail.starts_with('|') { FallThrough::OnAnyError } else { FallThrough::OnNotFound };
                    (entry, then, tail.get(1..).unwrap_or_default())
                }
            };
            rest = after;
            let entry = entry.trim();
            if entry.is_empty() {
                continue;
            }
            if entries.len() == CHAIN_ENTRIES_MAX {
                return Err(ChainError::TooManyEntries);
            }
            let origin = OriginSpec::parse(entry)?;
            let ends = matches!(origin, OriginSpec::Direct | OriginSpec::Off);
            // What stands after a final entry has no meaning, so it must not show in `Display` either.
            let then = if ends { FallThrough::OnNotFound } else { then };
            entries.push(Entry { origin, then });
            if ends {
                break;
            }
        }
        if entries.is_empty() { Err(ChainError::Empty) } else { Ok(Self(entries)) }
    }
}

impl OriginSpec {
    fn parse(entry: &str) -> Result<Self, ChainError> {
        match entry {
            "direct" => return Ok(Self::Direct),
            "off" => return Ok(Self::Off),
            _ => {}
        }
        if entry.starts_with('/') {
            return Err(ChainError::MissingScheme { entry: entry.to_owned() });
        }
        if !entry.contains(['.', ':', '/']) {
            return Err(ChainError::UnknownWord { entry: entry.to_owned() });
        }
        let full = if entry.contains(":/") { entry.to_owned() } else { format!("https://{entry}") };
        let url = Url::parse(&full).map_err(|error| ChainError::InvalidUrl {
            entry: without_credentials(entry),
            reason: error.to_string(),
        })?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(ChainError::QueryOrFragment { entry: without_credentials(entry) });
        }
        let has_credentials = !url.username().is_empty() || url.password().is_some();
        match url.scheme() {
            "http" if has_credentials => {
                Err(ChainError::InsecureCredentials { entry: without_credentials(entry) })
            }
            "http" | "https" => Ok(Self::Proxy(url)),
            "file" if url.host().is_none() && full.starts_with("file:///") => url
                .to_file_path()
                .map(Self::File)
                .map_err(|()| ChainError::FilePath { entry: without_credentials(entry) }),
            "file" => Err(ChainError::FilePath { entry: without_credentials(entry) }),
            other => Err(ChainError::UnsupportedScheme {
                scheme: other.to_owned(),
                entry: without_credentials(entry),
            }),
        }
    }
}

/// Replaces whatever stands before an `@` in the authority, also in a text that does not parse as a URL.
fn without_credentials(entry: &str) -> String {
    let (scheme, rest) = match entry.split_once("://") {
        Some((scheme, rest)) => (Some(scheme), rest),
        None => (None, entry),
    };
    let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    // A password may hold an unescaped slash: when in doubt hide more.
    let hidden_until =
        rest.rfind('@').filter(|&at| at < authority_end || rest.contains(':')).map(|at| at + 1);
    let shown = match hidden_until {
        Some(from) => format!("***@{}", rest.get(from..).unwrap_or_default()),
        None => rest.to_owned(),
    };
    match scheme {
        Some(scheme) => format!("{scheme}://{shown}"),
        None => shown,
    }
}

/// The form to show to people: a password is replaced by `***`.
impl fmt::Display for OriginSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Proxy(url) => f.write_str(&without_credentials(url.as_str())),
            Self::File(path) => write_file_url(path, f),
            Self::Direct => f.write_str("direct"),
            Self::Off => f.write_str("off"),
        }
    }
}

fn write_file_url(path: &Path, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match Url::from_file_path(path) {
        // `,` and `|` would end the entry when the text is read back.
        Ok(url) => f.write_str(&url.as_str().replace(',', "%2C").replace('|', "%7C")),
        Err(()) => write!(f, "file://{}", path.display()),
    }
}

/// GOPROXY's syntax again; without credentials, so that it reads back as the same chain only if there were none.
impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = self.0.len().saturating_sub(1);
        for (index, entry) in self.0.iter().enumerate() {
            fmt::Display::fmt(&entry.origin, f)?;
            match entry.then {
                FallThrough::OnAnyError => f.write_str("|")?,
                FallThrough::OnNotFound if index < last => f.write_str(",")?,
                FallThrough::OnNotFound => {}
            }
        }
        Ok(())
    }
}

impl fmt::Debug for OriginSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:?})", self.origin, self.then)
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.0).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Chain {
        text.parse().unwrap()
    }

    fn error(text: &str) -> String {
        text.parse::<Chain>().unwrap_err().to_string()
    }

    #[test]
    fn separators_belong_to_the_entry_before_them() {
        let chain = parse(" https://a.example/x | b.example,file:///srv/seed%2Ccopy,direct,ignored.example");
        let seen: Vec<_> = chain.entries().iter().map(|e| (e.origin.to_string(), e.then)).collect();
        assert_eq!(
            seen,
            [
                ("https://a.example/x".to_owned(), FallThrough::OnAnyError),
                ("https://b.example/".to_owned(), FallThrough::OnNotFound),
                ("file:///srv/seed%2Ccopy".to_owned(), FallThrough::OnNotFound),
                ("direct".to_owned(), FallThrough::OnNotFound),
            ]
        );
        assert_eq!(chain.entries()[2].origin, OriginSpec::File("/srv/seed,copy".into()));
        assert_eq!(parse("off,https://a.example").entries().len(), 1);
        assert_eq!(parse(",,off").entries().len(), 1);
    }

    #[test]
    fn errors_say_what_is_wrong() {
        assert!(error(" , |").contains("no entries"));
        assert!(error("noproxy").contains("unknown word \"noproxy\""));
        assert!(error("/srv/seed").contains("file:///srv/seed"));
        assert!(error("ftp://a.example").contains("scheme \"ftp\""));
        assert!(error("https://a.example/?x=1").contains("query"));
        assert!(error("file://host/dir").contains("file:///"));
        assert!(
            error("file:relative/dir/").contains("URL") || error("file:relative/dir/").contains("file:///")
        );
        assert!(error("https://a.example:99999").contains("not a URL"));
        assert!(error("http://u:p@a.example").contains("unencrypted"));
        assert!(error(&vec!["a.example"; 33].join(",")).contains("more than 32"));
    }

    #[test]
    fn credentials_are_never_shown() {
        let chain = parse("https://user:s3cret@a.example/p");
        assert_eq!(chain.to_string(), "https://***@a.example/p");
        assert!(!format!("{chain:?}").contains("s3cret"));
        for bad in [
            "http://user:s3cret@a.example",
            "https://user:s3cret@a.example:99999",
            "https://user:s3cr/et@a.example:99999/?q",
            "ftp://user:s3cret@a.example",
            "https://user:s3cret@a.example/?q",
            "user:s3cret@a.example:99999",
        ] {
            let shown = error(bad);
            assert!(!shown.contains("s3c"), "{shown}");
        }
    }

    fn entry() -> impl Strategy<Value = String> {
        prop_oneof![
            "https://[a-z]{1,8}\\.example(:[1-9][0-9]{0,3})?/([a-z0-9]{1,5}/){0,2}",
            "http://[a-z]{1,8}\\.example/",
            "file:///[a-z]{1,8}(/[a-z ,|%]{1,8}){0,2}".prop_map(|text| {
                let path = text.trim_start_matches("file://").to_owned();
                OriginSpec::File(path.into()).to_string()
            }),
        ]
    }

    proptest! {
        #[test]
        fn display_reads_back_as_the_same_chain(
            entries in prop::collection::vec((entry(), any::<bool>()), 1..6),
            end in prop_oneof![Just(""), Just("direct"), Just("off")],
        ) {
            let mut text = String::new();
            for (entry, any_error) in &entries {
                text.push_str(entry);
                text.push(if *any_error { '|' } else { ',' });
            }
            text.push_str(end);
            let chain: Chain = text.parse().unwrap();
            prop_assert_eq!(chain.to_string().parse::<Chain>().unwrap(), chain);
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,60}") {
            let _ = text.parse::<Chain>();
        }
    }
}
