//! Sizes as an operator writes them: `256MiB`, `50GiB`, or plain bytes.
//!
//! Only binary units exist here. `GB` is refused rather than guessed, since half of its users mean `GiB`.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

const UNITS: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

/// A number of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(u64);

impl ByteSize {
    /// A size of so many bytes.
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The size in bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

/// Why a text is not a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ByteSizeError {
    /// There is no number, or it is not a whole one.
    #[error("a size is a whole number and a unit, such as 256MiB or 50GiB")]
    NotANumber,
    /// The unit is none of the known ones.
    #[error("unknown unit of size, use KiB, MiB, GiB, TiB or none for bytes")]
    UnknownUnit,
    /// The size does not fit in 64 bits.
    #[error("the size is too large")]
    TooLarge,
}

impl FromStr for ByteSize {
    type Err = ByteSizeError;

    fn from_str(text: &str) -> Result<Self, ByteSizeError> {
        let text = text.trim();
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        if number.is_empty() || unit.starts_with(['.', ',', '_']) {
            return Err(ByteSizeError::NotANumber);
        }
        let factor = unit_factor(unit.trim_start()).ok_or(ByteSizeError::UnknownUnit)?;
        let number: u64 = number.parse().map_err(|_| ByteSizeError::TooLarge)?;
        let bytes = number.checked_mul(factor).ok_or(ByteSizeError::TooLarge)?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for ByteSize {
    /// The largest unit that leaves a whole number, so that parsing gives the same size back.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, factor) in UNITS {
            if self.0 != 0 && self.0.is_multiple_of(factor) {
                return write!(f, "{}{unit}", self.0 / factor);
            }
        }
        write!(f, "{}", self.0)
    }
}

fn unit_factor(unit: &str) -> Option<u64> {
    if unit.is_empty() || unit.eq_ignore_ascii_case("B") {
        return Some(1);
    }
    UNITS.iter().find(|(name, _)| unit.eq_ignore_ascii_case(name)).map(|(_, factor)| *factor)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_are_read_as_an_operator_writes_them() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("1 KiB", 1024),
            ("256MiB", 256 << 20),
            ("50GiB", 50 << 30),
            ("50gib", 50 << 30),
            ("2TiB", 2 << 40),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
    }

    #[test]
    fn what_could_be_meant_in_two_ways_is_refused() {
        for (text, error) in [
            ("", ByteSizeError::NotANumber),
            ("GiB", ByteSizeError::NotANumber),
            ("1.5GiB", ByteSizeError::NotANumber),
            ("-1", ByteSizeError::NotANumber),
            ("50GB", ByteSizeError::UnknownUnit),
            ("50G", ByteSizeError::UnknownUnit),
            ("18446744073709551616", ByteSizeError::TooLarge),
            ("99999999TiB", ByteSizeError::TooLarge),
        ] {
            assert_eq!(text.parse::<ByteSize>(), Err(error), "{text}");
        }
    }

    #[test]
    fn the_largest_whole_unit_is_shown() {
        assert_eq!(ByteSize(1536 << 20).to_string(), "1536MiB");
        assert_eq!(ByteSize(1 << 40).to_string(), "1TiB");
        assert_eq!(ByteSize(1025).to_string(), "1025");
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(number in any::<u64>(), shift in 0u32..44) {
            let size = ByteSize(number >> (shift % 64) << (shift / 2));
            prop_assert_eq!(size.to_string().parse(), Ok(size));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC{0,24}") {
            let _ = text.parse::<ByteSize>();
        }
    }
}
