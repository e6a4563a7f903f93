//! Reading a document as an operator writes it: JSON in which what is left out is empty. All problems are found at once, each with
//! its place, so that a document is not mended one refusal at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use super::document::{Binding, Closed, Document, Modules, Rule, RuleEffect, Verb};
use super::stale::Stale;
use super::tree::Tree;
use crate::ids::RoleName;
use crate::record::encode;

/// Bound of a document in bytes, as it is written and as it is kept.
pub const DOCUMENT_BYTES_MAX: usize = 256 << 10;
/// Roles, bindings, rules, closures and bounds of age that a document may have, of each.
pub const ENTRIES_MAX: usize = 1_000;
/// Problems that are told at once.
pub const PROBLEMS_MAX: usize = 50;

/// Something wrong with a document.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// Where, as `rules[2].modules`; empty for the whole.
    pub at: String,
    /// What.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.at.is_empty() { f.write_str(&self.what) } else { write!(f, "{}: {}", self.at, self.what) }
    }
}

impl Document {
    /// Reads a document; or says everything that is wrong with it, [`PROBLEMS_MAX`] things at most.
    pub fn parse(text: &[u8]) -> Result<Self, Vec<Problem>> {
        let whole = |what: String| vec![Problem { at: String::new(), what }];
        if text.len() > DOCUMENT_BYTES_MAX {
            return Err(whole(format!("{} bytes are over the limit of {DOCUMENT_BYTES_MAX}", text.len())));
        }
        let tree: Tree = serde_json::from_slice(text).map_err(|error| whole(format!("not JSON: {error}")))?;
        let mut reader = Reader::default();
        let document = reader.document(&tree);
        reader.problems.extend(document.check());
        reader.problems.truncate(PROBLEMS_MAX);
        if reader.problems.is_empty() { Ok(document) } else { Err(reader.problems) }
    }

    /// Everything that is wrong with a document whose parts are well.
    pub fn check(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut problem = |at: String, what: &str| problems.push(Problem { at, what: what.to_owned() });
        let counts = [
            ("roles", self.roles.len()),
            ("bindings", self.bindings.len()),
            ("rules", self.rules.len()),
            ("closed", self.closed.len()),
            ("stale", self.stale.len()),
        ];
        for (at, _) in counts.iter().filter(|(_, count)| *count > ENTRIES_MAX) {
            problem((*at).to_owned(), "more than 1000 entries");
        }
        let nothing = |modules: &Option<Modules>| modules.as_ref().is_some_and(Modules::is_empty);
        for (at, binding) in self.bindings.iter().enumerate() {
            if !self.roles.contains_key(&binding.role) {
                problem(format!("bindings[{at}].role"), "no role of this document");
            }
            if nothing(&binding.modules) {
                problem(format!("bindings[{at}].modules"), "matches nothing");
            }
        }
        for (at, rule) in self.rules.iter().enumerate() {
            if nothing(&rule.modules) {
                problem(format!("rules[{at}].modules"), "matches nothing");
            }
        }
        for (at, closed) in self.closed.iter().enumerate() {
            if nothing(&closed.modules) {
                problem(format!("closed[{at}].modules"), "matches nothing");
            }
        }
        for (at, stale) in self.stale.iter().enumerate() {
            if nothing(&stale.modules) {
                problem(format!("stale[{at}].modules"), "matches nothing");
            }
        }
        if problems.is_empty() && encode(0, self).len() > DOCUMENT_BYTES_MAX {
            let what = format!("over the limit of {DOCUMENT_BYTES_MAX} bytes as it is kept");
            problems.push(Problem { at: String::new(), what });
        }
        problems
    }
}

/// Reads and remembers what is wrong.
#[derive(Default)]
struct Reader {
    problems: Vec<Problem>,
}

/// An object's entries by key.
type Fields<'a> = BTreeMap<&'a str, &'a Tree>;

