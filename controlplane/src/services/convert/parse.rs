//! What a request says, read once.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use cluster::{IdempotencyKey, Note};
use proto::control::v1::MutationOptions;
use proto::limits::REASON_BYTES_MAX;
use proto::{ErrorCode, Fault};

/// The longest time that a client may name: more is a typing error.
const DURATION_MAX: Duration = Duration::from_hours(10 * 366 * 24);

/// How a change is to be made.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    /// Names the attempt.
    pub(crate) key: Option<IdempotencyKey>,
    /// Only look.
    pub(crate) dry_run: bool,
    /// Why.
    pub(crate) why: Option<Note>,
}

/// Reads how a change is to be made.
pub(crate) fn options(options: Option<MutationOptions>) -> Result<Options, Fault> {
    let Some(options) = options else { return Ok(Options::default()) };
    let key = match options.idempotency_key.as_str() {
        "" => None,
        text => Some(parse("options.idempotency_key", text)?),
    };
    if options.reason.len() > REASON_BYTES_MAX {
        let text = format!(
            "options.reason has {} bytes, over the limit of {REASON_BYTES_MAX}",
            options.reason.len()
        );
        return Err(Fault::new(ErrorCode::InvalidArgument, text));
    }
    Ok(Options { key, dry_run: options.dry_run, why: Note::lossy(&options.reason) })
}

/// Reads a field.
pub(crate) fn parse<T: FromStr<Err: Display>>(field: &str, text: &str) -> Result<T, Fault> {
    text.parse().map_err(|error| Fault::new(ErrorCode::InvalidArgument, format!("{field} {text:?}: {error}")))
}

/// Reads a length of time; `None` if it is unset.
pub(crate) fn duration(field: &str, value: Option<prost_types::Duration>) -> Result<Option<Duration>, Fault> {
    let Some(value) = value else { return Ok(None) };
    let read = Duration::try_from(value).ok().filter(|duration| *duration <= DURATION_MAX);
    let wrong =
        || Fault::new(ErrorCode::InvalidArgument, format!("{field} is no length of time within ten years"));
    read.map(Some).ok_or_else(wrong)
}

/// What a fault is about.
pub(crate) fn subject(kind: &str, name: impl Display) -> String {
    format!("{kind} {name}")
}
