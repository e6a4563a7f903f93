//! Zips that break the rules of module zips: refused, not stored, in constant memory.

use tests::bed::{assert_not_served, assert_upstream_error};
use tests::hostile_zip::{Entry, build, build_claiming};
use tests::{Bed, Fault, GoClient, Module, Proxy, Settings};

const MIB: u64 = 1 << 20;

/// One hostile zip: what is wrong with it, its module, and whether the go command itself refuses it.
struct Case {
    name: &'static str,
    module: Module,
    go_refuses: bool,
}

/// The cases; each is a module of its own.
#[derive(Default)]
struct Cases(Vec<Case>);

impl Cases {
    /// Adds a zip made by `make` of the prefix that its entries must have.
    fn add(&mut self, name: &'static str, go_refuses: bool, make: impl FnOnce(&str) -> Vec<u8>) {
        let path = format!("example.com/hostile{}", self.0.len());
        let zip = make(&format!("{path}@v1.0.0/"));
        let module = Module::new(&path, "v1.0.0").zip_bytes_are(zip);
        self.0.push(Case { name, module, go_refuses });
    }

    /// A zip whose files have these names.
    fn names(&mut self, name: &'static str, files: &[&str]) {
        self.add(name, true, |prefix| with(prefix, files.iter().map(|file| named(prefix, file)).collect()));
    }

    /// A zip with one wrong entry.
    fn entry(&mut self, name: &'static str, go_refuses: bool, make: impl FnOnce(&str) -> Entry) {
        self.add(name, go_refuses, |prefix| with(prefix, vec![make(prefix)]));
    }
}

fn named(prefix: &str, name: &str) -> Entry {
    Entry::stored(format!("{prefix}{name}"), b"package hostile\n")
}

/// A zip of a good go.mod and these entries.
fn with(prefix: &str, entries: Vec<Entry>) -> Vec<u8> {
    let path = prefix.split('@').next().unwrap_or_default();
    let go_mod = Entry::stored(format!("{prefix}go.mod"), format!("module {path}\n\ngo 1.21\n").as_bytes());
    build(&[vec![go_mod], entries].concat())
}

fn bomb(prefix: &str, name: &str, bytes: u64) -> Entry {
    Entry::bomb(format!("{prefix}{name}"), bytes)
}

fn cases() -> Vec<Case> {
    let mut cases = Cases::default();
    names(&mut cases);
    entries(&mut cases);
    forms(&mut cases);
    cases.0
}

fn names(cases: &mut Cases) {
    cases.names("names equal but for case", &["a.go", "A.go"]);
    cases.names("the same name twice", &["a.go", "a.go"]);
    cases.names("directories equal but for case", &["dir/a.go", "DIR/b.go"]);
    cases.names("names equal under Unicode folding", &["k.go", "\u{212a}.go"]);
    cases.names("a file that is a directory too", &["a", "a/b.go"]);
    cases.names("traversal", &["../escape.go"]);
    cases.names("traversal inside", &["sub/../../../escape.go"]);
    cases.names("a dot element", &["./a.go"]);
    cases.names("an empty element", &["sub//a.go"]);
    cases.names("an absolute name", &["/etc/passwd"]);
    cases.names("a backslash", &["sub\\a.go"]);
    cases.names("a Windows device", &["sub/aux.go"]);
    cases.names("a Windows device, bare", &["con"]);
    cases.names("a trailing dot", &["a."]);
    cases.names("a colon", &["a:b.go"]);
    cases.names("a control character", &["a\n.go"]);
    cases.names("a NUL", &["a\0.go"]);
    cases.names("an asterisk", &["*.go"]);
    cases.names("go.mod below the root", &["sub/go.mod"]);
    cases.names("go.mod in capitals", &["GO.MOD"]);
    cases.names("go.mod in capitals below the root", &["sub/Go.Mod"]);
}

