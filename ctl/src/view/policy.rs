//! Policy documents, their differences, decisions.

use proto::control::v1::{
    AccessCase, AccessDecision, AccessEffect, ExplainAccessResponse, Policy, PolicyDifference,
    TestAccessResponse,
};

use super::{named, or_dash};
use crate::output::page::{Cell, Page};
use crate::output::style::Tone;
use crate::output::table::Table;
use crate::time::shown;

/// `policy show` without a name, `policy history`.
pub(crate) fn list(policies: &[Policy], none: &'static str) -> Page {
    let mut table = Table::new(&["POLICY", ">GENERATION", "STATE", "SINCE", "AUTHOR", "REASON"], none);
    for policy in policies {
        table.row(vec![
            policy.name.as_str().into(),
            policy.generation.into(),
            if policy.deleted { Cell::new("deleted", Tone::Warn) } else { "applied".into() },
            shown(policy.update_time.as_ref()).into(),
            or_dash(&policy.author),
            or_dash(&policy.reason),
        ]);
    }
    Page::new().table(table)
}

/// `policy show NAME`: the text alone, so that it can be redirected to a file.
pub(crate) fn content(policy: &Policy) -> Page {
    Page::new().verbatim(policy.content.clone())
}

/// What is to be said beside a document.
pub(crate) fn about(policy: &Policy) -> String {
    let state = if policy.deleted { "deleted" } else { "applied" };
    let (time, author) = (shown(policy.update_time.as_ref()), &policy.author);
    format!("policy {}, generation {}, {state} {time} by {author}", policy.name, policy.generation)
}

/// `policy diff`, `policy apply`.
pub(crate) fn differences(differences: &[PolicyDifference], none: &'static str) -> Page {
    let mut table = Table::new(&["", "WHERE", "BEFORE", "AFTER"], none);
    for difference in differences {
        let sign = match (difference.before.is_empty(), difference.after.is_empty()) {
            (true, _) => Cell::new("+", Tone::Good),
            (false, true) => Cell::new("-", Tone::Bad),
            (false, false) => Cell::new("~", Tone::Warn),
        };
        table.row(vec![
            sign,
            difference.path.as_str().into(),
            or_dash(&difference.before),
            or_dash(&difference.after),
        ]);
    }
    Page::new().table(table)
}

/// `policy test`.
pub(crate) fn results(response: &TestAccessResponse) -> Page {
    let mut table = Table::new(&["", "WHO", "VERB", "MODULE", "EXPECTED", "DECIDED", "REASON"], "no tests");
    for result in &response.results {
        let test = result.test.clone().unwrap_or_default();
        let case = test.case.clone().unwrap_or_default();
        let decision = result.decision.clone().unwrap_or_default();
        let verdict = if result.passed { Cell::new("ok", Tone::Good) } else { Cell::new("FAIL", Tone::Bad) };
        table.row(vec![
            verdict,
            case.principal.as_str().into(),
            case.verb.as_str().into(),
            module(&case).into(),
            named(test.expected_effect()).into(),
            effect(&decision),
            decision.reason.as_str().into(),
        ]);
    }
    Page::new().table(table)
}

/// How many are as expected.
pub(crate) fn tally(response: &TestAccessResponse) -> String {
    let all = response.results.len();
    format!("{} of {all} as expected", all.saturating_sub(response.failed_count as usize))
}

/// `policy explain`.
pub(crate) fn explanation(response: &ExplainAccessResponse) -> Page {
    let decision = response.decision.clone().unwrap_or_default();
    let fields = vec![
        ("decision", effect(&decision)),
        ("reason", or_dash(&decision.reason)),
        ("policy", or_dash(&decision.policy)),
        ("rule", or_dash(&decision.rule)),
        ("roles", or_dash(&response.roles.join(" "))),
    ];
    let mut steps = Table::new(&["POLICY", "RULE", "APPLIES", "WHY"], "no rule was looked at");
    for step in &response.steps {
        steps.row(vec![
            step.policy.as_str().into(),
            step.rule.as_str().into(),
            if step.matched { Cell::new("yes", Tone::Good) } else { "no".into() },
            step.reason.as_str().into(),
        ]);
    }
    Page::new().fields(fields).table(steps)
}

fn effect(decision: &AccessDecision) -> Cell {
    let tone = match decision.effect() {
        AccessEffect::Allow => Tone::Good,
        AccessEffect::Deny => Tone::Bad,
        AccessEffect::Unspecified => Tone::Plain,
    };
    Cell::new(named(decision.effect()), tone)
}

fn module(case: &AccessCase) -> String {
    if case.version.is_empty() { case.module.clone() } else { format!("{}@{}", case.module, case.version) }
}
