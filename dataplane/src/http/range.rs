//! Byte ranges (RFC 9110 section 14) as a function of values.

use std::ops::Range;

/// What a `Range` header means for content of a known size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// No range, one that is to be ignored (another unit, several ranges, bad syntax): the whole.
    Whole,
    /// These bytes.
    Part(Range<u64>),
    /// A well-formed range that does not touch the content.
    Nothing,
}

/// Reads a `Range` header's value for content of `size` bytes.
///
/// Several ranges are answered with the whole content, as RFC 9110 section 14.2 allows: no client of a module proxy
/// sends them, and a multipart answer multiplies work by the number of ranges asked for.
pub(crate) fn wanted(header: &str, size: u64) -> Wanted {
    let Some(spec) = header.strip_prefix("bytes=").map(str::trim) else { return Wanted::Whole };
    if spec.contains(',') {
        return Wanted::Whole;
    }
    let Some((first, last)) = spec.split_once('-') else { return Wanted::Whole };
    let (Ok(first), Ok(last)) = (number(first), number(last)) else { return Wanted::Whole };
    match (first, last) {
        (None, Some(0)) => Wanted::Nothing,
        (None, Some(suffix)) => part(size.saturating_sub(suffix)..size),
        (Some(first), None) => part(first..size),
        (Some(first), Some(last)) if first <= last => part(first..last.saturating_add(1).min(size)),
        (None, None) | (Some(_), Some(_)) => Wanted::Whole,
    }
}

fn part(range: Range<u64>) -> Wanted {
    if range.is_empty() { Wanted::Nothing } else { Wanted::Part(range) }
}

/// An optional run of digits; a number too large for 64 bits is beyond any content and saturates.
fn number(text: &str) -> Result<Option<u64>, ()> {
    if text.is_empty() {
        return Ok(None);
    }
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(());
    }
    Ok(Some(text.parse().unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_forms_of_the_rfc() {
        for (header, expected) in [
            ("bytes=0-499", Wanted::Part(0..500)),
            ("bytes=500-999", Wanted::Part(500..1000)),
            ("bytes=-500", Wanted::Part(500..1000)),
            ("bytes=9500-", Wanted::Nothing),
            ("bytes=990-", Wanted::Part(990..1000)),
            ("bytes=-5000", Wanted::Part(0..1000)),
            ("bytes=0-0", Wanted::Part(0..1)),
            ("bytes=999-99999999999999999999999", Wanted::Part(999..1000)),
            ("bytes=1000-1001", Wanted::Nothing),
            ("bytes=-0", Wanted::Nothing),
            ("bytes=5-2", Wanted::Whole),
            ("bytes=0-1,3-4", Wanted::Whole),
            ("bytes=a-b", Wanted::Whole),
            ("bytes=-", Wanted::Whole),
            ("items=0-1", Wanted::Whole),
            ("bytes=+1-2", Wanted::Whole),
        ] {
            assert_eq!(wanted(header, 1000), expected, "{header}");
        }
        assert_eq!(wanted("bytes=0-", 0), Wanted::Nothing);
    }

    proptest! {
        #[test]
        fn a_part_lies_within_the_content(header in "bytes=[0-9]{0,21}-[0-9]{0,21}", size in 0u64..5000) {
            if let Wanted::Part(range) = wanted(&header, size) {
                prop_assert!(range.start < range.end && range.end <= size);
            }
        }
    }
}
