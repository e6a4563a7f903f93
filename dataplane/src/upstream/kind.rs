//! Owns what differs between the kinds of small files: limit, label, and what content is believable.
//!
//! Pure. Invariant: a web page served with status 200 is never taken for a module file. The content tells, not its declared type: the go command
//! does not look at that, and home-made proxies send everything as `text/html`.

use bytes::Bytes;
use gomod::{Info, ModulePath, Query, Request, VersionList};

use super::limits::{INFO_BYTES_MAX, LIST_BYTES_MAX, MOD_BYTES_MAX};
use super::readable::check_readable;

/// A kind of file, as metrics and limits see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `@v/list`.
    List,
    /// `@latest`.
    Latest,
    /// `.info` of a version.
    Info,
    /// `.info` of a branch or commit.
    Query,
    /// `.mod`.
    Mod,
    /// `.zip`.
    Zip,
    /// Anything of a checksum database.
    Sumdb,
}

/// What is wrong with a body: what was expected, and what is there instead.
#[derive(Debug, PartialEq, Eq)]
pub struct Unbelievable {
    /// Such as "a version list".
    pub expected: &'static str,
    /// What is there instead.
    pub detail: String,
}

impl Kind {
    /// The kind of what is asked.
    pub fn of(request: &Request) -> Self {
        match request {
            Request::List(_) => Self::List,
            Request::Latest(_) => Self::Latest,
            Request::Info(_, Query::Version(_)) => Self::Info,
            Request::Info(_, Query::Revision(_)) => Self::Query,
            Request::Mod(_) => Self::Mod,
            Request::Zip(_) => Self::Zip,
        }
    }

    /// For metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Latest => "latest",
            Self::Info => "info",
            Self::Query => "query",
            Self::Mod => "mod",
            Self::Zip => "zip",
            Self::Sumdb => "sumdb",
        }
    }

    /// Most bytes that it may have.
    pub fn bytes_max(self) -> u64 {
        match self {
            Self::List => LIST_BYTES_MAX,
            Self::Latest | Self::Info | Self::Query => INFO_BYTES_MAX,
            Self::Mod => MOD_BYTES_MAX,
            Self::Zip => super::limits::ZIP_BYTES_MAX,
            Self::Sumdb => super::limits::SUMDB_BYTES_MAX,
        }
    }

    fn expected(self) -> &'static str {
        match self {
            Self::List => "a version list",
            Self::Latest | Self::Info | Self::Query => "version information",
            Self::Mod => "a go.mod file",
            Self::Zip => "a zip file",
            Self::Sumdb => "a checksum database answer",
        }
    }

    /// Judges the first bytes of a zip: it begins with an entry, or with the end if it has none.
    pub fn check_zip_start(start: &[u8]) -> Result<(), Unbelievable> {
        const ENTRY: &[u8] = b"PK\x03\x04";
        const END: &[u8] = b"PK\x05\x06";
        if [ENTRY, END].iter().any(|magic| start.iter().take(4).eq(magic.iter().take(start.len()))) {
            return Ok(());
        }
        let detail = if looks_like_html(start) { "a web page" } else { "it does not begin like a zip file" };
        Err(Self::Zip.unbelievable(detail))
    }

    fn unbelievable(self, detail: impl Into<String>) -> Unbelievable {
        Unbelievable { expected: self.expected(), detail: detail.into() }
    }
}

/// Judges the whole body of a small file against what was asked.
pub fn check_small(request: &Request, body: &Bytes) -> Result<(), Unbelievable> {
    let kind = Kind::of(request);
    if looks_like_html(body) {
        return Err(kind.unbelievable("a web page (perhaps a login page)"));
    }
    match request {
        Request::List(module) => {
            let list = VersionList::parse_upstream(body, module)
                .map_err(|error| kind.unbelievable(with_causes(&error)))?;
            // Lines of the wrong shape are dropped one by one, so a text of another kind would count as an empty list:
            // "known, but without versions", which clients believe.
            if list.versions().is_empty() && !has_version_line(body) {
                return Err(kind.unbelievable("no line of it is a version"));
            }
            Ok(())
        }
        Request::Info(module, query) => check_info(kind, body, module, Some(query)),
        Request::Latest(module) => check_info(kind, body, module, None),
        Request::Mod(_) | Request::Zip(_) => Ok(()),
    }
}

/// Judges an answer below `path` of a checksum database. Tiles are hashes, which may begin with any byte; all else is text that never begins
/// like a web page.
pub fn check_sumdb(path: &str, body: &[u8]) -> Result<(), Unbelievable> {
    if !path.split('/').any(|part| part == "tile") && looks_like_html(body) {
        return Err(Kind::Sumdb.unbelievable("a web page (perhaps a login page)"));
    }
    Ok(())
}

/// A canonical version gets exactly itself back, anything else some version of the module
/// (golang.org/ref/mod#goproxy-protocol).
fn check_info(
    kind: Kind,
    body: &Bytes,
    module: &ModulePath,
    query: Option<&Query>,
) -> Result<(), Unbelievable> {
    let info = Info::parse(body.clone()).map_err(|error| kind.unbelievable(with_causes(&error)))?;
    check_readable(body).map_err(|why| kind.unbelievable(why))?;
    match query {
        Some(query) => {
            info.check_answers(module, query).map_err(|error| kind.unbelievable(with_causes(&error)))
        }
        None => info.version().fits(module).map_err(|error| kind.unbelievable(with_causes(&error))),
    }
}

pub(super) fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    // Parsers quote what they read.
    super::text::first_line(text.as_bytes())
}

