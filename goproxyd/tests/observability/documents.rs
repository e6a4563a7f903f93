//! The page on metrics against the server, and what is made of metrics against the page.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::bed::{MOD, Server};

/// A row of the page.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    kind: String,
    labels: BTreeSet<String>,
}

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    fs::read_to_string(root.join(path)).unwrap()
}

/// The rows of the page's tables of metrics, by name as it stands in queries.
fn documented() -> BTreeMap<String, Row> {
    let page = read("docs/metrics.md");
    let mut rows = BTreeMap::new();
    for line in page.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let quoted = |cell: &str| -> BTreeSet<String> {
            cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
        };
        let name = quoted(cells[1]).pop_first().unwrap();
        assert!(!cells[4].is_empty(), "{name} has no meaning");
        let row = Row { kind: cells[2].to_owned(), labels: quoted(cells[3]) };
        assert_eq!(rows.insert(name.clone(), row), None, "{name} is there twice");
    }
    rows
}

/// What a scrape exposes in the same form. A family without a sample has no labels to compare.
fn exposed(scrape: &str) -> BTreeMap<String, (String, Option<BTreeSet<String>>)> {
    let mut found = BTreeMap::new();
    let mut current = (String::new(), String::new());
    for line in scrape.lines() {
        if let Some(declared) = line.strip_prefix("# TYPE ") {
            let (name, kind) = declared.split_once(' ').unwrap();
            let suffix = match kind {
                "counter" => "_total",
                "info" => "_info",
                _ => "",
            };
            current = (format!("{name}{suffix}"), kind.to_owned());
            found.insert(current.0.clone(), (kind.to_owned(), None));
        } else if !line.starts_with('#') {
            let labels = line.split_once('{').map_or("", |(_, rest)| rest.split_once('}').unwrap().0);
            let labels = labels.split(',').filter_map(|label| label.split_once('='));
            let labels = labels.map(|(name, _)| name.to_owned()).filter(|name| name != "le").collect();
            found.insert(current.0.clone(), (current.1.clone(), Some(labels)));
        }
    }
    found
}

#[test]
fn the_page_has_name_type_and_labels_of_every_metric() {
    // Origins that nothing is asked of have their series all the same; the checksum database's come with a request.
    let closed = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    let sumdb = format!("--sumdb=sum.golang.org http://{closed}");
    let server = Server::start_before(&format!(",http://{closed}"), &[&sumdb, "--sumdb-unavailable=serve"]);
    server.get(MOD, "");
    let there = exposed(&server.scrape());
    let page = documented();
    for (name, (kind, labels)) in &there {
        let row = page.get(name).unwrap_or_else(|| panic!("{name} is not in docs/metrics.md"));
        assert_eq!(&row.kind, kind, "{name}");
        if let Some(labels) = labels {
            assert_eq!(&row.labels, labels, "{name}");
        }
    }
    let stale: Vec<_> = page.keys().filter(|name| !there.contains_key(*name)).collect();
    assert!(stale.is_empty(), "in docs/metrics.md, but not there: {stale:?}");
}

#[test]
fn names_follow_the_pattern() {
    for (name, row) in documented() {
        let ours = name.strip_prefix("goproxy_").or_else(|| name.strip_prefix("process_"));
        let ours = ours.unwrap_or_else(|| panic!("{name} has another prefix"));
        let plain = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase());
        assert!(ours.split('_').all(plain), "{name}");
        assert_eq!(row.kind == "counter", name.ends_with("_total"), "{name}");
        assert!(
            !row.labels.iter().any(|label| ["module", "path", "version"].contains(&label.as_str()))
                || row.kind == "info",
            "{name} is labelled with what clients choose"
        );
    }
}

/// Words of `text` that are names of metrics of ours.
fn names_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|character: char| !character.is_ascii_alphanumeric() && !"_:".contains(character));
    let words = words.filter(|word| word.starts_with("goproxy_") || word.starts_with("process_"));
    words.map(str::to_owned).collect()
}

#[test]
fn rules_and_dashboard_use_metrics_that_there_are() {
    let page = documented();
    let known = |name: &str| {
        let histogram = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
        page.contains_key(name)
            || histogram.and_then(|name| page.get(name)).is_some_and(|row| row.kind == "histogram")
    };
    for file in ["rules.yml", "rules_test.yml", "grafana-dashboard.json"] {
        let names = names_in(&read(&format!("deploy/observability/{file}")));
        assert!(names.len() > 3, "{file}");
        let unknown: Vec<_> = names.iter().filter(|name| !known(name)).collect();
        assert!(unknown.is_empty(), "{file} uses {unknown:?}, which docs/metrics.md does not have");
    }
}

#[test]
fn every_alert_is_explained_and_every_metric_is_on_the_dashboard() {
    let (page, rules) = (read("docs/metrics.md"), read("deploy/observability/rules.yml"));
    let alerts: Vec<_> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    let explained: Vec<_> =
        page.lines().filter_map(|line| line.strip_prefix("| Goproxy")?.split(' ').next()).collect();
    let explained: Vec<_> = explained.iter().map(|name| format!("Goproxy{name}")).collect();
    assert_eq!(alerts, explained, "docs/metrics.md explains the alerts in the order of rules.yml");

    let dashboard = read("deploy/observability/grafana-dashboard.json");
    let _: serde_json::Value = serde_json::from_str(&dashboard).unwrap();
    let unseen: Vec<_> = documented().into_keys().filter(|name| !dashboard.contains(name.as_str())).collect();
    assert_eq!(unseen, Vec::<String>::new(), "metrics that the dashboard does not show");
}
