//! The request grammar of the GOPROXY protocol: one URL path in, one of five requests out.
//!
//! Owns the shapes below a proxy's base URL. Prefixes such as `cached-only/` and `sumdb/`, methods and percent-decoding
//! belong to the HTTP shell. Invariant: a request has one spelling. `parse` accepts exactly what `Display` writes, so the
//! path may serve as a cache key, and nothing that could climb out of a directory ever parses.

use std::fmt;

use crate::path::{MODULE_PATH_BYTES_MAX, ModulePath, PathError};
use crate::query::{Query, QueryError};
use crate::version::{ModuleVersion, VERSION_BYTES_MAX, Version, VersionError};

/// Bound of a request path in bytes, escaped.
pub const REQUEST_BYTES_MAX: usize = 2048;

// Escaping at most doubles a text: every valid pair of path and version has a request that parses.
const _: () = assert!(
    2 * MODULE_PATH_BYTES_MAX + "/@v/".len() + 2 * VERSION_BYTES_MAX + ".info".len() <= REQUEST_BYTES_MAX
);

/// Why a URL path is no request.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RequestError {
    /// Longer than [`REQUEST_BYTES_MAX`].
    #[error("request path of {bytes} bytes is over the limit of {REQUEST_BYTES_MAX}")]
    TooLong {
        /// The length met.
        bytes: usize,
    },
    /// None of `@latest`, `@v/list`, `@v/VERSION.info`, `@v/VERSION.mod` and `@v/VERSION.zip`.
    #[error("not a request of the module proxy protocol")]
    Shape,
    /// The part before `/@` is not an escaped module path.
    #[error("read the module path of a request")]
    Module(#[from] PathError),
    /// `.mod` and `.zip` are served for canonical versions that fit the module only.
    #[error("read the version of a request")]
    Version(#[from] VersionError),
    /// `.info` was asked for something that cannot be a version query.
    #[error("read the version query of a request")]
    Query(#[from] QueryError),
}

/// A request of the GOPROXY protocol.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Request {
    /// `$module/@v/list`: the tagged versions.
    List(ModulePath),
    /// `$module/@latest`: metadata of the version to use if the list is empty.
    Latest(ModulePath),
    /// `$module/@v/$query.info`: metadata of a version.
    Info(ModulePath, Query),
    /// `$module/@v/$version.mod`: the go.mod file.
    Mod(ModuleVersion),
    /// `$module/@v/$version.zip`: the files.
    Zip(ModuleVersion),
}

impl Request {
    /// Reads a percent-decoded URL path without its leading slash.
    pub fn parse(path: &str) -> Result<Self, RequestError> {
        if path.len() > REQUEST_BYTES_MAX {
            return Err(RequestError::TooLong { bytes: path.len() });
        }
        // A module path never holds an `@`.
        let (module, tail) = path.split_once("/@").ok_or(RequestError::Shape)?;
        if tail == "latest" {
            return Ok(Self::Latest(ModulePath::unescape(module)?));
        }
        let file = tail.strip_prefix("v/").ok_or(RequestError::Shape)?;
        if file == "list" {
            return Ok(Self::List(ModulePath::unescape(module)?));
        }
        let (name, kind) = file.rsplit_once('.').ok_or(RequestError::Shape)?;
        match kind {
            "info" => {
                let module = ModulePath::unescape(module)?;
                let query = Query::unescape(name, &module)?;
                Ok(Self::Info(module, query))
            }
            "mod" => Ok(Self::Mod(module_version(module, name)?)),
            "zip" => Ok(Self::Zip(module_version(module, name)?)),
            _ => Err(RequestError::Shape),
        }
    }

    /// The module asked about.
    pub fn module(&self) -> &ModulePath {
        match self {
            Self::List(module) | Self::Latest(module) | Self::Info(module, _) => module,
            Self::Mod(version) | Self::Zip(version) => &version.module,
        }
    }
}

impl fmt::Display for Request {
    /// Writes the escaped path, without a leading slash and not percent-encoded.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let module = self.module().escaped();
        match self {
            Self::List(_) => write!(f, "{module}/@v/list"),
            Self::Latest(_) => write!(f, "{module}/@latest"),
            Self::Info(_, query) => write!(f, "{module}/@v/{}.info", query.escaped()),
            Self::Mod(version) => write!(f, "{module}/@v/{}.mod", version.version.escaped()),
            Self::Zip(version) => write!(f, "{module}/@v/{}.zip", version.version.escaped()),
        }
    }
}

