//! Policy documents, what they decide, and how two of them differ.

use std::collections::BTreeMap;

use cluster::PolicyName;
use cluster::policy::{Because, Decision, Document, Modules, Principal, RuleEffect, Verb};
use cluster::record::PolicyRecord;
use gomod::ModulePath;
use proto::control::v1 as pb;
use serde_json::Value;

use super::time;

pub(crate) fn policy(record: &PolicyRecord, with_content: bool) -> pb::Policy {
    let content = record.document.as_ref().filter(|_| with_content);
    pb::Policy {
        name: record.name.to_string(),
        generation: record.generation.get(),
        content: content.map(text).unwrap_or_default(),
        update_time: Some(time(record.made)),
        author: record.by.to_string(),
        reason: record.note.as_ref().map(ToString::to_string).unwrap_or_default(),
        deleted: record.document.is_none(),
    }
}

/// A document as an operator writes it.
fn text(document: &Document) -> String {
    toml::to_string_pretty(document).unwrap_or_default()
}

/// Reads a document, TOML or JSON; or says everything that is wrong with it.
pub(crate) fn document(content: &str) -> Result<Document, Vec<String>> {
    let json = if content.trim_start().starts_with('{') {
        content.as_bytes().to_vec()
    } else {
        let value: Value =
            toml::from_str(content).map_err(|error| vec![format!("not TOML: {}", error.message())])?;
        value.to_string().into_bytes()
    };
    Document::parse(&json).map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

pub(crate) fn decision(decision: &Decision) -> pb::AccessDecision {
    let effect = if decision.allowed { pb::AccessEffect::Allow } else { pb::AccessEffect::Deny };
    let (policy, rule) = match &decision.because {
        Because::Rule { document, number, .. } => (document.to_string(), format!("rule {number}")),
        Because::Binding { document, number, .. } => (document.to_string(), format!("binding {number}")),
        Because::Closed { document, number, .. } => (document.to_string(), format!("closure {number}")),
        Because::OpenByDefault | Because::NotGranted => (String::new(), String::new()),
    };
    pb::AccessDecision { effect: effect.into(), policy, rule, reason: decision.because.to_string() }
}

/// Every entry of every document, and whether it applies to a case.
pub(crate) fn access_steps(
    documents: &BTreeMap<PolicyName, Document>,
    principal: &Principal,
    verb: Verb,
    module: &ModulePath,
) -> Vec<pb::AccessStep> {
    let concerns = |modules: &Option<Modules>| modules.as_ref().is_none_or(|modules| modules.matches(module));
    let step = |policy: &PolicyName, rule: String, lacks: Option<&str>, does: String| pb::AccessStep {
        policy: policy.to_string(),
        rule,
        matched: lacks.is_none(),
        reason: lacks.map_or(does, |lacks| format!("is for other {lacks}")),
    };
    let mut steps = Vec::new();
    for (name, document) in documents {
        for (number, rule) in (1..).zip(&document.rules) {
            let lacks = first_lack(
                principal.is_any_of(&rule.subjects),
                rule.verbs.contains(&verb),
                concerns(&rule.modules),
            );
            let does = if rule.effect == RuleEffect::Deny { "denies" } else { "allows" };
            steps.push(step(name, format!("rule {number}"), lacks, does.to_owned()));
        }
        for (number, binding) in (1..).zip(&document.bindings) {
            let has = document.roles.get(&binding.role).is_some_and(|verbs| verbs.contains(&verb));
            let lacks = first_lack(principal.is_any_of(&binding.subjects), has, concerns(&binding.modules));
            steps.push(step(
                name,
                format!("binding {number}"),
                lacks,
                format!("gives role {}", binding.role),
            ));
        }
        for (number, closed) in (1..).zip(&document.closed) {
            let lacks = first_lack(true, closed.verbs.contains(&verb), concerns(&closed.modules));
            steps.push(step(name, format!("closure {number}"), lacks, "closes".to_owned()));
        }
    }
    steps
}

fn first_lack(subject: bool, verb: bool, module: bool) -> Option<&'static str> {
    [(subject, "subjects"), (verb, "verbs"), (module, "modules")]
        .into_iter()
        .find_map(|(applies, what)| (!applies).then_some(what))
}

/// What differs between two documents; one that is not there is empty.
pub(crate) fn differences(before: Option<&Document>, after: Option<&Document>) -> Vec<pb::PolicyDifference> {
    let value = |document: Option<&Document>| {
        document.and_then(|document| serde_json::to_value(document).ok()).unwrap_or(Value::Null)
    };
    let mut found = Vec::new();
    compare("", &value(before), &value(after), &mut found);
    found
}

fn compare(path: &str, before: &Value, after: &Value, found: &mut Vec<pb::PolicyDifference>) {
    if before == after {
        return;
    }
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match (before, after) {
        (Value::Object(one), Value::Object(other)) => {
            for key in one.keys().chain(other.keys().filter(|key| !one.contains_key(*key))) {
                let part = |of: &serde_json::Map<String, Value>| of.get(key).cloned().unwrap_or(Value::Null);
                compare(&below(key), &part(one), &part(other), found);
            }
        }
        (Value::Array(one), Value::Array(other)) if one.iter().chain(other).any(Value::is_object) => {
            for at in 0..one.len().max(other.len()) {
                let part = |of: &[Value]| of.get(at).cloned().unwrap_or(Value::Null);
                compare(&below(&(at + 1).to_string()), &part(one), &part(other), found);
            }
        }
        // The whole is new or gone: part by part, so that it can be read.
        (Value::Null, Value::Object(other)) if path.is_empty() => {
            for (key, value) in other {
                compare(&below(key), &Value::Null, value, found);
            }
        }
        _ => {
            let shown = |value: &Value| if value.is_null() { String::new() } else { value.to_string() };
            found.push(pb::PolicyDifference {
                path: path.to_owned(),
                before: shown(before),
                after: shown(after),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(text: &str) -> Document {
        Document::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn what_is_shown_reads_back_as_the_same_document() {
        let text_given = r#"{"rules": [{"effect": "deny", "modules": "evil.example/*", "verbs": ["read"], "subjects": ["anyone"], "reason": "known malware"}]}"#;
        let written = document(text_given);
        assert_eq!(super::document(&text(&written)), Ok(written));
    }

    #[test]
    fn a_document_that_is_not_sound_is_explained() {
        assert!(super::document("rules = 7").unwrap_err().iter().any(|problem| problem.contains("rules")));
        assert!(super::document("rules =").unwrap_err().iter().any(|problem| problem.contains("TOML")));
        assert!(super::document("{").unwrap_err().iter().any(|problem| problem.contains("JSON")));
    }

    #[test]
    fn differences_name_what_differs_and_nothing_else() {
        let one = document(r#"{"rules": [{"effect": "deny", "verbs": ["read"], "subjects": ["anyone"]}]}"#);
        let other =
            document(r#"{"rules": [{"effect": "allow", "verbs": ["read"], "subjects": ["anyone"]}]}"#);
        let found = differences(Some(&one), Some(&other));
        let found: Vec<_> =
            found.iter().map(|one| (one.path.as_str(), one.before.as_str(), one.after.as_str())).collect();
        assert_eq!(found, [("rules.1.effect", "\"deny\"", "\"allow\"")]);
        assert!(differences(Some(&one), Some(&one)).is_empty());
        assert!(!differences(None, Some(&one)).is_empty());
    }
}
