//! `.info` and `@latest` answers: the two fields the proxy acts on, and the bytes as they came.
//!
//! Owns reading them. The bytes are never written anew: every other field (`Origin` and whatever comes later) is reserved
//! by the protocol and passes through byte for byte. Invariant: an [`Info`] names a canonical version.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::path::ModulePath;
use crate::query::Query;
use crate::version::{Version, VersionError};

/// Bound of an `.info` answer in bytes. Real ones have under a kilobyte.
pub const INFO_BYTES_MAX: usize = 1 << 20;

/// Why an answer is no version metadata, or not the metadata asked for.
#[derive(Debug, thiserror::Error)]
pub enum InfoError {
    /// Longer than [`INFO_BYTES_MAX`].
    #[error("version metadata of {bytes} bytes is over the limit of {INFO_BYTES_MAX}")]
    TooLong {
        /// The length met.
        bytes: usize,
    },
    /// Not a JSON object, or one whose `Version` is not a string.
    #[error("read version metadata as JSON")]
    Json(#[from] serde_json::Error),
    /// No `Version` in it.
    #[error("version metadata names no version")]
    NoVersion,
    /// The named version is not canonical, or is not one of the module.
    #[error("read the version in version metadata")]
    Version(#[from] VersionError),
    /// A canonical version was asked for, and metadata of another came.
    #[error("version metadata is of {found} where {asked} was asked for")]
    OtherVersion {
        /// The version in the request.
        asked: Version,
        /// The version in the answer.
        found: Version,
    },
}

/// Metadata of a version.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Info {
    raw: Bytes,
    version: Version,
    time: Option<String>,
}

impl Info {
    /// Reads an answer the way the go command does: keys match in any case, and of repeated keys the last one counts.
    ///
    /// Unlike there, a `Time` that is no time is no error: the field is optional, and the bytes are passed on as they are.
    pub fn parse(raw: Bytes) -> Result<Self, InfoError> {
        if raw.len() > INFO_BYTES_MAX {
            return Err(InfoError::TooLong { bytes: raw.len() });
        }
        let fields: Fields = serde_json::from_slice(&raw)?;
        let version = Version::parse(&fields.version.ok_or(InfoError::NoVersion)?)?;
        Ok(Self { raw, version, time: fields.time.filter(|time| is_go_time(time)) })
    }

    /// Checks that this answers `query` for `module`: a canonical version is answered by itself only, anything else by some
    /// version of the module.
    pub fn check_answers(&self, module: &ModulePath, query: &Query) -> Result<(), InfoError> {
        match query {
            Query::Version(asked) if *asked != self.version => {
                Err(InfoError::OtherVersion { asked: asked.clone(), found: self.version.clone() })
            }
            Query::Version(_) | Query::Revision(_) => Ok(self.version.fits(module)?),
        }
    }

    /// The version that the metadata is of.
    pub fn version(&self) -> &Version {
        &self.version
    }

    /// The commit time as written, if it is RFC 3339. An author can set it to anything.
    pub fn time(&self) -> Option<&str> {
        self.time.as_deref()
    }

