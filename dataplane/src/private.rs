//! Which modules are private, and what stands for their names in logs and traces.
//!
//! Invariant: above DEBUG, and in spans, which are exported, a module is named by `Private::shown` alone. What an origin or
//! an error says of a module names it too. `cargo xtask tidy` looks for lines that do otherwise.

use std::fmt;
use std::sync::Arc;

use gomod::{GlobPatterns, ModulePath};

/// What stands for a private name above DEBUG.
pub(crate) const REDACTED: &str = "(private)";

/// The modules that are private. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Private(Arc<GlobPatterns>);

impl Private {
    /// Those that `patterns` match.
    pub fn new(patterns: GlobPatterns) -> Self {
        Self(Arc::new(patterns))
    }

    /// Whether `module` is one.
    pub(crate) fn matches(&self, module: &ModulePath) -> bool {
        self.0.matches(module)
    }

    /// The patterns.
    pub(crate) fn patterns(&self) -> &GlobPatterns {
        &self.0
    }

    /// What of `what`, which is about `module`, may stand in a span or a line above DEBUG. Of a private module nothing does, and
    /// the whole is in a line of its own before, with the same request id, for whoever asks for it:
    /// `--log-level info,private=debug`.
    pub(crate) fn shown<'a>(&self, module: &ModulePath, what: &'a dyn fmt::Display) -> Shown<'a> {
        if !self.matches(module) {
            return Shown(Some(what));
        }
        tracing::debug!(target: "private", name = %what, "named {REDACTED} in what follows");
        Shown(None)
    }
}

/// See [`Private::shown`].
pub(crate) struct Shown<'a>(Option<&'a dyn fmt::Display>);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(what) => what.fmt(f),
            None => f.write_str(REDACTED),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write as _;
    use std::sync::Mutex;
    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Level, Metadata, Subscriber};

    /// Level and fields of all events and spans.
    #[derive(Clone, Default)]
    struct Seen(Arc<Mutex<Vec<(Level, String)>>>);

    struct Fields(String);

    impl Visit for Fields {
        fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
            write!(self.0, "{field}={value:?} ").unwrap();
        }
    }

    impl Seen {
        fn note(&self, metadata: &Metadata<'_>, record: impl FnOnce(&mut Fields)) {
            let mut fields = Fields(String::new());
            record(&mut fields);
            self.0.lock().unwrap().push((*metadata.level(), fields.0));
        }
    }

    impl Subscriber for Seen {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, span: &Attributes<'_>) -> Id {
            self.note(span.metadata(), |fields| span.record(fields));
            Id::from_u64(1)
        }
        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn event(&self, event: &Event<'_>) {
            self.note(event.metadata(), |fields| event.record(fields));
        }
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }

    #[test]
    fn a_private_name_is_written_at_debug_alone() {
        let seen = Seen::default();
        let private = Private::new("corp.example.com".parse().unwrap());
        tracing::subscriber::with_default(seen.clone(), || {
            for path in ["corp.example.com/secret", "example.com/open"] {
                let module = ModulePath::parse(path).unwrap();
                let shown = private.shown(&module, &module);
                tracing::error!(module = %shown, "it happened");
                let _span = tracing::info_span!("fetch", module = %shown);
            }
        });
        let seen = seen.0.lock().unwrap();
        let named = |text: &str| -> Vec<Level> {
            seen.iter().filter(|(_, fields)| fields.contains(text)).map(|(level, _)| *level).collect()
        };
        assert_eq!(named("secret"), [Level::DEBUG]);
        assert_eq!(named("module=(private)"), [Level::ERROR, Level::INFO]);
        assert_eq!(named("example.com/open"), [Level::ERROR, Level::INFO]);
    }
}