fn entries(cases: &mut Cases) {
    cases.entry("another module's prefix", true, |_| Entry::stored("example.com/other@v1.0.0/a.go", b"x"));
    cases.entry("another version's prefix", true, |prefix| {
        Entry::stored(prefix.replace("v1.0.0", "v1.0.1") + "a", b"x")
    });
    cases.entry("no prefix", true, |_| Entry::stored("a.go", b"x"));
    cases.entry("an escaped prefix", true, |prefix| {
        Entry::stored(prefix.replace("hostile", "!hostile") + "a", b"x")
    });
    cases.entry("a name that is not UTF-8", true, |prefix| {
        Entry::stored([prefix.as_bytes(), b"\xff.go"].concat(), b"x")
    });
    cases.entry("a symlink", false, |prefix| named(prefix, "link").unix_mode(0o120_777));
    cases.entry("an unknown method", true, |prefix| named(prefix, "a.go").claims_method(99));
    cases.entry("a wrong checksum", true, |prefix| named(prefix, "a.go").claims_crc(1));
    cases.entry("a size of 600 MiB claimed", true, |prefix| named(prefix, "a.go").claims_unpacked(600 * MIB));
    cases.entry("a size in one header only", true, |prefix| named(prefix, "a.go").central_claims_unpacked(3));
    cases
        .entry("a bomb that claims ten bytes", true, |prefix| bomb(prefix, "a", 8 * MIB).claims_unpacked(10));
    cases.entry("a LICENSE of 17 MiB", true, |prefix| bomb(prefix, "LICENSE", 17 * MIB));
    cases.entry("a bomb of 600 MiB", true, |prefix| bomb(prefix, "zeros", 600 * MIB));
}

fn forms(cases: &mut Cases) {
    let honest = |prefix: &str| with(prefix, vec![named(prefix, "a.go")]);
    cases.add("no zip at all", true, |_| b"this is not a zip file, only as long as one might be".to_vec());
    cases.add("no bytes", true, |_| Vec::new());
    cases.add("a cut end", true, |prefix| {
        let mut zip = honest(prefix);
        zip.truncate(zip.len() - 30);
        zip
    });
    cases.add("a hole", true, |prefix| {
        let mut zip = honest(prefix);
        zip.drain(40..80);
        zip
    });
    cases.add("more entries claimed than there are", true, |prefix| {
        build_claiming(&[named(prefix, "a.go")], 3)
    });
    cases
        .add("a million entries claimed", true, |prefix| build_claiming(&[named(prefix, "a.go")], 1_000_000));
    cases.add("a go.mod of 17 MiB", true, |prefix| build(&[bomb(prefix, "go.mod", 17 * MIB)]));
    cases.add("many bombs that make 600 MiB", true, |prefix| {
        with(prefix, (0..60).map(|number| bomb(prefix, &format!("zeros{number}"), 10 * MIB)).collect())
    });
}

#[test]
fn the_go_command_refuses_them_too() {
    let bed = Bed::new();
    let cases: Vec<Case> = cases().into_iter().filter(|case| case.go_refuses).collect();
    for case in &cases {
        bed.origin.publish_without_record(&case.module);
    }
    let specs: Vec<String> = cases.iter().map(|case| case.module.spec()).collect();
    let specs: Vec<&str> = specs.iter().map(String::as_str).collect();
    let output = GoClient::new(&bed.origin.url(), "off").download(&specs);
    let mut results = serde_json::Deserializer::from_str(&output.stdout).into_iter::<serde_json::Value>();
    for case in &cases {
        let result = results.next().unwrap().unwrap();
        assert_eq!(result["Path"], case.module.path.as_str());
        assert!(result["Error"].is_string(), "the go command takes a zip with {}: {result}", case.name);
    }
}

#[test]
fn hostile_zips_are_refused_and_not_stored() {
    let bed = Bed::new();
    let proxy = Proxy::start(&Settings::new(&bed.origin).allow_all());
    proxy.get("/healthz").expect(200);
    for case in cases() {
        bed.origin.publish(&case.module);
        let path = case.module.url_path(".zip");
        proxy.reset_peak();
        let before = proxy.resident_bytes();
        let answer = proxy.get(&path);
        let whole = answer.status == 200 && answer.complete;
        assert!(!whole, "a zip with {} was served", case.name);
        // A small one is judged before the first byte leaves, a large one before the last.
        if case.module.zip().len() < 200_000 {
            assert_upstream_error(&answer);
        }
        assert_eq!(
            proxy.get(&format!("/cached-only{path}")).status,
            404,
            "a zip with {} was stored",
            case.name
        );
        let grown = proxy.peak_resident_bytes().saturating_sub(before);
        assert!(grown < 80 * MIB, "a zip with {} took {} MiB", case.name, grown / MIB);
    }
}

#[test]
fn a_refused_zip_is_replaced_once_the_origin_has_the_right_one() {
    let bed = Bed::new();
    let good = Module::new("example.com/healed", "v1.0.0");
    bed.origin.publish(&good.clone().zip_bytes_are(b"nothing like a zip".to_vec()));
    let proxy = Proxy::start(&Settings::new(&bed.origin).allow_all());
    assert_upstream_error(&proxy.get(&good.url_path(".zip")));
    bed.origin.publish(&good);
    let healed = tests::process::eventually("the right zip is served", || {
        Some(proxy.get(&good.url_path(".zip"))).filter(|answer| answer.status == 200)
    });
    assert_eq!(healed.body, good.zip());
}

