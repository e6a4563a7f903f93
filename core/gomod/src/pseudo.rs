//! Pseudo-versions: versions that name an untagged commit by the tag before it, its time and its hash.
//!
//! Owns their grammar, both ways. Whether the commit exists, has that time and descends from that tag is asked where the
//! repository is. Source of the rules: go.dev/ref/mod, "Pseudo-versions", and golang.org/x/mod/module.

use time::{Date, Month, PrimitiveDateTime, Time, UtcDateTime};

use crate::version::{Version, VersionError};

const TIMESTAMP_DIGITS: usize = 14;

/// Why a pseudo-version cannot be read or built.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PseudoError {
    /// Some other version.
    #[error("not a pseudo-version")]
    NotPseudo,
    /// The fourteen digits are no time, or a time has no four-digit year.
    #[error("pseudo-version has a malformed time")]
    Time,
    /// The version before `vX.0.0-0.` would have a negative patch number.
    #[error("pseudo-version has no possible base version")]
    NegativePatch,
    /// `vX.0.0-TIME-REVISION+incompatible`: without a tag before it, nothing can be incompatible.
    #[error("pseudo-version without a base version is marked incompatible")]
    IncompatibleWithoutBase,
    /// A revision is a non-empty run of ASCII letters and digits.
    #[error("revision does not fit a pseudo-version")]
    Revision,
    /// What was put together is no version: it got too long.
    #[error("build a pseudo-version")]
    Version(#[from] VersionError),
}

/// What a new pseudo-version counts from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Base<'a> {
    /// The highest tag among the ancestors of the commit.
    Tag(&'a Version),
    /// No tag; the module path asks for this major version.
    Major(u64),
}

/// A pseudo-version taken apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PseudoVersion {
    /// The tag it counts from; `None` for the form `vX.0.0-TIME-REVISION`.
    pub base: Option<Version>,
    /// The time of the commit, to the second.
    pub time: UtcDateTime,
    /// The prefix of the commit's hash, 12 digits for git.
    pub revision: String,
}

impl PseudoVersion {
    /// Takes `version` apart (module `PseudoVersionTime`, `PseudoVersionBase` and `PseudoVersionRev` in one).
    pub fn parse(version: &Version) -> Result<Self, PseudoError> {
        let pieces = split(version).ok_or(PseudoError::NotPseudo)?;
        let time = parse_time(pieces.timestamp).ok_or(PseudoError::Time)?;
        Ok(Self { base: base(version, &pieces)?, time, revision: pieces.revision.to_owned() })
    }

    /// Builds the version that sorts after `base` and before the tag that would follow it (module `PseudoVersion`).
    pub fn build(base: Base<'_>, time: UtcDateTime, revision: &str) -> Result<Version, PseudoError> {
        if !is_revision(revision) {
            return Err(PseudoError::Revision);
        }
        let commit = format!("{}-{revision}", format_time(time)?);
        let text = match base {
            Base::Major(major) => format!("v{major}.0.0-{commit}"),
            Base::Tag(tag) => {
                let parts = tag.parts();
                let (major, minor, build) = (parts.major, parts.minor, parts.build);
                if parts.prerelease.is_empty() {
                    format!("v{major}.{minor}.{}-0.{commit}{build}", increment(parts.patch))
                } else {
                    format!("v{major}.{minor}.{}{}.0.{commit}{build}", parts.patch, parts.prerelease)
                }
            }
        };
        Ok(Version::parse(&text)?)
    }
}

/// The raw pieces of a pseudo-version.
pub(crate) struct Pieces<'a> {
    /// What stands before the time in the pre-release: empty, `0.` or `IDENTIFIERS.0.`.
    head: &'a str,
    /// Fourteen digits, not necessarily a date.
    timestamp: &'a str,
    /// ASCII letters and digits.
    revision: &'a str,
}

