//! A cache that is too small, a disk that is full, and what stays all the same.

use tests::bed::assert_not_served;
use tests::process::eventually;
use tests::{Bed, Module, Proxy, Settings};

/// The least cache that the server accepts, and modules that do not all fit.
const CACHE: &str = "64MiB";
const ZIP_BYTES: usize = 6_000_000;
const MODULES: usize = 16;

fn modules(bed: &Bed, path: &str) -> Vec<Module> {
    (0..MODULES)
        .map(|number| {
            let module = Module::new(path, &format!("v1.{number}.0")).filler(ZIP_BYTES + number);
            bed.origin.publish_without_record(&module);
            module
        })
        .collect()
}

fn settings(bed: &Bed) -> Settings {
    Settings::new(&bed.origin).flag("--cache-size", CACHE).allow_all()
}

fn held(proxy: &Proxy, module: &Module, suffix: &str) -> bool {
    proxy.call("HEAD", &format!("/cached-only{}", module.url_path(suffix))).send().status == 200
}

fn fetch_all(proxy: &Proxy, modules: &[Module]) {
    for module in modules {
        for suffix in [".info", ".mod", ".zip"] {
            assert_eq!(proxy.get(&module.url_path(suffix)).status, 200, "{}{suffix}", module.spec());
        }
    }
}

/// Waits until eviction has brought the zips below the cache's size, and returns how many are held. The wait goes by
/// metrics, since each look at a zip counts as a use of it.
fn settled(proxy: &Proxy, modules: &[Module]) -> usize {
    eventually("the cache is within its size", || {
        let evicted = proxy.metric("goproxy_store_evicted_total", "").is_some_and(|count| count > 0.0);
        let fits = proxy
            .metric("goproxy_store_evictable_bytes", "")
            .is_some_and(|bytes| bytes <= f64::from(64 << 20));
        (evicted && fits).then_some(())
    });
    modules.iter().filter(|module| held(proxy, module, ".zip")).count()
}

#[test]
fn zips_go_and_small_files_stay_and_an_evicted_zip_is_fetched_again() {
    for policy in ["s3-fifo", "lru"] {
        let bed = Bed::new();
        let modules = modules(&bed, "example.com/evicted");
        let proxy = Proxy::start(&settings(&bed).flag("--eviction", policy));
        fetch_all(&proxy, &modules);
        let count = settled(&proxy, &modules);
        assert!(count > 3, "{policy}: only {count} zips of 6 MB are held in 64 MiB");
        for module in &modules {
            assert!(
                held(&proxy, module, ".info") && held(&proxy, module, ".mod"),
                "{policy}: {}",
                module.spec()
            );
        }
        let gone = modules.iter().find(|module| !held(&proxy, module, ".zip")).unwrap();
        bed.origin.forget_seen();
        assert!(proxy.get(&gone.url_path(".zip")).expect(200).body == gone.zip(), "{policy}");
        assert_eq!(bed.origin.count(&gone.url_path(".zip")), 1);
        assert_eq!(bed.origin.count(&gone.url_path(".mod")), 0);
    }
}

#[test]
fn what_is_asked_for_often_outlives_what_is_asked_for_once() {
    let bed = Bed::new();
    let modules = modules(&bed, "example.com/often");
    let proxy = Proxy::start(&settings(&bed));
    for module in &modules {
        assert_eq!(proxy.get(&module.url_path(".zip")).status, 200);
        for _ in 0..3 {
            assert_eq!(proxy.get(&modules[0].url_path(".zip")).status, 200);
        }
    }
    settled(&proxy, &modules);
    assert!(held(&proxy, &modules[0], ".zip"), "the one that everybody uses went");
    assert_eq!(bed.origin.count(&modules[0].url_path(".zip")), 1);
}

#[test]
fn pinned_and_retained_versions_stay() {
    let bed = Bed::new();
    let pinned = Module::new("example.com/pinned", "v1.0.0").filler(ZIP_BYTES);
    bed.origin.publish_without_record(&pinned);
    let modules = modules(&bed, "example.com/kept");
    let proxy =
        Proxy::start(&settings(&bed).flag("--pin", "example.com/pinned").flag("--retain-newest", "2"));
    assert_eq!(proxy.get(&pinned.url_path(".zip")).status, 200);
    // The newest first, so that age alone would evict it.
    for module in modules.iter().rev() {
        assert_eq!(proxy.get(&module.url_path(".zip")).status, 200);
    }
    let mut all = modules.clone();
    all.push(pinned.clone());
    settled(&proxy, &all);
    assert!(held(&proxy, &pinned, ".zip"), "a pinned version went");
    for module in &modules[MODULES - 2..] {
        assert!(held(&proxy, module, ".zip"), "{} is one of the newest two", module.spec());
    }
}

