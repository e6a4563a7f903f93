//! Durations as an operator writes them: `30s`, `5m`, `7d`, or several parts as in `1h30m`.
//!
//! A number always has its unit (only `0` may go without), and a month or a year does not exist.

use std::fmt;
use std::time::Duration;

use thiserror::Error;

/// Units from the longest to the shortest, with their length in milliseconds.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Why a text is not a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DurationTextError {
    /// There is no number where one must be.
    #[error("a duration is a whole number and a unit, such as 30s, 5m or 7d")]
    NotANumber,
    /// A number has no unit, or none of the known ones.
    #[error("unknown unit of time, use ms, s, m, h or d")]
    UnknownUnit,
    /// The duration does not fit in 64 bits of milliseconds.
    #[error("the duration is too long")]
    TooLong,
}

/// Reads a duration such as `30s` or `1h30m`.
pub fn parse_duration(text: &str) -> Result<Duration, DurationTextError> {
    let mut rest = text.trim();
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    let mut total_ms = 0u64;
    loop {
        let (number, after) = rest.split_at(rest.bytes().take_while(u8::is_ascii_digit).count());
        if number.is_empty() {
            return Err(DurationTextError::NotANumber);
        }
        let (unit, after) = after.split_at(after.bytes().take_while(u8::is_ascii_alphabetic).count());
        let unit_ms = UNITS.iter().find(|(name, _)| unit == *name).map(|(_, ms)| *ms);
        let unit_ms = unit_ms.ok_or(DurationTextError::UnknownUnit)?;
        let part_ms = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit_ms));
        total_ms = part_ms.and_then(|part| total_ms.checked_add(part)).ok_or(DurationTextError::TooLong)?;
        rest = after.trim_start();
        if rest.is_empty() {
            return Ok(Duration::from_millis(total_ms));
        }
    }
}

/// Shows a duration, to the millisecond, so that [`parse_duration`] gives it back.
#[derive(Clone, Copy, Debug)]
pub struct DurationText(pub Duration);

impl fmt::Display for DurationText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest_ms = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        if rest_ms == 0 {
            return f.write_str("0s");
        }
        for (unit, unit_ms) in UNITS {
            let count = rest_ms / unit_ms;
            rest_ms %= unit_ms;
            if count > 0 {
                write!(f, "{count}{unit}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_read_as_an_operator_writes_them() {
        for (text, ms) in [
            ("0", 0),
            ("0s", 0),
            ("250ms", 250),
            ("30s", 30_000),
            ("5m", 300_000),
            ("7d", 604_800_000),
            ("1h30m", 5_400_000),
            ("1h 30m", 5_400_000),
            (" 2h ", 7_200_000),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn a_number_without_a_unit_is_not_guessed() {
        for (text, error) in [
            ("", DurationTextError::NotANumber),
            ("s", DurationTextError::NotANumber),
            ("-5s", DurationTextError::NotANumber),
            ("1.5s", DurationTextError::UnknownUnit),
            ("30", DurationTextError::UnknownUnit),
            ("1y", DurationTextError::UnknownUnit),
            ("5M", DurationTextError::UnknownUnit),
            ("99999999999999999999s", DurationTextError::TooLong),
            ("999999999999999d", DurationTextError::TooLong),
        ] {
            assert_eq!(parse_duration(text), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(ms in any::<u64>(), shift in 0u32..60) {
            let duration = Duration::from_millis(ms >> shift);
            prop_assert_eq!(parse_duration(&DurationText(duration).to_string()), Ok(duration));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC{0,24}") {
            let _ = parse_duration(&text);
        }
    }
}
