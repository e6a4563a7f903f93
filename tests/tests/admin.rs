//! What an operator sees: metrics and their documentation, health, version, configuration, logs.

use std::collections::BTreeSet;

use tests::program::run_goproxyd;
use tests::raw_http::Connection;
use tests::{Bed, Fault, Gate, Proxy, Settings};

/// Metric families that a scrape declares.
fn declared(scrape: &str) -> BTreeSet<String> {
    let types = scrape.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types.map(|line| line.split(' ').next().unwrap().to_owned()).collect()
}

/// Metric families that `docs/metrics.md` names: every `goproxy_…` word in back-ticks, less suffixes of samples.
fn documented() -> BTreeSet<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");
    let text = std::fs::read_to_string(path).expect("docs/metrics.md lists the metrics");
    let names =
        text.split('`').skip(1).step_by(2).filter(|word| word.starts_with("goproxy_") && !word.contains('<'));
    names.map(|word| word.split('{').next().unwrap().to_owned()).collect()
}

fn family(name: &str) -> String {
    let suffixes = ["_total", "_bucket", "_sum", "_count", "_info"];
    suffixes.iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name).to_owned()
}

/// A server that has seen hits, misses, errors and refusals.
fn busy() -> (Bed, Proxy) {
    let bed = Bed::new();
    let module = bed.large_module("example.com/busy");
    bed.origin.fault("/example.com/bad/@v/list", [Fault::Status(500)]);
    let proxy = Proxy::start(&bed.settings().allow_all());
    bed.client(&proxy).download(&[&module.spec()]).success();
    bed.client(&proxy).download(&[&module.spec()]).success();
    for path in ["/example.com/bad/@v/list", "/example.com/none/@v/list", "/nonsense"] {
        proxy.get(path);
    }
    (bed, proxy)
}

/// Marks a line of the access log.
const ACCESS: &str = r#""target":"access""#;

#[test]
fn the_scrape_is_well_formed_and_names_no_module() {
    let (_bed, proxy) = busy();
    let answer = proxy.admin_get("/metrics").expect(200);
    let kind = answer.expect_header("content-type");
    assert!(kind.starts_with("text/plain") || kind.starts_with("application/openmetrics-text"), "{kind}");
    let text = answer.text();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(name.starts_with("goproxy_") || name.starts_with("process_"), "{line}");
        assert!(value.parse::<f64>().is_ok(), "{line}");
    }
    assert!(!text.contains("example.com"), "a module path in a metric");
    let declared: BTreeSet<String> = declared(&text).iter().map(|name| family(name)).collect();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let name = line.split(['{', ' ']).next().unwrap();
        assert!(declared.contains(&family(name)), "{name} has no TYPE");
    }
}

#[test]
fn the_documentation_lists_the_metrics_that_there_are() {
    let (_bed, proxy) = busy();
    let scrape = proxy.admin_get("/metrics").expect(200).text();
    let there: BTreeSet<String> = declared(&scrape)
        .iter()
        .filter(|name| name.starts_with("goproxy_"))
        .map(|name| family(name))
        .collect();
    let documented: BTreeSet<String> = documented().iter().map(|name| family(name)).collect();
    let missing: Vec<_> = there.difference(&documented).collect();
    let stale: Vec<_> = documented.difference(&there).collect();
    assert!(missing.is_empty() && stale.is_empty(), "not documented: {missing:?}; not there: {stale:?}");
}

#[test]
fn counters_count() {
    let (_bed, proxy) = busy();
    let text = proxy.admin_get("/metrics").expect(200).text();
    let moved = |part: &str| {
        text.lines().any(|line| {
            !line.starts_with('#')
                && line.contains(part)
                && line.rsplit_once(' ').is_some_and(|(_, value)| value != "0")
        })
    };
    for part in ["cache=\"hit\"", "cache=\"miss\""] {
        assert!(moved(part), "no sample {part} has moved:\n{text}");
    }
}

#[test]
fn version_and_health_are_told() {
    let (_bed, proxy) = busy();
    let version = proxy.admin_get("/version").expect(200).text();
    assert!(version.contains(env!("CARGO_PKG_VERSION")), "{version}");
    proxy.admin_get("/healthz").expect(200);
    proxy.admin_get("/readyz").expect(200);
    assert_eq!(proxy.admin_get("/nothing").status, 404);
    assert_eq!(
        proxy.admin_get("/example.com/busy/@v/list").status,
        404,
        "modules are not for the admin port"
    );
}

