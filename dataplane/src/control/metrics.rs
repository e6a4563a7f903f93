//! What is counted about following the control plane.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use common::clock::Clock;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::view_age::ViewAge;

/// Metrics of this module.
#[derive(Debug)]
pub struct ControlFamilies {
    /// Revision of the view in use.
    pub revision: Gauge<i64, AtomicI64>,
    /// Epoch of the layout in force.
    pub epoch: Gauge<i64, AtomicI64>,
    /// 1 while a control node is followed.
    pub connected: Gauge<i64, AtomicI64>,
    /// Since when the view in use was not said to be the latest.
    pub view_age: ViewAge,
    /// Heartbeats that the leader has taken.
    pub heartbeats: Counter,
    /// Views that were refused.
    pub refused: Counter,
}

impl ControlFamilies {
    /// Nothing yet; ages are read off this clock.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            revision: Gauge::default(),
            epoch: Gauge::default(),
            connected: Gauge::default(),
            view_age: ViewAge::new(clock),
            heartbeats: Counter::default(),
            refused: Counter::default(),
        }
    }

    /// Registers all under `goproxy_cluster`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("view_revision", "Revision of the view in use", self.revision.clone());
        registry.register(
            "layout_epoch",
            "Epoch of the layout in force, as this node knows it",
            self.epoch.clone(),
        );
        registry.register(
            "control_connected",
            "1 while a control node is followed, else 0",
            self.connected.clone(),
        );
        registry.register(
            "view_age_seconds",
            "Seconds since a control node said that the view in use is the latest; 0 while that one is followed",
            self.view_age.clone(),
        );
        registry.register("heartbeats", "Heartbeats that the leader has taken", self.heartbeats.clone());
        registry.register(
            "views_refused",
            "Views that did not fit together or were older, and were refused",
            self.refused.clone(),
        );
    }
}
