//! The `/index` feed (protocol.md 100): versions in the order in which their zips were first held here.

use bytes::Bytes;
use gomod::ModuleVersion;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::error::ServeError;
use super::proxy::Proxy;

/// Lines of an answer, as at the public feed.
const LINES_DEFAULT: usize = 2000;
/// Lines that can be asked for.
const LINES_MAX: usize = 2000;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Line<'a> {
    path: &'a str,
    version: &'a str,
    timestamp: String,
}

/// What a query asks for.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    since_us: i64,
    limit: usize,
}

/// Answers the feed for a query string.
pub(super) async fn feed(proxy: &Proxy, query: &str) -> Result<Bytes, ServeError> {
    let wanted = parse(query)?;
    let entries = proxy
        .with_store("read the index", move |store| store.index_since(wanted.since_us, wanted.limit))
        .await?;
    let mut text = Vec::new();
    let served = |version: &ModuleVersion| {
        proxy.block_of(version).is_none() && proxy.outdated(&version.module).is_none()
    };
    // Those that are not served are left out; a page may be short, which ends nothing for whoever reads on by time.
    for entry in entries.iter().filter(|entry| served(&entry.version)) {
        let line = Line {
            path: entry.version.module.as_str(),
            version: entry.version.version.as_str(),
            timestamp: timestamp(entry.held_us)?,
        };
        serde_json::to_writer(&mut text, &line).map_err(|_| internal())?;
        text.push(b'\n');
    }
    Ok(text.into())
}

fn parse(query: &str) -> Result<Wanted, ServeError> {
    let mut wanted = Wanted { since_us: 0, limit: LINES_DEFAULT };
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            // As if it were not there, which is what other mirrors make of it.
            "since" | "limit" if value.is_empty() => {}
            "since" => {
                let since = OffsetDateTime::parse(&value, &Rfc3339)
                    .map_err(|_| malformed("`since` is not a time such as 2019-04-10T19:08:52.997264Z"))?;
                wanted.since_us = i64::try_from(since.unix_timestamp_nanos() / 1000).unwrap_or(i64::MAX);
            }
            "limit" => {
                let limit: usize = value.parse().map_err(|_| malformed("`limit` is not a number"))?;
                wanted.limit = limit.min(LINES_MAX);
            }
            _ => {}
        }
    }
    Ok(wanted)
}

fn timestamp(us: i64) -> Result<String, ServeError> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(us) * 1000)
        .ok()
        .and_then(|time| time.format(&Rfc3339).ok())
        .ok_or_else(internal)
}

fn malformed(why: &str) -> ServeError {
    ServeError::Malformed { why: why.to_owned() }
}

fn internal() -> ServeError {
    ServeError::Internal { what: "write the index".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_and_bounded() {
        assert_eq!(parse("").unwrap(), Wanted { since_us: 0, limit: 2000 });
        assert_eq!(
            parse("since=1970-01-01T00%3A00%3A01.5Z&limit=99999&x=y").unwrap(),
            Wanted { since_us: 1_500_000, limit: 2000 }
        );
        assert!(parse("since=yesterday").is_err());
        assert!(parse("limit=-1").is_err());
    }

    #[test]
    fn times_keep_their_microseconds() {
        assert_eq!(timestamp(1_500_000).unwrap(), "1970-01-01T00:00:01.5Z");
    }
}
