//! Documents: read with all problems at once, and decided by, with the reason.

use std::time::Duration;

use cluster::policy::{
    Because, Binding, Closed, Document, Modules, Policies, Principal, Rule, RuleEffect, Stale, Subject, Verb,
};
use cluster::{PolicyName, RoleName};
use gomod::ModulePath;
use proptest::prelude::*;

use crate::support::t;

fn module(path: &str) -> ModulePath {
    ModulePath::parse(path).unwrap()
}

fn policies(documents: &[(&str, &str)]) -> Policies {
    Policies::new(documents.iter().map(|(name, text)| (t(name), Document::parse(text.as_bytes()).unwrap())))
}

fn decided(policies: &Policies, principal: &Principal, verb: Verb, path: &str) -> String {
    let decision = policies.decide(principal, verb, &module(path));
    format!("{}: {}", if decision.allowed { "yes" } else { "no" }, decision.because)
}

#[test]
fn where_nothing_is_said_everybody_reads() {
    let none = Policies::default();
    let anonymous = Principal::anonymous();
    for verb in Verb::ALL {
        let decision = none.decide(&anonymous, verb, &module("a.b/c"));
        assert_eq!(decision.allowed, matches!(verb, Verb::Read | Verb::List), "{verb}");
    }
    assert_eq!(
        decided(&none, &anonymous, Verb::Read, "a.b/c"),
        "yes: no policy says otherwise, and it is open by default"
    );
    assert_eq!(decided(&none, &anonymous, Verb::Publish, "a.b/c"), "no: no policy grants it");
}

#[test]
fn the_reason_names_what_decided() {
    let policies = policies(&[
        (
            "access",
            r#"{
                "roles": {"developer": ["read", "list"], "publisher": ["publish"]},
                "bindings": [
                    {"role": "developer", "subjects": ["group:dev"], "modules": "corp.example/*"},
                    {"role": "publisher", "subjects": ["token:ci"], "modules": "corp.example/team"}
                ],
                "closed": [{"modules": "corp.example", "verbs": ["read", "list"], "reason": "ask in #go"}]
            }"#,
        ),
        (
            "supply-chain",
            r#"{"rules": [
                {"effect": "allow", "verbs": ["pin"], "subjects": ["authenticated"]},
                {"effect": "deny", "modules": "evil.example,corp.example/old", "verbs": ["read"],
                 "subjects": ["anyone"], "reason": "CVE-2026-1"}
            ]}"#,
        ),
    ]);
    let anonymous = Principal::anonymous();
    let developer = Principal::known([Subject::User(t("ann")), Subject::Group(t("dev"))]);
    let ci = Principal::known([Subject::Token(t("ci"))]);
    let decided = |principal, verb, path| decided(&policies, principal, verb, path);
    assert_eq!(
        decided(&developer, Verb::Read, "corp.example/team/x"),
        "yes: binding 1 of policy access gives role developer"
    );
    assert_eq!(
        decided(&anonymous, Verb::List, "corp.example/team/x"),
        "no: closure 1 of policy access holds, and nothing grants it: ask in #go"
    );
    assert_eq!(
        decided(&ci, Verb::Publish, "corp.example/team/x"),
        "yes: binding 2 of policy access gives role publisher"
    );
    assert_eq!(decided(&ci, Verb::Publish, "corp.example/other"), "no: no policy grants it");
    assert_eq!(decided(&ci, Verb::Pin, "a.b/c"), "yes: rule 1 of policy supply-chain allows it");
    assert_eq!(decided(&anonymous, Verb::Pin, "a.b/c"), "no: no policy grants it");
    // Denying wins over any grant.
    let denied = "no: rule 2 of policy supply-chain denies it: CVE-2026-1";
    assert_eq!(decided(&developer, Verb::Read, "corp.example/old/v2"), denied);
    assert_eq!(decided(&anonymous, Verb::Read, "evil.example/x"), denied);
    assert!(decided(&anonymous, Verb::Read, "github.com/a/b").starts_with("yes"));
    let without = policies.with(&t::<PolicyName>("supply-chain"), None);
    assert!(without.decide(&anonymous, Verb::Read, &module("evil.example/x")).allowed);
}

