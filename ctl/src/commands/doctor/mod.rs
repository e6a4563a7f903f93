//! `doctor`: looks at everything between this machine and the cluster, one line for each thing, and says what to do.
//!
//! A check that cannot be made because an earlier one failed is left out: the first failure is the one to put right.

mod cluster;
mod path;

use std::time::Duration;

use serde::Serialize;

use super::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Answer;
use crate::output::page::{Cell, Page};
use crate::output::style::Tone;
use crate::output::table::Table;

/// A certificate that ends sooner should have been renewed; an authority has to be rotated by hand.
const SOON: Duration = Duration::from_hours(7 * 24);

/// How a check came out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    Warn,
    Fail,
}

/// A check that was made.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
struct Check {
    #[serde(rename = "check")]
    name: String,
    verdict: Verdict,
    message: String,
    hint: String,
    #[serde(skip)]
    exit: Exit,
}

impl Check {
    fn ok(check: impl Into<String>, message: impl Into<String>) -> Self {
        let (name, message) = (check.into(), message.into());
        Self { name, verdict: Verdict::Ok, message, hint: String::new(), exit: Exit::Done }
    }

    fn warn(check: impl Into<String>, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { verdict: Verdict::Warn, hint: hint.into(), ..Self::ok(check, message) }
    }

    fn fail(
        check: impl Into<String>,
        message: impl Into<String>,
        hint: impl Into<String>,
        exit: Exit,
    ) -> Self {
        Self { verdict: Verdict::Fail, exit, ..Self::warn(check, message, hint) }
    }

    fn failed(check: impl Into<String>, failure: &Failure) -> Self {
        let cause = std::error::Error::source(failure).map(|cause| format!(": {cause}")).unwrap_or_default();
        let hint = failure.hint().unwrap_or_default();
        Self::fail(check, format!("{failure}{cause}"), hint, failure.exit())
    }
}

#[derive(Serialize)]
struct Report {
    ok: bool,
    checks: Vec<Check>,
}

pub(super) async fn run(context: &Context) -> Result<Answer, Failure> {
    let mut checks = path::checks(context).await;
    let reached = checks.iter().any(|check| check.name.starts_with("tls ") && check.verdict == Verdict::Ok);
    if reached {
        checks.extend(cluster::checks(context).await);
    }
    Ok(report(checks, reached))
}

fn report(checks: Vec<Check>, reached: bool) -> Answer {
    let mut table = Table::new(&["", "CHECK", "RESULT"], "");
    let mut hints = Page::new();
    for check in &checks {
        let mark = match check.verdict {
            Verdict::Ok => Cell::new("ok", Tone::Good),
            Verdict::Warn => Cell::new("warn", Tone::Warn),
            Verdict::Fail => Cell::new("FAIL", Tone::Bad),
        };
        table.row(vec![mark, check.name.as_str().into(), check.message.as_str().into()]);
    }
    // Whole, since the table cuts what is long.
    for check in checks.iter().filter(|check| check.verdict != Verdict::Ok) {
        let what = [check.name.as_str(), ": ", check.message.as_str()].concat();
        let text =
            if check.hint.is_empty() { what } else { [what.as_str(), "; ", check.hint.as_str()].concat() };
        hints = hints.line(text);
    }
    // One server of several that is down is no reason to fail while another answers.
    let servers = |check: &&Check| check.exit == Exit::Unreachable && reached;
    let exit = checks
        .iter()
        .filter(|check| !servers(check))
        .map(|check| check.exit)
        .find(|exit| *exit != Exit::Done);
    let exit = exit.unwrap_or(Exit::Done);
    let page = Page::new().table(table).join(hints);
    Answer::new(Report { ok: exit == Exit::Done, checks }, page).ending(exit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_is_the_exit_code() {
        let down = || Check::fail("tls a:1", "x", "", Exit::Unreachable);
        let up = || Check::ok("tls b:1", "x");
        let token = || Check::fail("token", "x", "y", Exit::Denied);
        let exit = |checks: Vec<Check>, reached| report(checks, reached).exit;
        assert_eq!(exit(vec![up(), Check::warn("clock", "x", "y")], true), Exit::Done);
        assert_eq!(exit(vec![down(), up()], true), Exit::Done);
        assert_eq!(exit(vec![down()], false), Exit::Unreachable);
        assert_eq!(exit(vec![down(), up(), token()], true), Exit::Denied);
    }
}
