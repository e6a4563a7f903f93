//! Crate raft logs through slog; this hands its lines to tracing.
//!
//! Its levels are a library's: what it calls information is debugging here, and its warnings, a leader that steps down
//! or a state that is refused, are handled conditions. Only what it calls an error is one to look at.

use std::fmt::{self, Write as _};

use slog::{Drain, KV as _, Level, Never, OwnedKVList, Record};

/// A logger for raft.
pub(super) fn logger() -> slog::Logger {
    slog::Logger::root(Bridge, slog::o!())
}

struct Bridge;

impl Drain for Bridge {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> Result<(), Never> {
        // Asked first, since making the text costs more than all the rest.
        let wanted = match record.level() {
            Level::Critical | Level::Error => tracing::enabled!(tracing::Level::WARN),
            Level::Warning | Level::Info => tracing::enabled!(tracing::Level::DEBUG),
            Level::Debug | Level::Trace => tracing::enabled!(tracing::Level::TRACE),
        };
        if !wanted {
            return Ok(());
        }
        let mut pairs = Pairs(String::new());
        // Writing into a string does not fail.
        let _ = record.kv().serialize(record, &mut pairs);
        let _ = values.serialize(record, &mut pairs);
        let (message, pairs) = (record.msg(), pairs.0);
        match record.level() {
            Level::Critical | Level::Error => tracing::warn!(%pairs, "raft: {message}"),
            Level::Warning | Level::Info => tracing::debug!(%pairs, "raft: {message}"),
            Level::Debug | Level::Trace => tracing::trace!(%pairs, "raft: {message}"),
        }
        Ok(())
    }
}

/// Keys and values as text.
struct Pairs(String);

impl slog::Serializer for Pairs {
    fn emit_arguments(&mut self, key: slog::Key, value: &fmt::Arguments<'_>) -> slog::Result {
        write!(self.0, "{key}={value} ").map_err(|_| slog::Error::Other)
    }
}
