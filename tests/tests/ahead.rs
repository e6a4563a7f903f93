//! What is fetched before it is asked for, and what is not.

use std::time::Duration;

use tests::process::eventually;
use tests::{Bed, Fault, Module, Origin, Proxy, Settings};

#[test]
fn the_first_info_of_a_module_graph_brings_the_others_and_an_info_asked_for_its_zip() {
    let bed = Bed::new();
    let modules: Vec<Module> =
        ["a", "b", "c"].iter().map(|name| bed.module(&format!("example.com/{name}"), "v1.0.0")).collect();
    let older = bed.module("example.com/b", "v0.9.0");
    let proxy = bed.proxy();
    for module in modules.iter().chain([&older]) {
        proxy.get(&module.url_path(".mod")).expect(200);
    }
    assert_eq!(bed.origin.count_suffix(".info") + bed.origin.count_suffix(".zip"), 0, "a lone .mod is alone");

    proxy.get(&modules[0].url_path(".info")).expect(200);
    for path in [modules[0].url_path(".zip"), modules[1].url_path(".info"), modules[2].url_path(".info")] {
        eventually(&format!("{path} is fetched"), || (bed.origin.count(&path) == 1).then_some(()));
    }
    assert_eq!(bed.origin.count(&older.url_path(".info")), 0, "selection takes the highest");
    assert_eq!(bed.origin.count_suffix(".zip"), 1, "the zips of the others were not asked for");

    // The one that is there already, asked for now, brings its zip.
    proxy.get(&modules[1].url_path(".info")).expect(200);
    let zip = modules[1].url_path(".zip");
    eventually("its zip is fetched", || (bed.origin.count(&zip) == 1).then_some(()));
    for module in &modules {
        for suffix in [".info", ".mod", ".zip"] {
            proxy.get(&module.url_path(suffix)).expect(200);
            assert_eq!(bed.origin.count(&module.url_path(suffix)), 1);
        }
    }
}

/// With a far origin, whoever loads a module graph would wait for each of its levels.
#[test]
fn what_a_module_without_graph_pruning_requires_is_fetched_with_its_go_mod() {
    let bed = Bed::new();
    let publish = |name: &str, go: &str, requires: &str| {
        let path = format!("example.com/{name}");
        let text = format!("module {path}\n\ngo {go}\n");
        let module = Module::new(&path, "v1.0.0").go_mod_text(&text).require(requires, "v1.0.0");
        bed.origin.publish(&module);
        module.url_path(".mod")
    };
    let modern = publish("modern", "1.21", "example.com/never");
    let never = publish("never", "1.16", "example.com/never");
    let legacy = publish("legacy", "1.16", "example.com/between");
    // All that is below a module without graph pruning is loaded.
    let between = publish("between", "1.21", "example.com/below");
    let last = Module::new("example.com/last", "v1.0.0");
    bed.origin.publish(&last);
    let text = "module example.com/below\n\ngo 1.16\n";
    let requires_more = Module::new("example.com/below", "v1.0.0").go_mod_text(text);
    bed.origin
        .publish(&requires_more.require("corp.example.com/secret", "v1.0.0").require(&last.path, "v1.0.0"));
    let (below, last) = ("/example.com/below/@v/v1.0.0.mod".to_owned(), last.url_path(".mod"));
    let proxy = Proxy::start(&bed.settings().flag("--private", "corp.example.com"));
    for path in [&modern, &legacy] {
        proxy.get(path).expect(200);
    }
    eventually("the last of the graph is fetched", || (bed.origin.count(&last) == 1).then_some(()));
    for path in [&between, &below, &last] {
        proxy.get(path).expect(200);
        assert_eq!(bed.origin.count(path), 1, "{path}");
    }
    assert_eq!(bed.origin.count(&never), 0, "what a pruned module requires is not foretold");
    assert!(bed.origin.seen().iter().all(|seen| !seen.path.contains("corp.")), "it is private");
    assert_eq!(bed.origin.count_suffix(".info") + bed.origin.count_suffix(".zip"), 0);
}

/// A name that every client replaces by a directory of its own is nothing for a public proxy.
#[test]
fn names_from_the_files_of_one_origin_go_to_none_behind_it() {
    let (inner, public) = (Origin::start(), Origin::start());
    let publish = |origin: &Origin, name: &str, requires: &str| {
        let text = format!("module {name}\n\ngo 1.16\n");
        let module = Module::new(name, "v1.0.0").go_mod_text(&text).require(requires, "v1.0.0");
        origin.publish(&module);
        module.url_path(".mod")
    };
    let known = Module::new("example.com/known", "v1.0.0");
    public.publish(&known);
    let inside = publish(&inner, "corp.example.com/app", "corp.example.com/secret");
    let outside = publish(&public, "example.com/app", &known.path);
    let chain = format!("{},{}", inner.url(), public.url());
    let proxy = Proxy::start(&Settings::upstream(&chain).flag("--sumdb", "off"));
    let known = known.url_path(".mod");
    // What might be asked because of the inner file, which is sent earlier, overtakes this.
    public.fault(&outside, [Fault::Delay(Duration::from_millis(300))]);
    for path in [&inside, &outside] {
        proxy.get(path).expect(200);
    }
    eventually("what the last one's file requires is fetched", || (public.count(&known) == 1).then_some(()));
    assert!(inner.seen().iter().chain(&public.seen()).all(|seen| !seen.path.contains("secret")));
}

/// Whatever it runs on, the go command asks for one platform's `.info` to learn whether there is a release.
#[test]
fn a_toolchain_is_not_fetched_because_somebody_asks_whether_there_is_one() {
    let bed = Bed::new();
    let toolchain = Module::new("golang.org/toolchain", "v0.0.1-go1.99.1.linux-amd64").without_go_mod();
    bed.origin.publish(&toolchain);
    let module = bed.module("example.com/a", "v1.0.0");
    let proxy = bed.proxy();
    for asked in [&toolchain, &module] {
        proxy.get(&asked.url_path(".info")).expect(200);
    }
    eventually("what was asked for later is fetched", || {
        (bed.origin.count(&module.url_path(".zip")) == 1).then_some(())
    });
    assert_eq!(bed.origin.count(&toolchain.url_path(".zip")), 0);
    assert_eq!(proxy.get(&toolchain.url_path(".zip")).expect(200).body, toolchain.zip());
}