#[test]
fn an_evicted_version_that_comes_back_different_is_refused() {
    let bed = Bed::new();
    let modules = modules(&bed, "example.com/changed");
    let proxy = Proxy::start(&settings(&bed));
    fetch_all(&proxy, &modules);
    settled(&proxy, &modules);
    let gone = modules.iter().find(|module| !held(&proxy, module, ".zip")).unwrap();
    let other = Module::new(&gone.path, &gone.version).file("other.go", "package other\n");
    bed.origin.set_file(&gone.url_path(".zip"), other.zip());
    assert_not_served(&proxy.get(&gone.url_path(".zip")));
    assert!(!held(&proxy, gone, ".zip"));
    let alarms = ["goproxy_serve_conflicts_total", "goproxy_serve_refused_content_total"];
    let told = alarms.map(|name| proxy.metric(name, "").unwrap_or_default());
    assert!(told.iter().sum::<f64>() > 0.0, "nobody was told");
}

#[test]
fn a_version_that_retention_removed_comes_back_as_it_was_or_is_refused() {
    let bed = Bed::new();
    let [other_zip, other_mod, same, newest] = ["v1.0.0", "v1.1.0", "v1.2.0", "v1.3.0"].map(|version| {
        let module = Module::new("example.com/removed", version);
        bed.origin.publish_without_record(&module);
        module
    });
    let proxy = Proxy::start(&settings(&bed).flag("--retain-newest", "1"));
    let old = [other_zip.clone(), other_mod.clone(), same.clone()];
    fetch_all(&proxy, &old);
    fetch_all(&proxy, std::slice::from_ref(&newest));
    let suffixes = [".info", ".mod", ".zip"];
    let has_left = |module: &Module| suffixes.iter().all(|suffix| !held(&proxy, module, suffix));
    eventually("all but the newest version have left", || old.iter().all(has_left).then_some(()));
    assert!(held(&proxy, &newest, ".zip"));

    let moved = Module::new(&other_zip.path, &other_zip.version).file("other.go", "package other\n");
    bed.origin.set_file(&other_zip.url_path(".zip"), moved.zip());
    assert_not_served(&proxy.get(&other_zip.url_path(".zip")));
    assert!(!held(&proxy, &other_zip, ".zip"));
    bed.origin.set_file(&other_mod.url_path(".mod"), "module example.com/removed\n\ngo 1.22\n");
    assert_not_served(&proxy.get(&other_mod.url_path(".mod")));
    assert!(!held(&proxy, &other_mod, ".mod"));
    assert!(proxy.get(&same.url_path(".zip")).expect(200).body == same.zip());
    assert!(proxy.get(&same.url_path(".mod")).expect(200).body == same.go_mod());
}

#[test]
fn the_order_of_eviction_survives_a_restart() {
    let bed = Bed::new();
    let modules = modules(&bed, "example.com/order");
    let proxy = Proxy::start(&settings(&bed));
    fetch_all(&proxy, &modules[..8]);
    let proxy = proxy.restart();
    fetch_all(&proxy, &modules[8..]);
    let count = settled(&proxy, &modules);
    assert!(count > 3, "{count}");
    for module in &modules {
        assert!(held(&proxy, module, ".mod"));
    }
}

#[test]
fn what_the_origin_has_lost_is_not_evicted() {
    let bed = Bed::new();
    let modules = modules(&bed, "example.com/lost");
    let list = "/example.com/lost/@v/list";
    let listed: Vec<&str> = modules.iter().map(|module| module.version.as_str()).collect();
    let proxy = Proxy::start(&settings(&bed).flag("--list-ttl", "1ms"));
    fetch_all(&proxy, &modules[..1]);
    assert!(proxy.get(list).expect(200).text().contains(listed[0]));
    bed.origin.set_file(list, listed[1..].join("\n") + "\n");
    bed.origin.remove_file(&modules[0].url_path(".zip"));
    eventually("the origin's new list", || {
        proxy.get(list).expect(200);
        (bed.origin.count(list) > 1).then_some(())
    });
    // It has come by the time that the next one is asked for.
    eventually("the list after that", || {
        proxy.get(list).expect(200);
        (bed.origin.count(list) > 2).then_some(())
    });
    fetch_all(&proxy, &modules[1..]);
    settled(&proxy, &modules);
    assert!(held(&proxy, &modules[0], ".zip"), "what nobody else has went");
    assert!(proxy.get(list).expect(200).text().contains(listed[0]));
}

#[test]
fn an_offline_mirror_keeps_what_it_has() {
    let bed = Bed::new();
    let modules = modules(&bed, "example.com/mirror");
    let proxy = Proxy::start(&settings(&bed).flag("--cache-size", "1GiB"));
    fetch_all(&proxy, &modules);
    let proxy = proxy.restart_with(settings(&bed).offline());
    // Told at the end of a pass.
    eventually("a pass over the store", || {
        let bytes = proxy.metric("goproxy_store_evictable_bytes", "")?;
        (bytes > f64::from(64 << 20)).then_some(())
    });
    for module in &modules {
        assert!(held(&proxy, module, ".zip"), "{}", module.spec());
    }
}
