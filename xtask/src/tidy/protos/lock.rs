//! What is agreed on: numbers, names and types of all that was ever said over the wire. The lock is a committed file; what it
//! has may not change, and may go only if its number and name are reserved.

use std::collections::BTreeMap;
use std::fmt::Display;

use protox::prost_reflect::{
    DescriptorPool, EnumDescriptor, FieldDescriptor, MessageDescriptor, MethodDescriptor,
};
use serde::{Deserialize, Serialize};

use super::names::camel;

/// What a number is locked as once it is out of use.
const RESERVED: &str = "reserved ";

/// All that is agreed on.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Lock {
    /// Fields by number.
    messages: BTreeMap<String, BTreeMap<i64, String>>,
    /// Values by number.
    enums: BTreeMap<String, BTreeMap<i64, String>>,
    /// Calls by name.
    services: BTreeMap<String, BTreeMap<String, String>>,
}

impl Lock {
    pub(super) fn parse(text: &str) -> anyhow::Result<Self> {
        Ok(serde_json::from_str(text)?)
    }

    pub(super) fn text(&self) -> anyhow::Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// What the files say now.
    pub(super) fn of(pool: &DescriptorPool) -> Self {
        let is_ours = |package: &str| package == "goproxy" || package.starts_with("goproxy.");
        let messages =
            pool.all_messages().filter(|message| is_ours(message.package_name()) && !message.is_map_entry());
        let enums = pool.all_enums().filter(|kind| is_ours(kind.package_name()));
        let services = pool.services().filter(|service| is_ours(service.package_name()));
        Self {
            messages: messages.map(|message| (message.full_name().to_owned(), fields(&message))).collect(),
            enums: enums.map(|kind| (kind.full_name().to_owned(), values(&kind))).collect(),
            services: services
                .map(|service| {
                    let methods = service.methods().map(|method| (method.name().to_owned(), call(&method)));
                    (service.full_name().to_owned(), methods.collect())
                })
                .collect(),
        }
    }

    /// Keeps the numbers that `old` has as out of use under the names that they had.
    pub(super) fn with_reservations_of(mut self, old: &Self) -> Self {
        for (section, old) in [(&mut self.messages, &old.messages), (&mut self.enums, &old.enums)] {
            for (name, entries) in section.iter_mut() {
                for (number, text) in old.get(name).into_iter().flatten() {
                    let reserved = entries.get(number).is_some_and(|text| text.starts_with(RESERVED));
                    if reserved || !entries.contains_key(number) {
                        entries.insert(*number, reservation(text));
                    }
                }
            }
        }
        self
    }
}

/// The entry of what is out of use: its number, and the name that it had.
fn reservation(text: &str) -> String {
    if text.starts_with(RESERVED) { text.to_owned() } else { format!("{RESERVED}{}", name_of(text)) }
}

/// The name in an entry: `repeated string owners` or `uint64 epoch json=x`.
fn name_of(text: &str) -> &str {
    text.split(' ').rfind(|word| !word.contains('=')).unwrap_or(text)
}

fn fields(message: &MessageDescriptor) -> BTreeMap<i64, String> {
    let mut fields: BTreeMap<_, _> =
        message.fields().map(|field| (i64::from(field.number()), field_text(&field))).collect();
    // Names and numbers are reserved apart in the file; what belongs together is known from the lock.
    let names: Vec<_> = message.reserved_names().map(str::to_owned).collect();
    for range in message.reserved_ranges() {
        for number in range.take(RESERVED_MAX) {
            fields.insert(number.into(), format!("{RESERVED}{}", names.join(" ")));
        }
    }
    fields
}

/// Numbers of one range that are looked at; `reserved 5 to max` is not how anything here is taken out of use.
const RESERVED_MAX: usize = 1_000;

fn field_text(field: &FieldDescriptor) -> String {
    let kind = field.kind();
    let type_name = match (kind.as_message(), kind.as_enum()) {
        (Some(message), _) if message.is_map_entry() => {
            let (key, value) = (message.map_entry_key_field(), message.map_entry_value_field());
            format!("map<{},{}>", plain_type(&key), plain_type(&value))
        }
        _ => plain_type(field),
    };
    let mut words = Vec::new();
    if field.is_list() {
        words.push("repeated".to_owned());
    } else if field.field_descriptor_proto().proto3_optional() {
        words.push("optional".to_owned());
    }
    words.extend([type_name, field.name().to_owned()]);
    let oneof = field.containing_oneof().filter(|oneof| !oneof.is_synthetic());
    words.extend(oneof.map(|oneof| format!("oneof={}", oneof.name())));
    if field.json_name() != camel(field.name()) {
        words.push(format!("json={}", field.json_name()));
    }
    words.join(" ")
}

fn plain_type(field: &FieldDescriptor) -> String {
    let kind = field.kind();
    match (kind.as_message(), kind.as_enum()) {
        (Some(message), _) => message.full_name().to_owned(),
        (None, Some(kind)) => kind.full_name().to_owned(),
        (None, None) => format!("{kind:?}").to_ascii_lowercase(),
    }
}

