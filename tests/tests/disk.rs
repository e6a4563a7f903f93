//! A disk that fills up: what is not there yet still streams through, what is there is still served.

use tests::process::eventually;
use tests::{Bed, Module, Proxy, Settings};

const DISK_BYTES: u64 = 96 << 20;
const ZIP_BYTES: usize = 6_000_000;

/// Needs a mount namespace of its own for a small tmpfs; without the right to make one there is nothing to test.
fn may_mount() -> bool {
    let probe =
        std::process::Command::new("unshare").args(["-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]).output();
    probe.is_ok_and(|output| output.status.success())
}

#[test]
fn a_full_disk_stops_caching_and_not_serving() {
    if !may_mount() {
        return;
    }
    let bed = Bed::new();
    let modules: Vec<Module> = (0..24)
        .map(|number| {
            let module =
                Module::new("example.com/full", &format!("v1.{number}.0")).filler(ZIP_BYTES + number);
            bed.origin.publish_without_record(&module);
            module
        })
        .collect();
    let settings = Settings::new(&bed.origin).disk(DISK_BYTES).allow_all();
    let mut proxy = Proxy::start(&settings);
    for round in 0..2 {
        for module in &modules {
            let answer = proxy.get(&module.url_path(".zip"));
            assert_eq!(answer.status, 200, "round {round}, {}: {}", module.spec(), answer.text());
            assert!(answer.complete && answer.body == module.zip(), "round {round}, {}", module.spec());
            assert_eq!(proxy.get(&module.url_path(".mod")).expect(200).body, module.go_mod());
        }
        proxy.get("/healthz").expect(200);
        // Load balancers go on sending requests here: it answers them all.
        proxy.get("/readyz").expect(200);
    }
    assert!(proxy.runs());
    let is_full = || proxy.metric("goproxy_store_out_of_space", "") == Some(1.0);
    eventually("operators are told", || is_full().then_some(()));
    // Some of it is cached all the same: the disk is used, not given up.
    eventually("something is held", || {
        let held = modules.iter().filter(|module| {
            proxy.call("HEAD", &format!("/cached-only{}", module.url_path(".zip"))).send().status == 200
        });
        (held.count() >= 3).then_some(())
    });
}

/// What passes through memory has room for five of them at a time.
#[test]
fn many_at_once_on_a_full_disk_wait_for_memory_and_none_is_refused() {
    if !may_mount() {
        return;
    }
    let bed = Bed::new();
    let modules: Vec<Module> = (0..32)
        .map(|number| {
            let module = Module::new("example.com/full", &format!("v2.{number}.0+incompatible"));
            let module = module.filler(ZIP_BYTES + number);
            bed.origin.publish_without_record(&module);
            module
        })
        .collect();
    let settings = Settings::new(&bed.origin).disk(DISK_BYTES).allow_all().flag("--memory", "64MiB");
    let proxy = Proxy::start(&settings);
    for _ in 0..3 {
        std::thread::scope(|scope| {
            for module in &modules {
                let proxy = &proxy;
                scope.spawn(move || {
                    let answer = proxy.get(&module.url_path(".zip"));
                    assert_eq!(answer.status, 200, "{}: {}", module.spec(), answer.text());
                    assert!(answer.complete && answer.body == module.zip(), "{}", module.spec());
                });
            }
        });
    }
}

/// Somebody moves it, or takes the volume out: what is fetched passes through until it is back.
#[test]
fn a_folder_that_is_moved_away_stops_caching_and_not_serving() {
    let bed = Bed::new();
    let module = |number: usize| {
        let module = Module::new("example.com/moved", &format!("v1.{number}.0")).filler(600_000 + number);
        bed.origin.publish_without_record(&module);
        module
    };
    let serves = |proxy: &Proxy, module: &Module| {
        assert!(proxy.get(&module.url_path(".zip")).expect(200).body == module.zip(), "{}", module.spec());
        assert_eq!(proxy.get(&module.url_path(".mod")).expect(200).body, module.go_mod());
    };
    let proxy = Proxy::start(&Settings::new(&bed.origin).allow_all());
    let held = module(0);
    serves(&proxy, &held);
    let (folder, elsewhere) = (proxy.data_dir(), proxy.data_dir().with_extension("moved"));
    std::fs::rename(&folder, &elsewhere).unwrap();
    for number in 1..6 {
        serves(&proxy, &module(number));
        serves(&proxy, &held);
    }
    let told = proxy.get("/readyz").expect(200).text();
    assert!(told.contains("is not there as it was"), "{told}");
    eventually("operators are told", || {
        (proxy.metric("goproxy_store_unwritable", "") == Some(1.0)).then_some(())
    });
    std::fs::rename(&elsewhere, &folder).unwrap();
    let mut number = 6;
    eventually("what comes is stored again", || {
        let module = module(number);
        number += 1;
        serves(&proxy, &module);
        let held = proxy.call("HEAD", &format!("/cached-only{}", module.url_path(".zip"))).send();
        (held.status == 200).then_some(())
    });
    assert_eq!(proxy.get("/readyz").expect(200).text(), "ready\n");
}