fn module_version(module: &str, version: &str) -> Result<ModuleVersion, RequestError> {
    Ok(ModuleVersion::new(ModulePath::unescape(module)?, Version::unescape(version)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::element::ElementError;
    use proptest::prelude::*;

    #[test]
    fn reads_and_writes_the_five_shapes() {
        for path in [
            "golang.org/x/text/@v/list",
            "golang.org/x/text/@latest",
            "golang.org/x/text/@v/v0.3.0.info",
            "golang.org/x/text/@v/master.info",
            "github.com/!burnt!sushi/toml/@v/v1.0.0-!r!c1.mod",
            "a.b/c/@v/v2.0.0+incompatible.zip",
            "golang.org/toolchain/@v/v0.0.1-go1.22.0.linux-amd64.zip",
        ] {
            assert_eq!(Request::parse(path).unwrap().to_string(), path);
        }
    }

    #[test]
    fn an_unfit_version_is_a_query_but_no_file() {
        assert!(matches!(Request::parse("a.b/c/@v/v2.0.0.info"), Ok(Request::Info(_, Query::Revision(_)))));
        let mismatch = Request::parse("a.b/c/@v/v2.0.0.mod");
        assert!(
            matches!(mismatch, Err(RequestError::Version(VersionError::MajorMismatch { .. }))),
            "{mismatch:?}"
        );
    }

    #[test]
    fn refuses_other_shapes() {
        for path in [
            "",
            "@latest",
            "a.b/c",
            "a.b/c/",
            "a.b/c/@v",
            "a.b/c/@v/",
            "a.b/c/@v/list/",
            "a.b/c/@latest/",
            "a.b/c/@v/LIST",
            "a.b/c/@v/v1.0.0.zip.asc",
            "a.b/c/@v/v1.0.0.INFO",
            "a.b/c/@v/v1.0.0",
            "a.b/c/@x/list",
            "a.b/c@v/list",
        ] {
            assert_eq!(Request::parse(path), Err(RequestError::Shape), "{path:?}");
        }
        let long = format!("a.b/{}/@latest", "c/".repeat(1100));
        assert_eq!(Request::parse(&long), Err(RequestError::TooLong { bytes: long.len() }));
    }

    #[test]
    fn refuses_other_spellings() {
        for path in [
            "/a.b/c/@v/list",
            "a.b//c/@v/list",
            "a.b/../c/@v/list",
            "a.b/c//@v/list",
            "a.b/C/@latest",
            "a.b/!/@latest",
            "a.b/c\0/@latest",
            "a.b/c%2fd/@latest",
            "/@latest",
        ] {
            assert!(matches!(Request::parse(path), Err(RequestError::Module(_))), "{path:?}");
        }
        for path in ["a.b/c/@v/main.zip", "a.b/c/@v/v1.0.mod", "a.b/c/@v/v1.0.0+x.mod", "a.b/c/@v/latest.mod"]
        {
            assert!(matches!(Request::parse(path), Err(RequestError::Version(_))), "{path:?}");
        }
        for path in ["a.b/c/@v/latest.info", "a.b/c/@v/x/y.info", "a.b/c/@v/.info", "a.b/c/@v/a\rb.info"] {
            assert!(matches!(Request::parse(path), Err(RequestError::Query(_))), "{path:?}");
        }
        let dots = Err(RequestError::Module(PathError::Element(ElementError::DotsOnly)));
        assert_eq!(Request::parse("a.b/../../etc/@latest"), dots);
    }

    proptest! {
        #[test]
        fn reading_inverts_writing(
            module in "[a-z]{1,5}\\.[a-z]{2}(/[A-Za-z][A-Za-z0-9_.-]{0,300}[a-z]){0,2}",
            version in "v[01]\\.(0|[1-9][0-9]{0,3})\\.0(-[A-Z][A-Z0-9.]{0,240}Z)?",
            revision in "[A-Za-z#$%&()+,=@^_{}~ ][A-Z .]{0,250}[a-z]",
        ) {
            let Ok(module) = ModulePath::parse(&module) else { return Ok(()) };
            let mut requests = vec![Request::List(module.clone()), Request::Latest(module.clone())];
            if let Ok(version) = Version::parse(&version) {
                let file = ModuleVersion::new(module.clone(), version.clone()).unwrap();
                requests.extend([Request::Mod(file.clone()), Request::Zip(file)]);
                requests.push(Request::Info(module.clone(), Query::Version(version)));
            }
            if let Ok(query) = Query::parse(&revision, &module) {
                requests.push(Request::Info(module, query));
            }
            for request in requests {
                prop_assert_eq!(Request::parse(&request.to_string()), Ok(request));
            }
        }

        #[test]
        fn writing_inverts_reading(path in "(a\\.b|A\\.b|/|\\.|!|@v?|c|v[12]|\\.0|-|\\+|list|latest|\\.(info|mod|zip)){1,12}") {
            if let Ok(request) = Request::parse(&path) {
                prop_assert_eq!(request.to_string(), path);
            }
        }
    }
}