#[test]
fn who_has_heard_nothing_for_long_refuses_what_documents_say() {
    let policies = policies(&[
        (
            "access",
            r#"{"stale": [{"modules": "corp.example/*", "after": "12h", "reason": "access is withdrawn within a day"}]}"#,
        ),
        ("all", r#"{"stale": [{"after": "7d"}, {"modules": "corp.example/secret", "after": "5m"}]}"#),
    ]);
    let outdated = |path, seconds| {
        let found = policies.outdated(&module(path), Duration::from_secs(seconds));
        found.map(|found| found.to_string()).unwrap_or_default()
    };
    let half_a_day = 12 * 3_600;
    let access =
        "policy access has it answered for 12h after the last word only: access is withdrawn within a day";
    assert_eq!(outdated("corp.example/lib", half_a_day), "");
    assert_eq!(outdated("corp.example/lib/x", half_a_day + 1), access);
    assert_eq!(outdated("corp.example/secret", 300), "");
    assert_eq!(
        outdated("corp.example/secret", 301),
        "policy all has it answered for 5m after the last word only"
    );
    assert_eq!(outdated("a.b/c", 14 * half_a_day), "");
    assert_eq!(
        outdated("a.b/c", 14 * half_a_day + 1),
        "policy all has it answered for 7d after the last word only"
    );
    assert_eq!(policies.stale_after(), Some(Duration::from_mins(5)));
    assert_eq!(Policies::default().stale_after(), None);
    // It says nothing of who may do what.
    assert!(policies.decide(&Principal::anonymous(), Verb::Read, &module("corp.example/secret")).allowed);
}

#[test]
fn all_problems_are_told_at_once() {
    let text = r#"{
        "roles": {"Dev": ["read"], "dev": ["read", "fly"], "dev": "read"},
        "bindings": [{"role": "nobody", "subjects": ["ann", "user:"]}, {"subjects": []}, 7],
        "rules": [
            {"effect": "maybe", "verbs": [], "subjects": ["anyone"], "modules": "a.b, c.d", "when": 1},
            {"effect": "deny", "effect": "allow", "verbs": ["read"], "subjects": ["anyone"], "modules": ","}
        ],
        "closed": {},
        "stale": [{"after": "1 day"}, {"modules": ",", "after": "5s"}, {"modules": ",", "after": "12h"}, {}],
        "comment": "x"
    }"#;
    let problems = Document::parse(text.as_bytes()).unwrap_err();
    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    let verbs = "there are read, list, publish, warm, pin, purge, quarantine, takedown, admin";
    assert_eq!(
        problems,
        [
            r#"unknown field "comment", there are roles, bindings, rules, closed, stale"#.to_owned(),
            "roles.Dev: character 'D' is not allowed in a name, only a to z, 0 to 9 and dashes".to_owned(),
            format!("roles.dev[1]: no verb, {verbs}"),
            "roles.dev: a text instead of a list of verbs".to_owned(),
            "roles.dev: is there twice".to_owned(),
            "bindings[0].subjects[0]: not `anyone`, `authenticated`, or `user:`, `group:`, `token:` or `node:` and a name".to_owned(),
            "bindings[0].subjects[1]: name of a subject: text is empty".to_owned(),
            r#"bindings[1]: field "role" is missing"#.to_owned(),
            "bindings[1].subjects: is empty".to_owned(),
            "bindings[2]: a number instead of an object".to_owned(),
            r#"bindings[2]: field "role" is missing"#.to_owned(),
            r#"bindings[2]: field "subjects" is missing"#.to_owned(),
            r#"rules[0]: unknown field "when", there are effect, modules, verbs, subjects, reason"#.to_owned(),
            "rules[0].effect: neither `allow` nor `deny`".to_owned(),
            "rules[0].verbs: is empty".to_owned(),
            r#"rules[0].modules: white space in pattern " c.d""#.to_owned(),
            r#"rules[1]: field "effect" is there twice"#.to_owned(),
            "closed: an object instead of a list".to_owned(),
            "stale[0].after: not a whole number and a unit, such as 90s, 30m, 12h or 7d".to_owned(),
            "stale[1].after: shorter than 60s".to_owned(),
            r#"stale[3]: field "after" is missing"#.to_owned(),
            "bindings[0].role: no role of this document".to_owned(),
            "rules[0].modules: matches nothing".to_owned(),
            "stale[0].modules: matches nothing".to_owned(),
        ]
    );
    let broken = Document::parse(b"{\"roles\": ").unwrap_err();
    assert!(broken[0].to_string().starts_with("not JSON: "), "{broken:?}");
    assert!(Document::parse(&vec![b' '; 1 << 20]).is_err());
    assert_eq!(Document::parse(b"{}"), Ok(Document::default()));
    assert!(Document::parse("[".repeat(100_000).as_bytes()).is_err());
}

fn verbs() -> impl Strategy<Value = std::collections::BTreeSet<Verb>> {
    prop::collection::btree_set(prop::sample::select(&Verb::ALL[..4]), 1..4)
}

fn subject() -> impl Strategy<Value = Subject> {
    prop_oneof![
        Just(Subject::Anyone),
        Just(Subject::Authenticated),
        "[ab]".prop_map(|name| Subject::User(t(&name))),
        "[ab]".prop_map(|name| Subject::Group(t(&name))),
    ]
}

fn subjects() -> impl Strategy<Value = std::collections::BTreeSet<Subject>> {
    prop::collection::btree_set(subject(), 1..3)
}

