//! What the ladder counts.

use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

/// The ladder's metric families.
#[derive(Debug, Default)]
pub struct ServeFamilies {
    /// Content refused because it broke the module rules or its listed hash.
    pub refused_content: Counter,
    /// Origins that offered other content than was stored first.
    pub conflicts: Counter,
    /// Stored content that did not verify.
    pub damaged: Counter,
}

impl ServeFamilies {
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