/// True for an empty list, and for one with a line that begins like a version (`v` and a digit).
fn has_version_line(body: &[u8]) -> bool {
    let mut lines =
        body.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty()).peekable();
    lines.peek().is_none() || lines.any(|line| matches!(line, [b'v', digit, ..] if digit.is_ascii_digit()))
}

/// No module file begins with `<`, and every HTML or XML page does.
fn looks_like_html(body: &[u8]) -> bool {
    const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
    let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    body.trim_ascii_start().first() == Some(&b'<')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LOGIN: &str = "\n<!DOCTYPE html><html><title>Sign in</title></html>";

    fn check(path: &str, body: &str) -> Result<(), String> {
        check_small(&Request::parse(path).unwrap(), &Bytes::copy_from_slice(body.as_bytes()))
            .map_err(|unbelievable| unbelievable.detail)
    }

    #[test]
    fn a_login_page_is_no_module_file() {
        for path in [
            "m.example/a/@v/list",
            "m.example/a/@latest",
            "m.example/a/@v/v1.0.0.info",
            "m.example/a/@v/v1.0.0.mod",
        ] {
            assert!(check(path, LOGIN).unwrap_err().contains("web page"), "{path}");
        }
        assert!(Kind::check_zip_start(LOGIN.as_bytes()).is_err());
    }

    #[test]
    fn a_list_without_usable_versions_is_fine_and_another_text_is_not() {
        assert_eq!(check("m.example/a/@v/list", ""), Ok(()));
        assert_eq!(check("m.example/a/@v/list", "\n\n"), Ok(()));
        assert_eq!(check("m.example/a/@v/list", "v0.0.0-20200101000000-abcdefabcdef\n"), Ok(()));
        assert_eq!(check("m.example/a/@v/list", "v1.0.0 2020-01-01T00:00:00Z\n"), Ok(()));
        assert!(check("m.example/a/@v/list", "Please sign in\n").is_err());
        assert!(check("m.example/a/@v/list", "{\"error\":\"x\"}").is_err());
    }

    #[test]
    fn info_is_about_the_version_asked_for() {
        let body = "{\"Version\":\"v1.2.3\",\"Time\":\"2020-01-01T00:00:00Z\"}";
        assert_eq!(check("m.example/a/@v/v1.2.3.info", body), Ok(()));
        assert!(check("m.example/a/@v/v1.2.4.info", body).unwrap_err().contains("v1.2.3"));
        assert_eq!(check("m.example/a/@v/main.info", body), Ok(()));
        assert_eq!(check("m.example/a/@v/v1.2.3.info", "{\"Version\":\"v1.2.3\",\"Time\":null}"), Ok(()));
        // Nobody reads these.
        let odd = format!(r#"{{"Version":"v1.2.3","X":1e999,"Y":{}{}}}"#, "[".repeat(200), "]".repeat(200));
        assert_eq!(check("m.example/a/@v/v1.2.3.info", &odd), Ok(()));
        let twice = r#"{"Version":"v1.2.3","Time":"yesterday","Time":"2020-01-01T00:00:00Z"}"#;
        assert!(check("m.example/a/@v/v1.2.3.info", twice).unwrap_err().contains("time"));
        for origin in ["null", "{}", "{\"VCS\":\"git\",\"Hash\":null,\"Other\":5}"] {
            let body = format!("{{\"Version\":\"v1.2.3\",\"Origin\":{origin}}}");
            assert_eq!(check("m.example/a/@v/v1.2.3.info", &body), Ok(()));
        }
        for unreadable in ["\"git\"", "[]", "{\"Hash\":5}", "{\"ref\":{}}"] {
            let body = format!("{{\"Version\":\"v1.2.3\",\"Origin\":{unreadable}}}");
            assert!(check("m.example/a/@v/v1.2.3.info", &body).unwrap_err().contains("origin"), "{body}");
        }
        for unreadable in [
            "\"yesterday\"",
            "1577836800",
            "\"2020-01-01\"",
            "\"2020-01-02 03:04:05Z\"",
            "\"2020-01-02t03:04:05Z\"",
            "\"2020-01-02T03:04:05z\"",
            "\"2016-12-31T23:59:60Z\"",
            "\"2020-01-02T03:04:05\\u005a\"",
        ] {
            let body = format!("{{\"Version\":\"v1.2.3\",\"time\":{unreadable}}}");
            assert!(check("m.example/a/@v/v1.2.3.info", &body).unwrap_err().contains("time"), "{body}");
        }
        let deep =
            format!("{{\"Version\":\"v1.2.3\",\"Origin\":{}{}}}", "[".repeat(20_000), "]".repeat(20_000));
        assert!(check("m.example/a/@v/v1.2.3.info", &deep).is_err());
        assert!(check("m.example/a/@latest", "{}").is_err());
        assert!(check("m.example/a/@latest", "[]").is_err());
    }

    #[test]
    fn zips_begin_like_zips() {
        assert!(Kind::check_zip_start(b"PK\x03\x04rest").is_ok());
        assert!(Kind::check_zip_start(b"PK\x05\x06").is_ok());
        assert!(Kind::check_zip_start(b"P").is_ok(), "more may come");
        assert!(Kind::check_zip_start(b"PKXX").is_err());
    }

    proptest! {
        #[test]
        fn no_body_panics(body in prop::collection::vec(any::<u8>(), 0..300), which in 0_usize..5) {
            let path = ["m.example/a/@v/list", "m.example/a/@latest", "m.example/a/@v/v1.0.0.info",
                "m.example/a/@v/main.info", "m.example/a/@v/v1.0.0.mod"][which];
            let _ = check_small(&Request::parse(path).unwrap(), &Bytes::from(body));
        }
    }
}
