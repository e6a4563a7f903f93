//! Times and durations between the wire, the command line and the table.

use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

const SHOWN: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");

/// Reads a time in RFC 3339.
pub(crate) fn parse(text: &str) -> Result<prost_types::Timestamp, String> {
    let time = OffsetDateTime::parse(text, &Rfc3339)
        .map_err(|_| "a time is written as in RFC 3339, such as 2026-01-31T00:00:00Z".to_owned())?;
    let nanos = i32::try_from(time.nanosecond()).unwrap_or_default();
    Ok(prost_types::Timestamp { seconds: time.unix_timestamp(), nanos })
}

/// A time as tables have it, in UTC; `-` where there is none.
pub(crate) fn shown(time: Option<&prost_types::Timestamp>) -> String {
    time.and_then(|time| OffsetDateTime::from_unix_timestamp(time.seconds).ok())
        .and_then(|time| time.format(SHOWN).ok())
        .map_or_else(|| "-".to_owned(), |text| text + " UTC")
}

/// A duration for the wire.
pub(crate) fn to_wire(duration: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or_default(),
    }
}

/// A duration from the wire to the second, as tables have it; `None` for a negative one.
pub(crate) fn of_wire(duration: &prost_types::Duration) -> Option<String> {
    let seconds = u64::try_from(duration.seconds).ok()?;
    Some(common::duration_text::DurationText(Duration::from_secs(seconds)).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_shown_in_utc() {
        let time = parse("2026-01-31T01:00:00.5+01:00").unwrap();
        assert_eq!(time.nanos, 500_000_000);
        assert_eq!(shown(Some(&time)), "2026-01-31 00:00:00 UTC");
        assert_eq!(shown(None), "-");
        assert!(parse("yesterday").is_err());
    }

    #[test]
    fn durations_go_both_ways() {
        let wire = to_wire(Duration::from_millis(90_500));
        assert_eq!((wire.seconds, wire.nanos), (90, 500_000_000));
        assert_eq!(of_wire(&wire).as_deref(), Some("1m30s"));
        assert_eq!(of_wire(&prost_types::Duration { seconds: -1, nanos: 0 }), None);
    }
}