fn values(kind: &EnumDescriptor) -> BTreeMap<i64, String> {
    let mut values: BTreeMap<_, _> =
        kind.values().map(|value| (i64::from(value.number()), value.name().to_owned())).collect();
    let names: Vec<_> = kind.reserved_names().map(str::to_owned).collect();
    for range in kind.reserved_ranges() {
        for number in range.take(RESERVED_MAX) {
            values.insert(number.into(), format!("{RESERVED}{}", names.join(" ")));
        }
    }
    values
}

fn call(method: &MethodDescriptor) -> String {
    let stream = |is: bool| if is { "stream " } else { "" };
    format!(
        "{}{} -> {}{}",
        stream(method.is_client_streaming()),
        method.input().full_name(),
        stream(method.is_server_streaming()),
        method.output().full_name()
    )
}

/// What is not as it was agreed on, and what is new.
pub(super) fn differences(locked: &Lock, present: &Lock) -> Vec<String> {
    let mut found = broken(locked, present);
    let known = |section: &BTreeMap<String, BTreeMap<i64, String>>, name: &String, number: &i64| {
        section.get(name).is_some_and(|entries| entries.contains_key(number))
    };
    let mut missing = Vec::new();
    for (present, locked) in [(&present.messages, &locked.messages), (&present.enums, &locked.enums)] {
        for (name, entries) in present {
            if !locked.contains_key(name) {
                missing.push(name.clone());
            }
            missing.extend(
                entries
                    .keys()
                    .filter(|number| !known(locked, name, number))
                    .map(|number| format!("{name} {number}")),
            );
        }
    }
    for (name, calls) in &present.services {
        let locked = locked.services.get(name);
        let known = |call: &String| locked.is_some_and(|locked| locked.contains_key(call));
        missing.extend(calls.keys().filter(|call| !known(call)).map(|call| format!("{name} {call}")));
    }
    found.extend(missing.iter().map(|name| format!("lacks `{name}`: cargo xtask lock-protos adds it")));
    found.extend(newly_reserved(locked, present));
    found
}

/// What went out of use and is not locked as that.
fn newly_reserved(locked: &Lock, present: &Lock) -> Vec<String> {
    let mut found = Vec::new();
    for (locked, present) in [(&locked.messages, &present.messages), (&locked.enums, &present.enums)] {
        for (name, entries) in locked {
            for (number, text) in entries.iter().filter(|(_, text)| !text.starts_with(RESERVED)) {
                let now = present.get(name).and_then(|entries| entries.get(number));
                if now.is_some_and(|now| now.starts_with(RESERVED) && has_name(now, name_of(text))) {
                    found.push(format!("has `{name} {number}` in use: cargo xtask lock-protos takes it out"));
                }
            }
        }
    }
    found
}

/// What an older program would misunderstand.
pub(super) fn broken(locked: &Lock, present: &Lock) -> Vec<String> {
    let mut found = Vec::new();
    for (locked, present) in [(&locked.messages, &present.messages), (&locked.enums, &present.enums)] {
        for (name, entries) in locked {
            let Some(present) = present.get(name) else {
                found.push(gone(name));
                continue;
            };
            for (number, text) in entries {
                found.extend(broken_entry(&format!("{name} {number}"), text, present.get(number)));
            }
        }
    }
    for (name, calls) in &locked.services {
        let Some(present) = present.services.get(name) else {
            found.push(gone(name));
            continue;
        };
        for (call, text) in calls {
            match present.get(call) {
                Some(now) if now == text => {}
                Some(now) => found.push(changed(&format!("{name} {call}"), text, now)),
                None => found.push(gone(&format!("{name} {call}"))),
            }
        }
    }
    found
}

fn broken_entry(what: &str, text: &str, now: Option<&String>) -> Option<String> {
    match (now, text.strip_prefix(RESERVED)) {
        (Some(now), None) if now == text => None,
        (Some(now), None) if now.starts_with(RESERVED) && has_name(now, name_of(text)) => None,
        (Some(now), Some(name)) if now.starts_with(RESERVED) && has_name(now, name) => None,
        (Some(now), _) => Some(changed(what, text, now)),
        (None, _) => {
            Some(format!("`{what}` was `{text}` and is neither there nor reserved, number and name"))
        }
    }
}

/// Whether the names reserved beside a number include this one.
fn has_name(reserved: &str, name: &str) -> bool {
    let names = reserved.strip_prefix(RESERVED).unwrap_or_default();
    // A lock written when a number was reserved from the start has all names there were.
    name.split(' ').all(|name| name.is_empty() || names.split(' ').any(|found| found == name))
}

fn gone(what: &str) -> String {
    format!("`{what}` is gone; what was agreed on stays")
}

fn changed(what: &str, text: impl Display, now: impl Display) -> String {
    format!("`{what}` was `{text}` and is `{now}`")
}