impl Reader {
    fn problem(&mut self, at: &str, what: impl Into<String>) {
        self.problems.push(Problem { at: at.to_owned(), what: what.into() });
    }

    fn document(&mut self, tree: &Tree) -> Document {
        let fields = self.fields(tree, "", &["roles", "bindings", "rules", "closed", "stale"]);
        Document {
            roles: fields.get("roles").map(|roles| self.roles(roles)).unwrap_or_default(),
            bindings: self.list(&fields, "bindings", Self::binding),
            rules: self.list(&fields, "rules", Self::rule),
            closed: self.list(&fields, "closed", Self::closed),
            stale: self.list(&fields, "stale", Self::stale),
        }
    }

    fn roles(&mut self, tree: &Tree) -> BTreeMap<RoleName, BTreeSet<Verb>> {
        let Tree::Object(entries) = tree else {
            self.problem("roles", format!("{} instead of an object", tree.kind()));
            return BTreeMap::new();
        };
        let mut roles = BTreeMap::new();
        for (name, verbs) in entries {
            let at = format!("roles.{name}");
            let verbs = self.verbs(verbs, &at);
            match RoleName::parse(name) {
                Ok(name) if roles.contains_key(&name) => self.problem(&at, "is there twice"),
                Ok(name) => drop(roles.insert(name, verbs)),
                Err(error) => self.problem(&at, error.to_string()),
            }
        }
        roles
    }

    fn binding(&mut self, tree: &Tree, at: &str) -> Option<Binding> {
        let fields = self.fields(tree, at, &["role", "subjects", "modules"]);
        let role = self.needed(&fields, at, "role").and_then(|role| self.text(role, &format!("{at}.role")));
        let subjects = self.set(&fields, at, "subjects");
        let modules = self.optional(&fields, at, "modules");
        Some(Binding { role: role?, subjects, modules })
    }

    fn rule(&mut self, tree: &Tree, at: &str) -> Option<Rule> {
        let fields = self.fields(tree, at, &["effect", "modules", "verbs", "subjects", "reason"]);
        let effect = self.needed(&fields, at, "effect").and_then(|effect| match effect {
            Tree::Text(text) if text == "allow" => Some(RuleEffect::Allow),
            Tree::Text(text) if text == "deny" => Some(RuleEffect::Deny),
            Tree::Null | Tree::Bool | Tree::Number | Tree::Text(_) | Tree::List(_) | Tree::Object(_) => {
                self.problem(&format!("{at}.effect"), "neither `allow` nor `deny`");
                None
            }
        });
        let verbs = self.needed(&fields, at, "verbs").map(|verbs| self.verbs(verbs, &format!("{at}.verbs")));
        let subjects = self.set(&fields, at, "subjects");
        let modules = self.optional(&fields, at, "modules");
        let reason = self.optional(&fields, at, "reason");
        Some(Rule { effect: effect?, modules, verbs: verbs?, subjects, reason })
    }

    fn closed(&mut self, tree: &Tree, at: &str) -> Option<Closed> {
        let fields = self.fields(tree, at, &["modules", "verbs", "reason"]);
        let verbs = self.needed(&fields, at, "verbs").map(|verbs| self.verbs(verbs, &format!("{at}.verbs")));
        let modules = self.optional(&fields, at, "modules");
        let reason = self.optional(&fields, at, "reason");
        Some(Closed { modules, verbs: verbs?, reason })
    }

    fn stale(&mut self, tree: &Tree, at: &str) -> Option<Stale> {
        let fields = self.fields(tree, at, &["modules", "after", "reason"]);
        let after =
            self.needed(&fields, at, "after").and_then(|after| self.text(after, &format!("{at}.after")));
        let modules = self.optional(&fields, at, "modules");
        let reason = self.optional(&fields, at, "reason");
        Some(Stale { modules, after: after?, reason })
    }