/// Words of a text that are names of metrics.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    words
        .filter(|word| word.starts_with("goproxy_") || word.starts_with("process_"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_console_runs_only_what_it_came_with_and_knows_the_metrics_that_there_are() {
    let (_bed, proxy) = busy();
    let page = proxy.admin_get("/").expect(200);
    assert_eq!(page.expect_header("content-type"), "text/html; charset=utf-8");
    let policy = page.expect_header("content-security-policy");
    for part in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"] {
        assert!(policy.contains(part), "{policy}");
    }
    let page = page.text();
    assert!(!page.contains("://"), "it asks no other host");
    for file in ["console.css", "console.js"] {
        assert!(page.contains(file), "{page}");
    }
    proxy.admin_get("/console.css").expect(200);
    let script = proxy.admin_get("/console.js").expect(200);
    assert_eq!(script.expect_header("content-type"), "text/javascript; charset=utf-8");
    assert_eq!(script.expect_header("x-content-type-options"), "nosniff");
    let script = script.text();
    for part in script.split('"').filter(|part| part.starts_with("./")) {
        proxy.admin_get(&part[1..]).expect(200);
    }
    let scrape = proxy.admin_get("/metrics").expect(200).text();
    let there: BTreeSet<String> = declared(&scrape).iter().map(|name| family(name)).collect();
    let named = metrics_in(&script);
    assert!(named.len() > 20, "{named:?}");
    let missing: Vec<_> = named.iter().filter(|name| !there.contains(&family(name))).collect();
    assert!(missing.is_empty(), "no such metrics: {missing:?}");
}

#[test]
fn what_is_under_way_and_what_is_set_can_be_looked_at() {
    let bed = Bed::new();
    let module = bed.module("example.com/slow", "v1.0.0");
    let list = "/example.com/slow/@v/list";
    let gate = Gate::new();
    bed.origin.fault(list, [Fault::HoldHead(gate.clone())]);
    let upstream = format!("{},https://me:sesame@127.0.0.1:1", bed.origin.url());
    let settings = Settings::upstream(&upstream).flag("--sumdb", "off").flag("--list-ttl", "7s");
    let proxy = Proxy::start(&settings);
    let index = proxy.admin_get("/debug/").expect(200).text();
    let pages: Vec<_> = index.lines().filter_map(|line| line.split_whitespace().next()).collect();
    for page in &pages {
        assert!(!proxy.admin_get(page).expect(200).text().is_empty(), "{page}");
    }
    for page in ["fetches", "memory", "store", "settings", "tasks"] {
        assert!(pages.contains(&format!("/debug/{page}").as_str()), "{index}");
    }
    assert_eq!(proxy.admin_get("/debug/none").status, 404);
    let settings = proxy.admin_get("/debug/settings").expect(200).text();
    assert!(settings.contains("list-ttl = \"7s\" # flag"), "{settings}");
    assert!(settings.contains("upstream is set") && !settings.contains("sesame"), "{settings}");
    let mut asking = Connection::open(proxy.address(), None).unwrap();
    asking.send(format!("GET {list} HTTP/1.1\r\nhost: proxy\r\n\r\n").as_bytes()).unwrap();
    tests::process::eventually("the fetch is shown", || {
        let text = proxy.admin_get("/debug/fetches").expect(200).text();
        (text.contains(" fetch  example.com/slow/@v/list") && !text.contains(&module.url_path(".mod")))
            .then_some(())
    });
    gate.open();
}

#[test]
fn version_is_printed() {
    let output = run_goproxyd(&["--version"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success());
    for part in [env!("CARGO_PKG_VERSION"), "RocksDB", "rustc"] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn the_example_is_a_valid_file_and_mistakes_are_named_by_line_and_key() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("goproxyd.toml");
    let check = |text: &str| {
        std::fs::write(&file, text).unwrap();
        let output = run_goproxyd(&["config", "check", &file.to_string_lossy()]);
        let said =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.code(), said)
    };
    let example = run_goproxyd(&["config", "example"]);
    assert!(example.status.success());
    let example = String::from_utf8_lossy(&example.stdout).into_owned();
    for setting in ["data-dir", "listen", "upstream", "sumdb", "cache-size", "drain-timeout"] {
        assert!(example.contains(setting), "no {setting} in the example");
    }
    assert_eq!(check(&example).0, Some(0));
    // With every line that is commented out in force.
    let (code, said) = check("cache-size = \"1GiB\"\n\ncache-sze = \"1GiB\"\noffline = \"perhaps\"\n");
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains('3') && said.contains("cache-sze") && said.contains("cache-size"), "{said}");
    assert!(said.contains('4') && said.contains("offline"), "all mistakes at once: {said}");
    assert_eq!(check("listen = [\n").0, Some(2));
}

