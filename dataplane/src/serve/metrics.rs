//! What the ladder counts.

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refused {
    what: &'static str,
}

/// What was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RefusedContent {
    /// A module zip, whole or the rest of one.
    Zip,
    /// A go.mod.
    GoMod,
    /// What was held before the checksum database could be asked, and is not what it lists.
    Held,
}

impl RefusedContent {
    const ALL: [Self; 3] = [Self::Zip, Self::GoMod, Self::Held];

    fn label(self) -> Refused {
        let what = match self {
            Self::Zip => "zip",
            Self::GoMod => "go_mod",
            Self::Held => "held",
        };
        Refused { what }
    }
}

/// The ladder's metric families.
#[derive(Debug)]
pub struct ServeFamilies {
    refused_content: Family<Refused, Counter>,
    /// Origins that offered other content than was stored first.
    pub conflicts: Counter,
    /// Stored content that did not verify.
    pub damaged: Counter,
}

impl Default for ServeFamilies {
    fn default() -> Self {
        let refused_content = Family::default();
        // All are there from the start, so that the first of a kind is an increase.
        for what in RefusedContent::ALL {
            let _: &Counter = &refused_content.get_or_create(&what.label());
        }
        Self { refused_content, conflicts: Counter::default(), damaged: Counter::default() }
    }
}

impl ServeFamilies {
    /// Content was refused because it broke the module rules or its listed hash.
    pub(super) fn refused(&self, what: RefusedContent) {
        self.refused_content.get_or_create(&what.label()).inc();
    }

    /// Registers everything under the registry's prefix.
    pub fn register(self: &Arc<Self>, registry: &mut Registry) {
        registry.register(
            "refused_content",
            "Content refused because it broke the module rules or its listed hash",
            self.refused_content.clone(),
        );
        registry.register(
            "conflicts",
            "Times an origin offered other content than was stored first",
            self.conflicts.clone(),
        );
        registry.register(
            "damaged",
            "Stored content that did not verify and was set aside",
            self.damaged.clone(),
        );
    }
}
