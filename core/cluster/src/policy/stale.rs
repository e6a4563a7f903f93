//! What a data node no longer answers once it has not heard for long that what it goes by is the latest: a credential that was revoked, or a
//! module that was taken down meanwhile, stays good there for no longer than a document says.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::document::Modules;
use crate::ids::{PolicyName, as_text};
use crate::text::Note;

/// Units with their seconds, from the longest.
const UNITS: [(char, u32); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];
/// The shortest age: a control node that ends is missed for a moment by everybody who follows it, and that is no reason to refuse anything.
const AGE_MIN: Duration = Duration::from_mins(1);

/// Modules that are refused by a data node that is cut off.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stale {
    /// Which modules; all, if none.
    pub modules: Option<Modules>,
    /// After how long.
    pub after: Age,
    /// Why, as it is told to who is refused.
    pub reason: Option<Note>,
}

/// A whole number of seconds, a minute at least, that is written with a unit: `90s`, `30m`, `12h`, `7d`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Age(u32);

/// Why a text is no age.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AgeError {
    /// It is written in another way.
    #[error("not a whole number and a unit, such as 90s, 30m, 12h or 7d")]
    Form,
    /// It does not fit.
    #[error("longer than 49000d")]
    TooLong,
    /// Nothing is refused so soon.
    #[error("shorter than 60s")]
    TooShort,
}

impl Age {
    /// As a duration.
    pub const fn duration(self) -> Duration {
        Duration::from_secs(self.0 as u64)
    }
}

impl FromStr for Age {
    type Err = AgeError;

    fn from_str(text: &str) -> Result<Self, AgeError> {
        let unit = text.chars().next_back().ok_or(AgeError::Form)?;
        let (_, seconds) = UNITS.into_iter().find(|(name, _)| *name == unit).ok_or(AgeError::Form)?;
        let number = text.strip_suffix(unit).unwrap_or_default();
        if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(AgeError::Form);
        }
        let number: u32 = number.parse().map_err(|_| AgeError::TooLong)?;
        let age = Self(number.checked_mul(seconds).ok_or(AgeError::TooLong)?);
        if age.duration() < AGE_MIN { Err(AgeError::TooShort) } else { Ok(age) }
    }
}

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |(_, seconds): &(char, u32)| self.0.is_multiple_of(*seconds);
        let (unit, seconds) = UNITS.into_iter().find(fits).unwrap_or(('s', 1));
        write!(f, "{}{unit}", self.0 / seconds)
    }
}

as_text!(Age);

/// What says that a module is refused by who has heard nothing for so long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outdated<'a> {
    /// The document.
    pub document: &'a PolicyName,
    /// What it says.
    pub stale: &'a Stale,
}

impl fmt::Display for Outdated<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "policy {} has it answered for {} after the last word only",
            self.document, self.stale.after
        )?;
        self.stale.reason.as_ref().map_or(Ok(()), |reason| write!(f, ": {reason}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_reads_back_as_it_is_shown() {
        for (text, shown, seconds) in [
            ("90s", "90s", 90),
            ("060s", "1m", 60),
            ("120m", "2h", 7_200),
            ("36h", "36h", 129_600),
            ("7d", "7d", 604_800),
        ] {
            let age: Age = text.parse().unwrap();
            assert_eq!((age.to_string().as_str(), age.duration()), (shown, Duration::from_secs(seconds)));
            assert_eq!(age.to_string().parse(), Ok(age));
        }
    }

    #[test]
    fn what_is_no_age_is_refused() {
        for text in ["", "s", "7", "1.5h", "-1h", "+1h", "1 h", "1h30m", "7w", "7\u{e9}", "\u{667}h"] {
            assert_eq!(text.parse::<Age>(), Err(AgeError::Form), "{text:?}");
        }
        assert_eq!("59s".parse::<Age>(), Err(AgeError::TooShort));
        assert_eq!("0d".parse::<Age>(), Err(AgeError::TooShort));
        assert_eq!("50000d".parse::<Age>(), Err(AgeError::TooLong));
        assert_eq!("99999999999s".parse::<Age>(), Err(AgeError::TooLong));
    }
}
