//! What is counted about asking other nodes.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// How asking a node ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Outcome {
    /// `answered`, `refused` or `unreachable`; `second` where another node was asked as well, `shared` where another one was
    /// asked because the first had its share.
    pub outcome: &'static str,
}

/// What came of comparing a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Compared {
    /// `alike`, or `listed` where something differed.
    pub outcome: &'static str,
}

/// What is to be done about versions that replicas should have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Waits {
    /// `tell` a replica of it, or `take` what failed to come.
    pub work: &'static str,
}

/// All outcomes, so that each is there from the start.
const OUTCOMES: [&str; 6] = ["answered", "refused", "unreachable", "second", "shared", "again"];

/// Metrics of this module.
#[derive(Debug, Default)]
pub struct PeerFamilies {
    /// Requests to other nodes.
    pub requests: Family<Outcome, Counter>,
    /// Bytes of content that other nodes sent.
    pub bytes: Counter,
    /// Slots that other nodes compared with this one's.
    pub slots_compared: Family<Compared, Counter>,
    /// Versions that wait for that.
    pub copies_waiting: Family<Waits, Gauge>,
    /// Nodes that are left alone.
    pub left_alone: Gauge<i64, AtomicI64>,
}

impl PeerFamilies {
    /// Registers all under the registry's prefix.
    pub fn register(self: &Arc<Self>, registry: &mut Registry) {
        for outcome in OUTCOMES {
            drop(self.requests.get_or_create(&Outcome { outcome }));
        }
        registry.register("requests", "Requests to other nodes by outcome", self.requests.clone());
        registry.register("bytes", "Bytes of content that other nodes sent", self.bytes.clone());
        for outcome in ["alike", "listed"] {
            drop(self.slots_compared.get_or_create(&Compared { outcome }));
        }
        registry.register(
            "slots_compared",
            "Slots of which another replica asked what is held here",
            self.slots_compared.clone(),
        );
        for work in ["tell", "take"] {
            self.set_waiting(work, 0);
        }
        registry.register(
            "copies_waiting",
            "Versions of which replicas have still to be told, or that failed to come from one",
            self.copies_waiting.clone(),
        );
        registry.register(
            "left_alone",
            "Nodes that are not asked for a while because they could not be reached",
            self.left_alone.clone(),
        );
    }

    /// Counts slots that another replica asked about.
    pub fn compared(&self, outcome: &'static str, slots: usize) {
        self.slots_compared.get_or_create(&Compared { outcome }).inc_by(slots as u64);
    }

    /// Says how many versions wait.
    pub fn set_waiting(&self, work: &'static str, versions: usize) {
        let versions = i64::try_from(versions).unwrap_or(i64::MAX);
        self.copies_waiting.get_or_create(&Waits { work }).set(versions);
    }

    /// Counts a request.
    pub fn count(&self, outcome: &'static str) {
        self.requests.get_or_create(&Outcome { outcome }).inc();
    }
}
