//! Fields of spans as JSON, for lines that say what they belong to.
//!
//! [`JsonFields`] reads all that a span has, as JSON, and writes it again for each field that is recorded later, which a request span has
//! two of. Here what is recorded later is written behind what is there.

use std::fmt;

use tracing::span::Record;
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormattedFields;
use tracing_subscriber::fmt::format::{FormatFields, JsonFields, Writer};

/// See the head of this file. A field that is recorded twice stands there twice; readers take the last one.
#[derive(Debug, Default)]
pub(super) struct SpanFields(JsonFields);

impl<'writer> FormatFields<'writer> for SpanFields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'writer>, fields: R) -> fmt::Result {
        self.0.format_fields(writer, fields)
    }

    fn add_fields(&self, current: &'writer mut FormattedFields<Self>, fields: &Record<'_>) -> fmt::Result {
        let mut added = String::new();
        self.0.format_fields(Writer::new(&mut added), fields)?;
        append(&mut current.fields, &added);
        Ok(())
    }
}

/// Adds the members of one JSON object to another one.
fn append(fields: &mut String, added: &str) {
    let Some(members) = added.strip_prefix('{').filter(|members| *members != "}") else { return };
    if !fields.ends_with('}') {
        // There was nothing yet.
        added.clone_into(fields);
        return;
    }
    fields.pop();
    if !fields.ends_with('{') {
        fields.push(',');
    }
    fields.push_str(members);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_joined() {
        for (fields, added, both) in [
            ("", r#"{"a":1}"#, r#"{"a":1}"#),
            ("{}", r#"{"a":1}"#, r#"{"a":1}"#),
            (r#"{"a":{}}"#, "{}", r#"{"a":{}}"#),
            (r#"{"a":{}}"#, r#"{"b":"}","c":2}"#, r#"{"a":{},"b":"}","c":2}"#),
        ] {
            let mut fields = fields.to_owned();
            append(&mut fields, added);
            assert_eq!(fields, both);
        }
    }
}