#[test]
fn a_large_hostile_zip_never_reaches_a_client_whole() {
    let bed = Bed::new();
    let prefix = "example.com/large@v1.0.0/";
    let filler = Entry::stored(format!("{prefix}filler"), &tests::module::noise(3_000_000, 7));
    let zip = with(prefix, vec![filler, named(prefix, "a.go"), named(prefix, "A.go")]);
    let module = Module::new("example.com/large", "v1.0.0").zip_bytes_are(zip);
    bed.origin.publish(&module);
    let proxy = Proxy::start(&Settings::new(&bed.origin).allow_all());
    assert_not_served(&proxy.get(&module.url_path(".zip")));
    assert_eq!(proxy.get(&format!("/cached-only{}", module.url_path(".zip"))).status, 404);
    GoClient::new(&proxy.url(), "off").download(&[&module.spec()]).failure("example.com/large");
}

#[test]
fn a_zip_that_is_too_large_is_not_read_to_its_end() {
    let bed = Bed::new();
    let module = bed.module("example.com/huge", "v1.0.0");
    bed.origin.fault(&module.url_path(".zip"), [Fault::ContentLength(600 * MIB)]);
    let proxy = Proxy::start(&Settings::new(&bed.origin).allow_all());
    assert_upstream_error(&proxy.get(&module.url_path(".zip")));
    assert_eq!(bed.origin.count(&module.url_path(".zip")), 1, "asking again does not make it smaller");
}

#[test]
fn memory_does_not_grow_with_the_number_of_entries() {
    let bed = Bed::new();
    let proxy = Proxy::start(&Settings::new(&bed.origin).allow_all());
    proxy.get("/healthz").expect(200);
    let before = proxy.resident_bytes();
    // More than any honest module has, and more than anybody can want.
    for (count, served) in [(50_000, true), (500_000, false)] {
        let module = Module::new(&format!("example.com/crowd{count}"), "v1.0.0");
        let prefix = format!("{}/", module.spec());
        let entries = (0..count)
            .map(|number| Entry::stored(format!("{prefix}d{}/f{number}", number % 100), b""))
            .collect();
        let module = module.zip_bytes_are(with(&prefix, entries));
        bed.origin.publish_without_record(&module);
        let answer = proxy.get(&module.url_path(".zip"));
        assert_eq!(answer.status == 200 && answer.complete, served, "{count} entries");
        let grown = proxy.peak_resident_bytes().saturating_sub(before);
        assert!(grown < 220 * MIB, "{count} entries take {} MiB", grown / MIB);
    }
}

#[test]
fn odd_zips_that_the_rules_permit_are_served() {
    let prefix = "example.com/odd@v1.0.0/";
    let directory = Entry::stored(format!("{prefix}dir/"), b"");
    let late_go_mod = Entry::stored(format!("{prefix}go.mod"), b"module example.com/odd\n");
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("a directory entry", with(prefix, vec![directory, named(prefix, "dir/a.go")])),
        ("no go.mod", build(&[named(prefix, "a.go")])),
        ("a go.mod at the end", build(&[named(prefix, "a.go"), late_go_mod])),
        (
            "names outside ASCII",
            with(prefix, vec![named(prefix, "\u{e4}\u{f6}.go"), named(prefix, "a b.txt")]),
        ),
        ("empty files", with(prefix, vec![Entry::stored(format!("{prefix}empty"), b"")])),
        ("a bomb within the limits", with(prefix, vec![bomb(prefix, "zeros", 40 * MIB)])),
    ];
    for (name, zip) in cases {
        let bed = Bed::new();
        let without_go_mod = name == "no go.mod";
        let mut module = Module::new("example.com/odd", "v1.0.0").zip_bytes_are(zip);
        if without_go_mod {
            module = module.without_go_mod();
        }
        if name == "a go.mod at the end" {
            module = module.go_mod_text("module example.com/odd\n");
        }
        bed.origin.publish_without_record(&module);
        let proxy = Proxy::start(&Settings::new(&bed.origin));
        assert_eq!(proxy.get(&module.url_path(".zip")).expect(200).body, module.zip(), "{name}");
        GoClient::new(&proxy.url(), "off").download(&[&module.spec()]).success();
    }
}