    /// The entries of an object; those that nobody knows and those that are there twice are problems.
    fn fields<'a>(&mut self, tree: &'a Tree, at: &str, known: &[&str]) -> Fields<'a> {
        let Tree::Object(entries) = tree else {
            self.problem(at, format!("{} instead of an object", tree.kind()));
            return Fields::new();
        };
        let mut fields = Fields::new();
        for (name, value) in entries {
            if !known.contains(&name.as_str()) {
                self.problem(at, format!("unknown field {name:?}, there are {}", known.join(", ")));
            } else if fields.insert(name, value).is_some() {
                self.problem(at, format!("field {name:?} is there twice"));
            }
        }
        fields
    }

    fn list<T>(
        &mut self,
        fields: &Fields<'_>,
        name: &str,
        read: fn(&mut Self, &Tree, &str) -> Option<T>,
    ) -> Vec<T> {
        match fields.get(name) {
            None => Vec::new(),
            Some(Tree::List(items)) => {
                // The rest is over the bound, which is found out afterwards.
                let items = items.iter().take(ENTRIES_MAX + 1).enumerate();
                items.filter_map(|(at, item)| read(self, item, &format!("{name}[{at}]"))).collect()
            }
            Some(other) => {
                self.problem(name, format!("{} instead of a list", other.kind()));
                Vec::new()
            }
        }
    }

    fn needed<'a>(&mut self, fields: &Fields<'a>, at: &str, name: &str) -> Option<&'a Tree> {
        let found = fields.get(name).copied();
        if found.is_none() {
            self.problem(at, format!("field {name:?} is missing"));
        }
        found
    }

    fn optional<T: FromStr<Err: std::error::Error>>(
        &mut self,
        fields: &Fields<'_>,
        at: &str,
        name: &str,
    ) -> Option<T> {
        match fields.get(name) {
            None | Some(Tree::Null) => None,
            Some(value) => self.text(value, &format!("{at}.{name}")),
        }
    }

    fn text<T: FromStr<Err: std::error::Error>>(&mut self, tree: &Tree, at: &str) -> Option<T> {
        let Tree::Text(text) = tree else {
            self.problem(at, format!("{} instead of a text", tree.kind()));
            return None;
        };
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.problem(at, chain(&error));
                None
            }
        }
    }

    fn set<T: FromStr<Err: std::error::Error> + Ord>(
        &mut self,
        fields: &Fields<'_>,
        at: &str,
        name: &str,
    ) -> BTreeSet<T> {
        let Some(tree) = self.needed(fields, at, name) else { return BTreeSet::new() };
        let at = format!("{at}.{name}");
        match tree {
            Tree::List(items) if items.is_empty() => {
                self.problem(&at, "is empty");
                BTreeSet::new()
            }
            Tree::List(items) => {
                let items = items.iter().enumerate();
                items.filter_map(|(number, item)| self.text(item, &format!("{at}[{number}]"))).collect()
            }
            Tree::Null | Tree::Bool | Tree::Number | Tree::Text(_) | Tree::Object(_) => {
                self.problem(&at, format!("{} instead of a list", tree.kind()));
                BTreeSet::new()
            }
        }
    }

    fn verbs(&mut self, tree: &Tree, at: &str) -> BTreeSet<Verb> {
        let Tree::List(items) = tree else {
            self.problem(at, format!("{} instead of a list of verbs", tree.kind()));
            return BTreeSet::new();
        };
        if items.is_empty() {
            self.problem(at, "is empty");
        }
        let mut verbs = BTreeSet::new();
        for (number, item) in items.iter().enumerate() {
            let verb = match item {
                Tree::Text(text) => Verb::ALL.into_iter().find(|verb| verb.name() == text),
                Tree::Null | Tree::Bool | Tree::Number | Tree::List(_) | Tree::Object(_) => None,
            };
            if let Some(verb) = verb {
                verbs.insert(verb);
            } else {
                let names = Verb::ALL.map(Verb::name).join(", ");
                self.problem(&format!("{at}[{number}]"), format!("no verb, there are {names}"));
            }
        }
        verbs
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}
