//! How messages stand in goproxyctl's JSON: fields under the names that they have in the `.proto` files, or the `json_name`
//! that they give there; numbers as numbers; enums by their values' short names (`MEMBER_ROLE_VOTER` is `voter`); times in
//! RFC 3339; durations in seconds; what is unset as `null`. Nothing is left out, so that a script finds every key.
//!
//! This is not protobuf's own JSON, which has 64-bit numbers as strings and leaves out what is zero.

use serde::ser::{Error, SerializeSeq, Serializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// An enum whose values have short names.
pub trait Named: Copy + Default + TryFrom<i32> {
    /// What the `.proto` file's names begin with, such as `MEMBER_ROLE_`.
    const PREFIX: &'static str;

    /// The name in the `.proto` file.
    fn full_name(self) -> &'static str;

    /// The value with this name in the `.proto` file.
    fn from_full_name(name: &str) -> Option<Self>;

    /// The name in JSON, tables and flags: lower case, dashes for underscores.
    fn short_name(self) -> String {
        let name = self.full_name();
        name.strip_prefix(Self::PREFIX).unwrap_or(name).to_ascii_lowercase().replace('_', "-")
    }

    /// The value with this short name.
    fn from_short_name(name: &str) -> Option<Self> {
        let value = Self::from_full_name(&format!(
            "{}{}",
            Self::PREFIX,
            name.to_ascii_uppercase().replace('-', "_")
        ))?;
        // One spelling each.
        (value.short_name() == name).then_some(value)
    }
}

/// A value that a newer release added is shown as unspecified.
fn short_name<E: Named>(value: i32) -> String {
    E::try_from(value).unwrap_or_default().short_name()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde calls")]
pub(crate) fn enumeration<S: Serializer, E: Named>(value: &i32, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&short_name::<E>(*value))
}

pub(crate) fn enums<S: Serializer, E: Named>(values: &[i32], serializer: S) -> Result<S::Ok, S::Error> {
    let mut list = serializer.serialize_seq(Some(values.len()))?;
    for value in values {
        list.serialize_element(&short_name::<E>(*value))?;
    }
    list.end()
}

#[expect(clippy::ref_option, reason = "the form that serde calls")]
pub(crate) fn timestamp<S: Serializer>(
    value: &Option<prost_types::Timestamp>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let Some(value) = value else { return serializer.serialize_none() };
    let nanos = i128::from(value.seconds) * 1_000_000_000 + i128::from(value.nanos);
    let text = OffsetDateTime::from_unix_timestamp_nanos(nanos)
        .map_err(S::Error::custom)?
        .format(&Rfc3339)
        .map_err(S::Error::custom)?;
    serializer.serialize_str(&text)
}

#[expect(clippy::ref_option, reason = "the form that serde calls")]
pub(crate) fn duration<S: Serializer>(
    value: &Option<prost_types::Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        None => serializer.serialize_none(),
        Some(value) => serializer.serialize_f64(value.seconds as f64 + f64::from(value.nanos) / 1e9),
    }
}
