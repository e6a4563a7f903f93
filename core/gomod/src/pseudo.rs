//! Pseudo-versions: versions that name an untagged commit by the tag before it, its time and its hash.
//!
//! Owns their grammar. Whether the commit exists, has that time and descends from that tag is asked where the repository
//! is. Source of the rules: go.dev/ref/mod, "Pseudo-versions", and golang.org/x/mod/module.

use crate::version::Version;

/// The raw pieces of a pseudo-version.
pub(crate) struct Pieces<'a> {
    /// What stands before the time in the pre-release: empty, `0.` or `IDENTIFIERS.0.`.
    pub(crate) head: &'a str,
    /// Fourteen digits, not necessarily a date.
    pub(crate) timestamp: &'a str,
    /// ASCII letters and digits.
    pub(crate) revision: &'a str,
}

const TIMESTAMP_DIGITS: usize = 14;

/// Takes a pseudo-version apart; `None` if `version` is none (module `IsPseudoVersion`).
pub(crate) fn split(version: &Version) -> Option<Pieces<'_>> {
    let parts = version.parts();
    let (front, revision) = parts.prerelease.strip_prefix('-')?.rsplit_once('-')?;
    let (head, timestamp) = front.split_at_checked(front.len().checked_sub(TIMESTAMP_DIGITS)?)?;
    let headless = head.is_empty() && parts.minor == "0" && parts.patch == "0";
    let shaped = headless || head == "0." || head.ends_with(".0.");
    let written = timestamp.bytes().all(|b| b.is_ascii_digit())
        && !revision.is_empty()
        && revision.bytes().all(|b| b.is_ascii_alphanumeric());
    (shaped && written).then_some(Pieces { head, timestamp, revision })
}
