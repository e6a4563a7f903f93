//! A machine that gives little: few threads, little memory. The server goes on, more slowly.

use tests::process::eventually;
use tests::raw_http::Response;
use tests::{Bed, Group, Module, Proxy, Settings};

const ZIP_BYTES: usize = 6_000_000;

fn modules(bed: &Bed, count: usize) -> Vec<Module> {
    (0..count)
        .map(|number| {
            let module =
                Module::new("example.com/little", &format!("v1.{number}.0")).filler(ZIP_BYTES + number);
            bed.origin.publish_without_record(&module);
            module
        })
        .collect()
}

/// Asks for every zip at once, and again when all have come.
fn fetch_at_once(proxy: &Proxy, modules: &[Module], assert: impl Fn(&Module, Response) + Sync) {
    for _ in 0..2 {
        std::thread::scope(|scope| {
            for module in modules {
                scope.spawn(|| assert(module, proxy.get(&module.url_path(".zip"))));
            }
        });
    }
}

#[test]
fn a_server_that_gets_no_more_threads_serves_with_those_it_has() {
    let bed = Bed::new();
    let modules = modules(&bed, 24);
    let settings = Settings::new(&bed.origin).flag("--memory", "64MiB");
    // What it needs to be ready, and a few.
    let threads = {
        let proxy = Proxy::start(&settings);
        proxy.get(&modules[0].url_path(".mod")).expect(200);
        std::fs::read_dir(format!("/proc/{}/task", proxy.pid())).unwrap().count()
    };
    let Some(group) = Group::threads(threads as u32 + 2) else { return };
    let mut proxy = Proxy::start(&settings.group(&group));
    fetch_at_once(&proxy, &modules, |module, answer| {
        assert!(answer.expect(200).body == module.zip(), "{}", module.spec());
    });
    assert!(group.number("pids.current").is_some_and(|count| count > 1));
    proxy.get("/healthz").expect(200);
    assert!(proxy.runs());
}

#[test]
fn a_server_stays_within_the_memory_that_it_was_told_to_and_is_not_killed() {
    let Some(group) = Group::memory(224 << 20) else { return };
    let bed = Bed::new();
    // More than would fit, and each fetch holds some of it while it is under way.
    let modules = modules(&bed, 48);
    let settings =
        Settings::new(&bed.origin).flag("--memory", "64MiB").flag("--max-fetches", "8").group(&group);
    let mut proxy = Proxy::start(&settings);
    fetch_at_once(&proxy, &modules, |module, answer| {
        assert!(answer.expect(200).body == module.zip(), "{}", module.spec());
    });
    assert!(proxy.runs(), "it was killed for want of memory");
    eventually("it is ready", || (proxy.get("/readyz").status == 200).then_some(()));
}