/// Takes a pseudo-version apart; `None` if `version` is none (module `IsPseudoVersion`).
pub(crate) fn split(version: &Version) -> Option<Pieces<'_>> {
    let parts = version.parts();
    let (front, revision) = parts.prerelease.strip_prefix('-')?.rsplit_once('-')?;
    let (head, timestamp) = front.split_at_checked(front.len().checked_sub(TIMESTAMP_DIGITS)?)?;
    let without_base = head.is_empty() && parts.minor == "0" && parts.patch == "0";
    let shaped = without_base || head == "0." || head.ends_with(".0.");
    let written = timestamp.bytes().all(|b| b.is_ascii_digit()) && is_revision(revision);
    (shaped && written).then_some(Pieces { head, timestamp, revision })
}

/// The time of a pseudo-version as fourteen digits, which sort as text; `None` if `version` is none.
pub(crate) fn timestamp(version: &Version) -> Option<&str> {
    split(version).map(|pieces| pieces.timestamp)
}

fn base(version: &Version, pieces: &Pieces<'_>) -> Result<Option<Version>, PseudoError> {
    let parts = version.parts();
    let (major, minor, patch, build) = (parts.major, parts.minor, parts.patch, parts.build);
    let text = match pieces.head {
        "" if build.is_empty() => return Ok(None),
        "" => return Err(PseudoError::IncompatibleWithoutBase),
        "0." => {
            let before = decrement(patch).ok_or(PseudoError::NegativePatch)?;
            format!("v{major}.{minor}.{before}{build}")
        }
        head => {
            let prerelease = head.strip_suffix(".0.").unwrap_or(head);
            format!("v{major}.{minor}.{patch}-{prerelease}{build}")
        }
    };
    Ok(Some(Version::parse(&text)?))
}

