//! What is being made for clients right now, for people who look into a running node.

use std::fmt::{self, Write as _};
use std::time::Instant;

use gomod::{ModulePath, Request};

use super::flights::Flights;
use super::proxy::Proxy;
use super::zips::ZipStage;
use crate::private::REDACTED;

/// Flights of a kind that are shown at most.
const SHOWN_MAX: usize = 200;

/// A flight, as a line.
struct Line {
    begun: Instant,
    kind: &'static str,
    what: String,
    so_far: String,
}

impl Proxy {
    /// What is fetched, and what other nodes are asked for: a line each, the longest under way first. Private modules are not named.
    pub fn under_way(&self) -> String {
        let mut lines = Vec::new();
        for (kind, flights) in [("fetch", &self.texts), ("lend", &self.lent_texts)] {
            for (request, begun) in flights.list(SHOWN_MAX) {
                let what = self.named(request.module(), &request);
                lines.push(Line { begun, kind, what, so_far: String::new() });
            }
        }
        for (kind, flights) in [("fetch", &self.zips), ("lend", &self.lent_zips)] {
            for (version, begun) in flights.list(SHOWN_MAX) {
                let so_far = zip_so_far(flights, &version);
                let what = self.named(&version.module.clone(), &Request::Zip(version));
                lines.push(Line { begun, kind, what, so_far });
            }
        }
        for (module, begun) in self.known.list(SHOWN_MAX) {
            lines.push(Line {
                begun,
                kind: "ask",
                what: self.named(&module, &module),
                so_far: String::new(),
            });
        }
        render(lines, Instant::now())
    }

    fn named(&self, module: &ModulePath, what: &dyn fmt::Display) -> String {
        if self.is_private(module) { REDACTED.to_owned() } else { what.to_string() }
    }
}

fn zip_so_far(flights: &Flights<gomod::ModuleVersion, ZipStage>, version: &gomod::ModuleVersion) -> String {
    match flights.now(version) {
        Some(ZipStage::Live(spool)) => {
            let (received, length) = spool.progress();
            format!("{received} of {length} bytes")
        }
        Some(ZipStage::Done(_)) | None => String::new(),
    }
}

fn render(mut lines: Vec<Line>, now: Instant) -> String {
    if lines.is_empty() {
        return "nothing is being fetched\n".to_owned();
    }
    lines.sort_by_key(|line| line.begun);
    let mut out = String::new();
    for Line { begun, kind, what, so_far } in lines {
        let seconds = now.saturating_duration_since(begun).as_secs_f64();
        // Writing to a string does not fail.
        let _ = writeln!(out, "{}", format!("{seconds:>8.1} s  {kind:<5}  {what}  {so_far}").trim_end());
    }
    out
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_takes_longest_comes_first() {
        let now = Instant::now();
        let line = |seconds, what: &str, so_far: &str| Line {
            begun: now.checked_sub(Duration::from_secs(seconds)).unwrap_or(now),
            kind: "fetch",
            what: what.to_owned(),
            so_far: so_far.to_owned(),
        };
        let text =
            render(vec![line(1, "a.b/c/@v/list", ""), line(9, "a.b/d/@v/v1.0.0.zip", "5 of 7 bytes")], now);
        let expected =
            "     9.0 s  fetch  a.b/d/@v/v1.0.0.zip  5 of 7 bytes\n     1.0 s  fetch  a.b/c/@v/list\n";
        assert_eq!(text, expected);
        assert_eq!(render(Vec::new(), now), "nothing is being fetched\n");
    }
}