fn modules() -> impl Strategy<Value = Option<Modules>> {
    const PATTERNS: &[&str] = &["a.b", "a.b/c", "*.b", "a.b/*/e", "x.y,a.b/c"];
    prop::option::of(prop::sample::select(PATTERNS)).prop_map(|text| text.map(t))
}

fn rule() -> impl Strategy<Value = Rule> {
    let effect = prop::bool::ANY.prop_map(|deny| if deny { RuleEffect::Deny } else { RuleEffect::Allow });
    (effect, modules(), verbs(), subjects()).prop_map(|(effect, modules, verbs, subjects)| Rule {
        effect,
        modules,
        verbs,
        subjects,
        reason: None,
    })
}

fn closed() -> impl Strategy<Value = Closed> {
    (modules(), verbs()).prop_map(|(modules, verbs)| Closed { modules, verbs, reason: None })
}

fn stale() -> impl Strategy<Value = Stale> {
    (modules(), 60_u32..200_000).prop_map(|(modules, seconds)| Stale {
        modules,
        after: t(&format!("{seconds}s")),
        reason: None,
    })
}

fn binding() -> impl Strategy<Value = Binding> {
    let role = prop::sample::select(&["r", "s"][..]);
    (role, subjects(), modules()).prop_map(|(role, subjects, modules)| Binding {
        role: t(role),
        subjects,
        modules,
    })
}

fn document() -> impl Strategy<Value = Document> {
    let roles = (verbs(), verbs());
    let rules = prop::collection::vec(rule(), 0..4);
    let (closed, stale) = (prop::collection::vec(closed(), 0..3), prop::collection::vec(stale(), 0..3));
    let parts = (roles, prop::collection::vec(binding(), 0..4), rules, closed, stale);
    parts.prop_map(|((r, s), bindings, rules, closed, stale)| Document {
        roles: [(t::<RoleName>("r"), r), (t("s"), s)].into(),
        bindings,
        rules,
        closed,
        stale,
    })
}

fn principal() -> impl Strategy<Value = Principal> {
    let known = prop::collection::vec(subject(), 0..3).prop_map(Principal::known);
    prop_oneof![Just(Principal::anonymous()), known]
}

fn all_decisions(policies: &Policies, principal: &Principal) -> Vec<bool> {
    let paths = ["a.b/c", "a.b/c/d", "a.b/d/e", "c.b/x", "x.y"];
    let of_verb = |verb| paths.map(|path| policies.decide(principal, verb, &module(path)).allowed);
    Verb::ALL.into_iter().flat_map(of_verb).collect()
}

fn only_less(before: &[bool], after: &[bool]) -> bool {
    before.iter().zip(after).all(|(before, after)| *before || !*after)
}

proptest! {
    #[test]
    fn denying_and_closing_never_allow_more_and_granting_never_less(
        one in document(), other in document(), rule in rule(), closed in closed(), binding in binding(),
        principal in principal(), at in any::<prop::sample::Index>(),
    ) {
        let with = |one: &Document| Policies::new([(t("p"), one.clone()), (t("q"), other.clone())]);
        let before = all_decisions(&with(&one), &principal);
        let mut more = one.clone();
        let at = at.index(more.rules.len() + 1);
        more.rules.insert(at, Rule { effect: RuleEffect::Deny, ..rule.clone() });
        prop_assert!(only_less(&before, &all_decisions(&with(&more), &principal)));
        let mut more = one.clone();
        more.closed.push(closed);
        prop_assert!(only_less(&before, &all_decisions(&with(&more), &principal)));
        let mut more = one.clone();
        more.rules.insert(at, Rule { effect: RuleEffect::Allow, ..rule });
        prop_assert!(only_less(&all_decisions(&with(&more), &principal), &before));
        let mut more = one;
        more.bindings.push(binding);
        prop_assert!(only_less(&all_decisions(&with(&more), &principal), &before));
    }

    #[test]
    fn a_denied_module_is_denied_whatever_else_is_said(one in document(), principal in principal()) {
        let deny = policies(&[(
            "deny",
            r#"{"rules": [{"effect": "deny", "verbs": ["read"], "subjects": ["anyone"], "modules": "a.b"}]}"#,
        )]);
        let both = deny.with(&t("a"), Some(one.clone())).with(&t("z"), Some(one));
        let decision = both.decide(&principal, Verb::Read, &module("a.b/c"));
        prop_assert!(!decision.allowed);
        let denies = matches!(decision.because, Because::Rule { effect: RuleEffect::Deny, .. });
        prop_assert!(denies);
    }

    #[test]
    fn what_is_kept_is_what_was_written(document in document()) {
        let text = serde_json::to_vec(&document).unwrap();
        prop_assert_eq!(Document::parse(&text), Ok(document));
    }

    #[test]
    fn noise_is_refused_without_harm(text in "\\PC{0,200}|[\\[\\]{}\",:a-z]{0,60}") {
        let _ = Document::parse(text.as_bytes());
    }
}
