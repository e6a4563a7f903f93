//! Go's `unicode.IsLetter` and the simple case folding by which module zips compare names.
//!
//! The standard library's tables are of another Unicode version and have no folding; these are Go's own, so
//! that both sides call the same names equal. Invariant: `fold(fold(c)) == fold(c)`.

use std::sync::LazyLock;

use super::unicode_tables::{FOLDS, LETTERS};

/// First and last code point of each run of letters, ascending.
static LETTER_RUNS: LazyLock<Vec<(u32, u32)>> = LazyLock::new(|| {
    let mut runs = Vec::with_capacity(LETTERS.len() / 2);
    let mut end = 0;
    for &[skipped, length] in LETTERS.as_chunks().0 {
        let first = end + skipped;
        end = first + length;
        runs.push((first, end - 1));
    }
    runs
});

/// A run of code points that fold by adding the same number.
struct FoldRun {
    first: u32,
    last: u32,
    stride: u32,
    delta: i32,
}

static FOLD_RUNS: LazyLock<Vec<FoldRun>> = LazyLock::new(|| {
    let mut runs = Vec::with_capacity(FOLDS.len() / 4);
    let mut last = 0;
    for &[distance, span, stride, delta] in FOLDS.as_chunks().0 {
        let first = last + distance;
        last = first + span;
        runs.push(FoldRun {
            first: first.cast_unsigned(),
            last: last.cast_unsigned(),
            stride: stride.cast_unsigned(),
            delta,
        });
    }
    runs
});

/// Whether the character is a letter.
pub(super) fn is_letter(c: char) -> bool {
    let code = u32::from(c);
    let at = LETTER_RUNS.partition_point(|&(_, last)| last < code);
    LETTER_RUNS.get(at).is_some_and(|&(first, _)| first <= code)
}

/// One character for all that differ in case only: two strings are equal under Go's `EqualFold` exactly if
/// folding each character makes them equal.
pub(super) fn fold(c: char) -> char {
    if c.is_ascii() {
        return c.to_ascii_lowercase();
    }
    let code = u32::from(c);
    let at = FOLD_RUNS.partition_point(|run| run.last < code);
    FOLD_RUNS
        .get(at)
        .filter(|run| run.first <= code && (code - run.first).is_multiple_of(run.stride))
        .and_then(|run| char::from_u32(code.wrapping_add_signed(run.delta)))
        .unwrap_or(c)
}

#[cfg(test)]
mod tests {
    use super::super::unicode_tables::CHECKSUM;
    use super::*;

    #[test]
    fn every_code_point_is_as_go_says() {
        let mut hasher = crc32fast::Hasher::new();
        for c in '\0'..=char::MAX {
            hasher.update(&u32::from(fold(c)).to_le_bytes());
            hasher.update(&[u8::from(is_letter(c))]);
        }
        assert_eq!(hasher.finalize(), CHECKSUM);
    }

    #[test]
    fn odd_folds() {
        assert_eq!(fold('K'), 'k');
        assert_eq!(fold('\u{212a}'), 'k', "kelvin sign");
        assert_eq!(fold('\u{17f}'), 's', "long s");
        assert_eq!(fold('ς'), fold('Σ'));
        assert_eq!(fold('ß'), fold('ẞ'));
        assert_ne!(fold('ı'), fold('i'), "dotless i has no simple folding to i");
    }

    #[test]
    fn folding_twice_changes_nothing() {
        assert!(('\0'..=char::MAX).all(|c| fold(fold(c)) == fold(c)));
    }
}
