//! Messages as pages for people. What stands here may change from release to release; programs read the JSON.

pub(crate) mod cache;
pub(crate) mod cert;
pub(crate) mod cluster;
pub(crate) mod job;
pub(crate) mod layout;
pub(crate) mod member;
pub(crate) mod module;
pub(crate) mod node;
pub(crate) mod policy;
pub(crate) mod recover;
pub(crate) mod token;

use proto::Named;
use proto::control::v1::Health;

use crate::output::page::{Cell, Page};
use crate::output::style::Tone;
use crate::time::shown;

/// What to say beside a join token.
pub(crate) const JOIN_NOTE: &str =
    "run the command on the new machine; the token is shown this once and works once";

/// What to say beside the join token of a node that is to take over from another.
pub(crate) const REPLACE_NOTE: &str = "once it has joined, the same command has it take over";

/// A join token with the command that it is for.
pub(crate) fn joining(
    name: &str,
    join_token: &str,
    expires: Option<&prost_types::Timestamp>,
    command: &str,
) -> Page {
    Page::new()
        .fields(vec![("name", name.into()), ("expires", shown(expires).into())])
        .verbatim(format!("join token:\n{join_token}"))
        .verbatim(format!("command:\n{command}"))
}

/// A node that takes over from another.
pub(crate) fn replacing(name: &str) -> Page {
    Page::new().fields(vec![("name", name.into()), ("state", "takes over".into())])
}

/// An enum's value; `-` where nothing is said.
fn named<E: Named + PartialEq>(value: E) -> String {
    if value == E::default() { "-".to_owned() } else { value.short_name() }
}

fn health(health: Health) -> Cell {
    let tone = match health {
        Health::Ok => Tone::Good,
        Health::Suspect => Tone::Warn,
        Health::Down => Tone::Bad,
        Health::Unspecified => Tone::Plain,
    };
    Cell::new(named(health), tone)
}

/// Text, or a dash where there is none.
fn or_dash(text: &str) -> Cell {
    if text.is_empty() { "-".into() } else { text.into() }
}

/// A number of bytes to three digits, in the unit that makes it readable.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut size = bytes as f64 / 1024.0;
    let mut unit = UNITS[0];
    for larger in &UNITS[1..] {
        // Before it would be shown as 1000 of the smaller unit.
        if size < 999.5 {
            break;
        }
        size /= 1024.0;
        unit = larger;
    }
    let digits = if size < 9.995 { 2 } else { usize::from(size < 99.95) };
    format!("{size:.digits$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_three_digits() {
        for (number, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.00 KiB"),
            (10_240, "10.0 KiB"),
            (1_022_976, "999 KiB"),
            (1_048_576, "1.00 MiB"),
            (3 << 40, "3.00 TiB"),
            (u64::MAX, "16384 PiB"),
        ] {
            assert_eq!(bytes(number), text);
        }
    }
}
