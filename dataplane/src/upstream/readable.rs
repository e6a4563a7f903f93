//! Whether the go command can read an `.info`, in which it reads more than this server does.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::kind::with_causes;

/// The names that the go command reads of an `Origin`, texts all of them (its `codehost.Origin`).
const ORIGIN_NAMES: [&str; 8] = ["vcs", "url", "subdir", "hash", "tagprefix", "tagsum", "ref", "reposum"];

/// How deep what nobody reads may be nested (encoding/json, `maxNestingDepth`).
const NESTING_MAX: usize = 10_000;

/// The go command reads all of the object, with a bound on its depth, a `Time` that has to be one if it is there, and an `Origin` of
/// texts, each of them as often as it is there. What it cannot read would be kept for ever and spoil the version for every client.
pub(super) fn check_readable(body: &[u8]) -> Result<(), String> {
    if nesting(body) > NESTING_MAX {
        return Err("it is nested too deep".to_owned());
    }
    let Members(members) = serde_json::from_slice(body).map_err(|error| with_causes(&error))?;
    for (name, value) in members.iter().filter(|(_, value)| value.get() != "null") {
        // Go's `time.Time` reads what is between the quotes as it is written: escapes make no time.
        let text = value.get().strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        let is_time = || text.is_some_and(gomod::is_go_time);
        if name.eq_ignore_ascii_case("time") && !is_time() {
            return Err("its time is not one".to_owned());
        }
        if name.eq_ignore_ascii_case("origin") && !is_readable_origin(value) {
            return Err("its origin is not one".to_owned());
        }
    }
    Ok(())
}

fn is_readable_origin(origin: &RawValue) -> bool {
    let is_read = |name: &str| ORIGIN_NAMES.iter().any(|read| name.eq_ignore_ascii_case(read));
    let is_text = |value: &RawValue| serde_json::from_str::<Option<String>>(value.get()).is_ok();
    serde_json::from_str(origin.get())
        .is_ok_and(|Members(members)| members.iter().all(|(name, value)| !is_read(name) || is_text(value)))
}

/// How deep objects and lists are nested in what may be JSON.
fn nesting(json: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_text, mut is_escaped) = (0_usize, 0, false, false);
    for &byte in json {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_text => is_escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => depth += 1,
            b'}' | b']' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// An object's members in their order, repeated ones as well; their values as they are written.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
        let mut members = Vec::new();
        while let Some(Name(name)) = map.next_key()? {
            members.push((name, map.next_value()?));
        }
        Ok(Members(members))
    }
}

/// An object's key, copied only if it has escapes in it.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);
