//! Printing an error with its causes on one line. Errors themselves state only what they are, never their cause,
//! so the place that prints one uses [`ErrorChain`].

use std::error::Error;
use std::fmt;

/// A chain longer than this is cut: it is a loop or of no use to a reader.
const CAUSES_MAX: usize = 16;

/// Shows an error and its sources, joined by `: `.
#[derive(Clone, Copy)]
pub struct ErrorChain<'a>(&'a (dyn Error + 'static));

impl<'a> ErrorChain<'a> {
    /// Wraps `error` for printing.
    pub fn new(error: &'a (dyn Error + 'static)) -> Self {
        Self(error)
    }
}

impl fmt::Display for ErrorChain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = self.0.to_string();
        f.write_str(&shown)?;
        for cause in
            std::iter::successors(self.0.source(), |error: &&(dyn Error + 'static)| (*error).source())
                .take(CAUSES_MAX)
        {
            let text = cause.to_string();
            // Some libraries repeat their cause in their own text; once is enough.
            if !shown.ends_with(&text) {
                write!(f, ": {text}")?;
            }
            shown = text;
        }
        Ok(())
    }
}

impl fmt::Debug for ErrorChain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use thiserror::Error;

    use super::*;

    #[derive(Debug, Error)]
    enum Sample {
        #[error("open store")]
        Open(#[source] io::Error),
        #[error("start: {0}")]
        Repeating(#[source] io::Error),
    }

    #[test]
    fn causes_follow_the_error_once() {
        let open = Sample::Open(io::Error::other("disk gone"));
        assert_eq!(ErrorChain::new(&open).to_string(), "open store: disk gone");
        let repeating = Sample::Repeating(io::Error::other("disk gone"));
        assert_eq!(ErrorChain::new(&repeating).to_string(), "start: disk gone");
    }
}