#[test]
fn a_flag_wins_over_the_environment_and_that_over_the_file() {
    let bed = Bed::new();
    let module = bed.module("example.com/layers", "v1.0.0");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("goproxyd.toml");
    std::fs::write(&file, format!("upstream = \"{}\"\nsumdb = \"off\"\n", bed.origin.url())).unwrap();
    let config = file.to_string_lossy().into_owned();
    let status =
        |settings: Settings| Proxy::start(&settings.allow_all()).get(&module.url_path(".mod")).status;
    assert_eq!(status(Settings::default().flag("--config", &config)), 200);
    assert_eq!(status(Settings::default().env("GOPROXYD_CONFIG", &config)), 200);
    let off = Settings::default().flag("--config", &config).env("GOPROXYD_UPSTREAM", "off");
    assert_ne!(status(off.clone()), 200);
    assert_eq!(status(off.flag("--upstream", &bed.origin.url())), 200);
}

#[test]
fn log_lines_are_json_with_the_name_of_the_request() {
    let bed = Bed::new();
    let module = bed.module("example.com/logged", "v1.0.0");
    let proxy = Proxy::start(&bed.settings().flag("--access-log", "all"));
    let answer =
        proxy.call("GET", &module.url_path(".mod")).header("X-Request-Id", "abc-123").send().expect(200);
    let name = answer.expect_header("x-request-id").to_owned();
    let line = tests::process::eventually("the request is logged", || {
        proxy.log().lines().find(|line| line.contains(&name)).map(str::to_owned)
    });
    let entry: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert!(entry["level"].is_string() && entry["timestamp"].is_string(), "{line}");
    let odd = proxy.call("GET", &module.url_path(".mod")).header("X-Request-Id", "a b\"c").send().expect(200);
    assert_ne!(odd.expect_header("x-request-id"), "a b\"c");
    for line in proxy.log().lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
}

#[test]
fn the_access_log_has_what_its_setting_says() {
    let bed = Bed::new();
    let module = bed.module("example.com/lines", "v1.0.0");
    let path = module.url_path(".mod");
    for (setting, logged) in
        [("off", [false; 5]), ("misses", [true, false, true, true, false]), ("all", [true; 5])]
    {
        let proxy = Proxy::start(&bed.settings().flag("--access-log", setting));
        let calls = [
            proxy.call("GET", &path),
            proxy.call("GET", &path),
            proxy.call("POST", &path),
            proxy.call("HEAD", "/example.com/lines/@v/v9.9.9.mod"),
            proxy.call("GET", "/healthz"),
        ];
        for (number, call) in calls.into_iter().enumerate() {
            call.header("X-Request-Id", &format!("call-{number}")).send();
        }
        proxy.call("POST", "/last").header("X-Request-Id", "call-last").send();
        if setting != "off" {
            tests::process::eventually("the last is logged", || {
                proxy.log().contains("call-last").then_some(())
            });
        }
        let log = proxy.log();
        for (number, logged) in logged.into_iter().enumerate() {
            let name = format!("call-{number}");
            let line = log.lines().find(|line| line.contains(&name) && line.contains(ACCESS));
            assert_eq!(line.is_some(), logged, "{setting} {number}: {line:?}");
        }
        let has = |text: &str| log.lines().any(|line| line.contains(ACCESS) && line.contains(text));
        assert_eq!(has(&path) && has("POST") && has("HEAD"), setting != "off");
    }
}

#[test]
fn addresses_are_logged_once_bound() {
    let bed = Bed::new();
    let proxy = bed.proxy();
    for address in [proxy.address(), proxy.admin()] {
        let address = address.to_string();
        tests::process::eventually(&format!("{address} is in the log"), || {
            proxy.log().contains(&address).then_some(())
        });
    }
}