    /// The answer as it came.
    pub fn raw(&self) -> &Bytes {
        &self.raw
    }
}

#[derive(Default)]
struct Fields {
    version: Option<String>,
    time: Option<String>,
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
        let mut fields = Fields::default();
        while let Some(Key(key)) = map.next_key()? {
            // A null leaves the field as it is, as in Go.
            if matches_key(&key, "version") {
                fields.version = map.next_value::<Option<String>>()?.or(fields.version);
            } else if matches_key(&key, "time") {
                let value: &RawValue = map.next_value()?;
                if value.get() != "null" {
                    fields.time = serde_json::from_str(value.get()).ok();
                }
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(fields)
    }
}

/// An object's key, copied only if it has escapes in it.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

/// Whether Go's encoding/json takes `key` for the field `name`, given in lower case: simple Unicode folding, in which the
/// long s and the Kelvin sign are letters of ASCII.
fn matches_key(key: &str, name: &str) -> bool {
    let fold = |c: char| match c {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        _ => c.to_ascii_lowercase(),
    };
    key.chars().map(fold).eq(name.chars())
}

/// Whether Go's `time.Time` would read `text`: stricter than the RFC, which allows lower case letters and leap seconds.
pub fn is_go_time(text: &str) -> bool {
    let separators = text.get(10..11) == Some("T") && !text.ends_with('z');
    let leap_second = text.get(17..19) == Some("60");
    separators && !leap_second && OffsetDateTime::parse(text, &Rfc3339).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<Info, InfoError> {
        Info::parse(Bytes::copy_from_slice(json.as_bytes()))
    }

    #[test]
    fn keeps_the_bytes_and_reads_two_fields() {
        let json = r#" {"Version":"v1.2.3","Time":"2020-01-02T03:04:05Z","Origin":{"VCS":"git","x":[1,{}]}}
"#;
        let info = parse(json).unwrap();
        assert_eq!(info.raw(), json);
        assert_eq!((info.version().as_str(), info.time()), ("v1.2.3", Some("2020-01-02T03:04:05Z")));
    }

    #[test]
    fn matches_keys_as_go_does() {
        for json in [
            r#"{"vErSiOn":"v1.0.0"}"#,
            r#"{"Ver\u017fion":"v1.0.0"}"#,
            r#"{"Version":"v9.0.0","version":"v1.0.0"}"#,
            r#"{"Version":"v1.0.0","Version":null}"#,
        ] {
            assert_eq!(parse(json).unwrap().version().as_str(), "v1.0.0", "{json}");
        }
    }

    #[test]
    fn tolerates_an_odd_time() {
        for time in [
            r#""yesterday""#,
            "17",
            "null",
            r#"{"a":[]}"#,
            r#""2020-01-02t03:04:05z""#,
            r#""2016-12-31T23:59:60Z""#,
        ] {
            let info = parse(&format!(r#"{{"Version":"v1.0.0","Time":{time}}}"#)).unwrap();
            assert_eq!(info.time(), None, "{time}");
        }
        let offset = parse(r#"{"Time":"2020-01-02T03:04:05.123+02:00","Version":"v1.0.0"}"#).unwrap();
        assert!(offset.time().is_some());
    }

    #[test]
    fn refuses_what_is_no_metadata() {
        for json in ["", "[]", "null", r#"{"Version":1}"#, r#"{"Version":"v1.0.0"} x"#, "<html>"] {
            assert!(matches!(parse(json), Err(InfoError::Json(_))), "{json}");
        }
        assert!(matches!(parse("{}"), Err(InfoError::NoVersion)));
        assert!(matches!(parse(r#"{"Version":"v1"}"#), Err(InfoError::Version(_))));
        let long = Bytes::from(vec![b' '; INFO_BYTES_MAX + 1]);
        assert!(matches!(Info::parse(long), Err(InfoError::TooLong { .. })));
        let deep = format!(r#"{{"Version":"v1.0.0","x":{}}}"#, "[".repeat(500_000));
        assert!(matches!(parse(&deep), Err(InfoError::Json(_))));
    }

    #[test]
    fn an_answer_must_fit_its_question() {
        let module = ModulePath::parse("a.b/c").unwrap();
        let query = |text: &str| Query::parse(text, &module).unwrap();
        let info = parse(r#"{"Version":"v2.0.0+incompatible"}"#).unwrap();
        assert!(info.check_answers(&module, &query("v2.0.0+incompatible")).is_ok());
        assert!(info.check_answers(&module, &query("v2.0.0")).is_ok());
        let other = info.check_answers(&module, &query("v1.0.0"));
        assert!(matches!(other, Err(InfoError::OtherVersion { .. })), "{other:?}");
        let unfit = parse(r#"{"Version":"v2.0.0"}"#).unwrap().check_answers(&module, &query("main"));
        assert!(matches!(unfit, Err(InfoError::Version(_))), "{unfit:?}");
    }
}
