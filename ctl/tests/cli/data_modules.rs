//! What the fake cluster's data nodes hold.

use proto::control::v1::*;

use crate::bed::Bed;
use crate::data::at;
use crate::fake::Reply;

const H1: &str = "h1:e5/vxKd/rZsfSJMUX1agtjeTDf+qv1/JdBF8gg5k9ZM=";

fn copy(node: &str, zip_size: u64) -> Copy {
    Copy {
        node: node.to_owned(),
        info: true,
        go_mod: true,
        zip_size,
        zip_h1: H1.to_owned(),
        verified: true,
        origin: "upstream.example".to_owned(),
        first_seen_time: at(2),
        class: "cache".to_owned(),
    }
}

fn mark(version: &str, kind: MarkKind) -> Mark {
    Mark {
        module_path: "github.com/spf13/cobra".to_owned(),
        version: version.to_owned(),
        kind: kind.into(),
        mark_time: at(3),
        by: "admin".to_owned(),
        reason: "see ticket 12".to_owned(),
    }
}

fn version(version: &str, marks: Vec<Mark>) -> ModuleVersion {
    ModuleVersion {
        module_path: "github.com/spf13/cobra".to_owned(),
        version: version.to_owned(),
        zip_size: 190_318,
        zip_h1: H1.to_owned(),
        verified: true,
        first_seen_time: at(2),
        conflict: false,
        copies: vec![copy("data-1", 190_318), copy("data-3", 0)],
        marks,
    }
}

fn item() -> WarmItem {
    WarmItem {
        module_path: "github.com/spf13/cobra".to_owned(),
        version: "v1.8.0".to_owned(),
        ..WarmItem::default()
    }
}

/// Everything answers well.
pub(crate) fn well(bed: &Bed) {
    modules(bed);
    caches(bed);
}

fn modules(bed: &Bed) {
    let quarantined = mark("v1.7.0", MarkKind::Quarantined);
    let listed = ListVersionsResponse {
        versions: vec![version("v1.7.0", vec![quarantined.clone()]), version("v1.8.0", vec![])],
        next_page_token: String::new(),
        unreachable_nodes: vec!["data-2".to_owned()],
    };
    bed.on("ModuleService/ListVersions", &listed);
    let shown = GetModuleResponse {
        module_path: "github.com/spf13/cobra".to_owned(),
        slot: 1_234,
        owners: vec!["data-1".to_owned(), "data-3".to_owned()],
        versions: vec![version("v1.7.0", vec![quarantined.clone()])],
        marks: vec![mark("", MarkKind::Pinned)],
        unreachable_nodes: vec![],
        left_out_count: 0,
    };
    bed.on("ModuleService/GetModule", &shown);
    let warmed = WarmVersionsResponse {
        item: Some(item()),
        node: "data-1".to_owned(),
        was_held: false,
        bytes: 190_318,
        problem: String::new(),
    };
    bed.fake.on("ModuleService/WarmVersions", vec![Reply::stream(&[warmed])]);
    let purged = PurgeResult {
        node: "data-1".to_owned(),
        version_count: 2,
        freed_bytes: 190_318,
        problem: String::new(),
    };
    bed.on("ModuleService/PurgeModule", &PurgeModuleResponse { results: vec![purged] });
    let marked =
        MarkModuleResponse { mark: Some(quarantined.clone()), behind_nodes: vec![], results: vec![] };
    bed.on("ModuleService/MarkModule", &marked);
    bed.on("ModuleService/UnmarkModule", &UnmarkModuleResponse { mark: Some(quarantined.clone()) });
    let verified = VerifyModuleResponse {
        node: "data-1".to_owned(),
        version: "v1.8.0".to_owned(),
        bytes: 190_318,
        problems: vec![],
        checksum_database: "listed".to_owned(),
        set_aside: false,
        not_held: false,
    };
    bed.fake.on("ModuleService/VerifyModule", vec![Reply::stream(&[verified])]);
    let marks = ListMarksResponse {
        marks: vec![mark("", MarkKind::Pinned), quarantined],
        next_page_token: String::new(),
    };
    bed.on("ModuleService/ListMarks", &marks);
}

fn caches(bed: &Bed) {
    let usage = NodeCacheUsage {
        node: "data-1".to_owned(),
        version_count: 123_456,
        zip_count: 98_765,
        zip_bytes: 40 << 30,
        evictable_bytes: 39 << 30,
        capacity_bytes: 50 << 30,
        store_bytes: 42 << 30,
        garbage_bytes: 1 << 30,
        disk_bytes: 1 << 40,
        disk_free_bytes: 700 << 30,
        quarantined_count: 3,
        problem: String::new(),
    };
    let away = NodeCacheUsage {
        node: "data-2".to_owned(),
        problem: "node data-2 is down".to_owned(),
        ..NodeCacheUsage::default()
    };
    bed.on("CacheService/GetCacheUsage", &GetCacheUsageResponse { nodes: vec![usage, away] });
    let garbage = GarbageResult {
        node: "data-1".to_owned(),
        evicted_count: 12,
        evicted_bytes: 3 << 20,
        freed_bytes: 1 << 30,
        problem: String::new(),
    };
    bed.on("CacheService/CollectGarbage", &CollectGarbageResponse { results: vec![garbage] });
    let found = ScrubCacheResponse {
        node: "data-1".to_owned(),
        version_count: 17,
        bytes: 3 << 20,
        bytes_total: 40 << 20,
        bad_count: 1,
        healed_count: 1,
        finding: "example.com/m@v1.0.0: Blob CRC mismatch; whole again".to_owned(),
        done: false,
        problem: String::new(),
    };
    let done = ScrubCacheResponse { bytes: 40 << 20, finding: String::new(), done: true, ..found.clone() };
    bed.fake.on("CacheService/ScrubCache", vec![Reply::stream(&[found, done])]);
    let repaired = RepairCacheResponse {
        node: "data-1".to_owned(),
        taken_count: 4,
        taken_bytes: 5 << 20,
        failed_count: 0,
        unreachable_nodes: vec![],
        done: true,
        problem: String::new(),
    };
    bed.fake.on("CacheService/RepairCache", vec![Reply::stream(&[repaired])]);
}
