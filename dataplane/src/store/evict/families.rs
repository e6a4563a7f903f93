//! Metrics of the store: what is held, what left and why.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::super::usage::Usage;
use super::report::{Report, Why};

/// Label: why something left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WhyLabel {
    why: WhyValue,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "label values are written as the variants are spelt")]
enum WhyValue {
    capacity,
    disk,
    retention,
    pressure,
}

impl From<Why> for WhyValue {
    fn from(why: Why) -> Self {
        match why {
            Why::Capacity => Self::capacity,
            Why::Disk => Self::disk,
            Why::Retention => Self::retention,
            Why::Pressure => Self::pressure,
        }
    }
}

/// The store's metrics; clones count into the same.
#[derive(Clone, Debug, Default)]
pub struct StoreFamilies {
    evicted: Family<WhyLabel, Counter>,
    evicted_bytes: Family<WhyLabel, Counter>,
    garbage_passes: Counter,
    records: Gauge,
    zips: Gauge,
    zip_bytes: Gauge,
    evictable_bytes: Gauge,
    disk_bytes: Gauge,
    garbage_bytes: Gauge,
    memory_bytes: Gauge,
    file_system_percent: Gauge,
    file_system_free_bytes: Gauge,
    out_of_space: Gauge,
    unwritable: Gauge,
    slow: Gauge,
    stopped: Gauge,
}

impl StoreFamilies {
    /// Registers all of them; the prefix is the caller's.
    #[expect(clippy::too_many_lines, reason = "a list")]
    pub fn register(&self, registry: &mut Registry) {
        let bytes = || Unit::Bytes;
        for why in [WhyValue::capacity, WhyValue::disk, WhyValue::retention, WhyValue::pressure] {
            // Looked up once, so that they stand at zero before anything leaves.
            drop(self.evicted.get_or_create(&WhyLabel { why }));
            drop(self.evicted_bytes.get_or_create(&WhyLabel { why }));
        }
        registry.register(
            "evicted",
            "Versions that lost their zip or record, by reason",
            self.evicted.clone(),
        );
        registry.register_with_unit(
            "evicted",
            "Bytes of the zips that left, by reason",
            bytes(),
            self.evicted_bytes.clone(),
        );
        registry.register(
            "garbage_passes",
            "Passes that gave the space of removed zips back to the disk",
            self.garbage_passes.clone(),
        );
        registry.register("records", "Versions with a record", self.records.clone());
        registry.register("zips", "Zips held", self.zips.clone());
        registry.register_with_unit("zip", "Bytes of the zips held", bytes(), self.zip_bytes.clone());
        registry.register_with_unit(
            "evictable",
            "Bytes of the zips that eviction may take",
            bytes(),
            self.evictable_bytes.clone(),
        );
        registry.register_with_unit("disk", "Bytes taken up on disk", bytes(), self.disk_bytes.clone());
        registry.register_with_unit(
            "garbage",
            "Bytes on disk of zips that were removed",
            bytes(),
            self.garbage_bytes.clone(),
        );
        registry.register_with_unit(
            "memory",
            "Bytes in write buffers and the block cache",
            bytes(),
            self.memory_bytes.clone(),
        );
        registry.register(
            "file_system_percent",
            "How full the file system is",
            self.file_system_percent.clone(),
        );
        registry.register_with_unit(
            "file_system_free",
            "Bytes of the file system that the store may still use",
            bytes(),
            self.file_system_free_bytes.clone(),
        );
        registry.register(
            "out_of_space",
            "1 while writes fail for want of disk space",
            self.out_of_space.clone(),
        );
        registry.register(
            "unwritable",
            "1 while the disk takes no writes though it has room",
            self.unwritable.clone(),
        );
        registry.register(
            "slow",
            "1 while the disk takes long to put something on stable storage",
            self.slow.clone(),
        );
        registry.register(
            "stopped",
            "1 while nothing is written because background work met damage",
            self.stopped.clone(),
        );
    }

    /// Shows what is held.
    pub fn show(&self, usage: &Usage) {
        let set = |gauge: &Gauge, value: u64| gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        set(&self.records, usage.records);
        set(&self.zips, usage.zips);
        set(&self.zip_bytes, usage.zip_bytes);
        set(&self.evictable_bytes, usage.evictable_bytes);
        set(&self.disk_bytes, usage.meta_disk_bytes + usage.chunk_disk_bytes);
        set(&self.garbage_bytes, usage.garbage_bytes());
        set(&self.memory_bytes, usage.memtable_bytes + usage.block_cache_bytes);
        set(&self.file_system_percent, u64::from(usage.file_system.percent()));
        set(&self.file_system_free_bytes, usage.file_system.available_bytes);
        set(&self.out_of_space, u64::from(usage.out_of_space));
        set(&self.unwritable, u64::from(usage.unwritable));
        set(&self.slow, u64::from(usage.slow));
        set(&self.stopped, u64::from(usage.stopped));
    }

    /// Shows that nothing can be written where it cannot even be told what is held.
    pub fn show_unwritable(&self) {
        self.unwritable.set(1);
    }

    /// Counts what a pass did.
    pub fn count(&self, report: &Report) {
        for evicted in &report.evicted {
            let label = WhyLabel { why: evicted.why.into() };
            self.evicted.get_or_create(&label).inc();
            self.evicted_bytes.get_or_create(&label).inc_by(evicted.bytes);
        }
        if report.garbage_share.is_some() {
            self.garbage_passes.inc();
        }
    }
}

#[cfg(test)]
mod tests {
    use gomod::{ModulePath, ModuleVersion, Version};

    use super::super::report::Evicted;
    use super::*;

    #[test]
    fn a_pass_is_counted_by_reason() {
        let families = StoreFamilies::default();
        let mut registry = Registry::default();
        families.register(&mut registry);
        let version = ModuleVersion {
            module: ModulePath::parse("example.com/a").expect("module path"),
            version: Version::parse("v1.0.0").expect("version"),
        };
        let evicted = vec![Evicted { version, bytes: 70, why: Why::Disk }];
        families.count(&Report { evicted, ..Report::default() });
        families.show(&Usage { records: 3, ..Usage::default() });
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("encode");
        for line in ["evicted_total{why=\"disk\"} 1", "evicted_bytes_total{why=\"disk\"} 70", "records 3"] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
    }
}
