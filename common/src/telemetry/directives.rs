//! The text of `--log-level`: a level, or directives such as `info,dataplane=debug`.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;
use tracing_subscriber::EnvFilter;

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Checked log directives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogDirectives(String);

/// Why a text is not a set of log directives.
#[derive(Debug, Error)]
pub enum DirectivesError {
    /// A word that is neither a level nor `target=level`.
    #[error("`{0}` is neither a level (off, error, warn, info, debug, trace) nor TARGET=LEVEL")]
    NotALevel(String),
    /// A directive that the filter does not understand.
    #[error("directive is not of the form TARGET=LEVEL")]
    Malformed(#[source] tracing_subscriber::filter::ParseError),
}

impl LogDirectives {
    pub(super) fn filter(&self) -> EnvFilter {
        EnvFilter::builder().parse_lossy(&self.0)
    }
}

impl FromStr for LogDirectives {
    type Err = DirectivesError;

    fn from_str(text: &str) -> Result<Self, DirectivesError> {
        for directive in text.split(',').map(str::trim) {
            // The filter takes any bare word as a target, so that `inof` would silently log nothing but it.
            let bare = !directive.contains(['=', '[', ':']);
            if bare && !LEVELS.iter().any(|level| directive.eq_ignore_ascii_case(level)) {
                return Err(DirectivesError::NotALevel(directive.to_owned()));
            }
        }
        EnvFilter::builder().parse(text).map_err(DirectivesError::Malformed)?;
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for LogDirectives {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_directives_are_taken_and_typing_errors_are_not() {
        for good in ["info", "WARN", "off", "info,dataplane=debug", "warn,dataplane::store=trace"] {
            assert_eq!(good.parse::<LogDirectives>().unwrap().to_string(), good);
        }
        for bad in ["", "inof", "info,", "info,debgu", "dataplane=loud"] {
            assert!(bad.parse::<LogDirectives>().is_err(), "{bad}");
        }
    }
}