fn is_revision(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

fn parse_time(digits: &str) -> Option<UtcDateTime> {
    let field = |from: usize, to: usize| digits.get(from..to)?.parse::<u16>().ok();
    let small = |from: usize, to: usize| u8::try_from(field(from, to)?).ok();
    let month = Month::try_from(small(4, 6)?).ok()?;
    let date = Date::from_calendar_date(i32::from(field(0, 4)?), month, small(6, 8)?).ok()?;
    let time = Time::from_hms(small(8, 10)?, small(10, 12)?, small(12, 14)?).ok()?;
    Some(PrimitiveDateTime::new(date, time).as_utc())
}

fn format_time(time: UtcDateTime) -> Result<String, PseudoError> {
    let year = u16::try_from(time.year()).ok().filter(|&year| year <= 9999).ok_or(PseudoError::Time)?;
    let (month, day) = (u8::from(time.month()), time.day());
    let (hour, minute, second) = time.as_hms();
    Ok(format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}"))
}

/// Adds one to a decimal number of any length.
fn increment(decimal: &str) -> String {
    let kept = decimal.trim_end_matches('9');
    let zeros = "0".repeat(decimal.len() - kept.len());
    match kept.char_indices().next_back() {
        Some((at, digit)) => {
            format!("{}{}{zeros}", kept.get(..at).unwrap_or_default(), next_digit(digit))
        }
        None => format!("1{zeros}"),
    }
}

/// Takes one from a decimal number of any length; `None` from zero.
fn decrement(decimal: &str) -> Option<String> {
    let kept = decimal.trim_end_matches('0');
    let (at, digit) = kept.char_indices().next_back()?;
    let nines = "9".repeat(decimal.len() - kept.len());
    let front = kept.get(..at)?;
    // No number but zero starts with a zero.
    let lowered = previous_digit(digit);
    if front.is_empty() && lowered == '0' && !nines.is_empty() {
        return Some(nines);
    }
    Some(format!("{front}{lowered}{nines}"))
}

fn next_digit(digit: char) -> char {
    digit.to_digit(10).and_then(|value| char::from_digit(value + 1, 10)).unwrap_or(digit)
}

fn previous_digit(digit: char) -> char {
    digit.to_digit(10).and_then(|value| char::from_digit(value.checked_sub(1)?, 10)).unwrap_or(digit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use time::macros::utc_datetime;

    const WHEN: UtcDateTime = utc_datetime!(2020-02-29 23:59:58);

    fn parse(text: &str) -> Result<PseudoVersion, PseudoError> {
        PseudoVersion::parse(&Version::parse(text).unwrap())
    }

    #[test]
    fn builds_and_reads_every_form() {
        let commit = "20200229235958-abcdef123456";
        for (tag, built) in [
            ("v1.2.9", "v1.2.10-0."),
            ("v1.2.99", "v1.2.100-0."),
            ("v1.2.3-pre", "v1.2.3-pre.0."),
            ("v1.0.0-0", "v1.0.0-0.0."),
        ] {
            for build in ["", "+incompatible"] {
                let tag = Version::parse(&format!("{tag}{build}")).unwrap();
                let version = PseudoVersion::build(Base::Tag(&tag), WHEN, "abcdef123456").unwrap();
                assert_eq!(version.as_str(), format!("{built}{commit}{build}"));
                assert!(version.is_pseudo() && tag < version);
                let read = PseudoVersion::parse(&version).unwrap();
                assert_eq!(
                    read,
                    PseudoVersion { base: Some(tag), time: WHEN, revision: "abcdef123456".into() }
                );
            }
        }
        let untagged = PseudoVersion::build(Base::Major(3), WHEN, "abcdef123456").unwrap();
        assert_eq!(untagged.as_str(), format!("v3.0.0-{commit}"));
        assert_eq!(PseudoVersion::parse(&untagged).unwrap().base, None);
    }

    #[test]
    fn each_rule_has_its_error() {
        for other in [
            "v1.2.3",
            "v1.2.3-20200101000000-abc",
            "v1.0.0-2020010100000-abc",
            "v1.0.0-rc.20200101000000-abc",
        ] {
            assert_eq!(parse(other), Err(PseudoError::NotPseudo), "{other}");
        }
        assert_eq!(parse("v0.0.0-20201301000000-abc"), Err(PseudoError::Time));
        assert_eq!(parse("v0.0.0-20210229000000-abc"), Err(PseudoError::Time));
        assert_eq!(parse("v1.0.0-0.20200101000000-abc"), Err(PseudoError::NegativePatch));
        assert_eq!(
            parse("v2.0.0-20200101000000-abc+incompatible"),
            Err(PseudoError::IncompatibleWithoutBase)
        );
        assert_eq!(PseudoVersion::build(Base::Major(0), WHEN, "a-b"), Err(PseudoError::Revision));
        let ancient = utc_datetime!(-0001-01-01 0:00);
        assert_eq!(PseudoVersion::build(Base::Major(0), ancient, "abc"), Err(PseudoError::Time));
        let long = PseudoVersion::build(Base::Major(0), WHEN, &"a".repeat(250));
        assert!(matches!(long, Err(PseudoError::Version(VersionError::TooLong { .. }))), "{long:?}");
    }

    proptest! {
        #[test]
        fn counting_agrees_with_numbers(number in 0_u64..1_000_000_000) {
            prop_assert_eq!(increment(&number.to_string()), (number + 1).to_string());
            prop_assert_eq!(decrement(&number.to_string()), number.checked_sub(1).map(|less| less.to_string()));
        }

        #[test]
        fn sorts_between_its_neighbours(patch in 0_u32..1200, seconds in 0_i64..250_000_000_000) {
            let tag = Version::parse(&format!("v1.4.{patch}")).unwrap();
            let next = Version::parse(&format!("v1.4.{}", patch + 1)).unwrap();
            let time = UtcDateTime::from_unix_timestamp(seconds).unwrap();
            let version = PseudoVersion::build(Base::Tag(&tag), time, "0123456789ab").unwrap();
            prop_assert!(tag < version && version < next);
            prop_assert_eq!(PseudoVersion::parse(&version).unwrap().time, time);
        }
    }
}
