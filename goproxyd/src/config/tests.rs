//! Every setting through every layer, and everything that can be wrong with a file.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::args::{self, Action};

/// Two more values, besides each other, for every kind of setting. A setting of a new kind needs a row here.
const SAMPLES: [(&str, [&str; 3]); 19] = [
    ("ADDRS", ["127.0.0.1:7001", "127.0.0.1:7002", "127.0.0.1:7003"]),
    ("BOOL", ["true", "false", "true"]),
    ("CHOICE", ["", "", ""]), // its own possible values
    ("COUNT", ["11", "12", "13"]),
    ("DIR", ["/a", "/b", "/c"]),
    ("DURATION", ["1d", "48h", "3d"]), // not all take parts of a day
    ("FILE", ["/a.pem", "/b.pem", "/c.pem"]),
    ("FORMAT", ["", "", ""]),
    ("GLOBS", ["a.example/*", "b.example,c.example", "d.example"]),
    ("HOST:PORT", ["a.example:1", "10.0.0.1:2", "[::1]:3"]),
    ("HOSTS", ["a.example:1", "a.example:1,b.example:2", "[::1]:3"]),
    ("LEVEL", ["warn", "debug", "info,common=trace"]),
    ("LIST", ["https://a.example", "https://b.example", "off"]),
    ("NAME", ["a", "b", "c"]),
    ("POLICY", ["", "", ""]),
    ("RATIO", ["0.1", "0.2", "1"]),
    ("SIZE", ["100MiB", "200MiB", "300MiB"]),
    ("SUMDB", ["off", "sum.golang.org", "sum.golang.google.cn"]),
    ("URL", ["http://a.example:1", "http://b.example:1", "http://c.example:1"]),
];

/// Settings that the rules over several settings refuse in part; they are tested on their own below.
const NOT_ALONE: [&str; 6] = ["config", "tls-cert", "tls-key", "tls-client-ca", "hsts-max-age", "join-token"];

fn samples(argument: &clap::Arg) -> [String; 3] {
    let choices = argument.get_possible_values();
    let kind = argument.get_value_names().unwrap()[0].as_str();
    if !choices.is_empty() && kind != "BOOL" {
        return [0, 1, 2].map(|at| choices[at % choices.len()].get_name().to_owned());
    }
    let samples = SAMPLES.iter().find(|(name, _)| *name == kind);
    samples.unwrap_or_else(|| panic!("no samples for values of kind {kind}")).1.map(str::to_owned)
}

fn load_with(arguments: &[String], around: &Surroundings) -> Result<Loaded, String> {
    let arguments = std::iter::once("goproxyd".to_owned()).chain(arguments.iter().cloned());
    match args::parse(arguments.map(OsString::from), around) {
        Action::Serve { loaded, .. } => Ok(*loaded),
        Action::Fork { .. } | Action::Recover { .. } => Err("another command".to_owned()),
        Action::Print(text) | Action::Refuse(text) => Err(text),
    }
}

fn environment(variables: &[(String, String)]) -> Surroundings {
    let variables: BTreeMap<_, _> =
        variables.iter().map(|(name, value)| (name.clone(), OsString::from(value))).collect();
    Surroundings { variables, ..Surroundings::of_tests() }
}

/// A file with these lines, readable by its owner alone.
fn file(text: &str) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("goproxyd.toml");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    (dir, path.to_str().unwrap().to_owned())
}

#[test]
fn every_setting_is_taken_from_the_flag_before_the_environment_before_the_file() {
    let command = settings_command();
    for (key, argument) in layers::keys(&command).filter(|(key, _)| !NOT_ALONE.contains(key)) {
        let [in_file, in_environment, in_flag] = samples(argument);
        let (_dir, path) = file(&format!("{key} = {in_file:?}\n"));
        let config = format!("--config={path}");
        let variable = (variable(key), in_environment.clone());
        let flag = format!("--{key}={in_flag}");
        let nothing = environment(&[]);
        let set = environment(std::slice::from_ref(&variable));

        for (arguments, around, text, source) in [
            (vec![config.clone()], &nothing, &in_file, Source::File { line: 1 }),
            (vec![config.clone()], &set, &in_environment, Source::Variable(variable.0.clone())),
            (vec![config, flag], &set, &in_flag, Source::Flag),
        ] {
            let loaded = load_with(&arguments, around).unwrap_or_else(|error| panic!("{key}: {error}"));
            assert_eq!(loaded.layers.text(key).unwrap().to_str(), Some(text.as_str()), "{key}");
            assert_eq!(loaded.layers.source(key), Some(&source), "{key}");
        }
    }
}

#[test]
fn the_winning_text_is_what_the_settings_hold() {
    let (_dir, path) = file(
        "cache-size = \"1GiB\"\nlist-ttl = \"5m\"\nmax-fetches = 7\nprivate = [\"a.example\", \"b.example/*\"]\n",
    );
    let around = environment(&[
        ("GOPROXYD_CONFIG".to_owned(), path),
        ("GOPROXYD_LIST_TTL".to_owned(), "7m".to_owned()),
    ]);
    let settings = load_with(&["--max-fetches=9".to_owned()], &around).unwrap().settings;
    assert_eq!(settings.cache_size.bytes(), 1 << 30);
    assert_eq!(settings.list_ttl.as_secs(), 7 * 60);
    assert_eq!(settings.max_fetches, 9);
    assert_eq!(settings.private.to_string(), "a.example,b.example/*");
    assert_eq!(settings.no_sumdb, settings.private, "not given, so it follows");
    assert!(!settings.offline);
    assert_eq!((settings.name.as_str(), settings.worker_threads), ("host-1", 4));
}

#[test]
fn settings_that_follow_from_others_can_be_given_all_the_same() {
    let given = ["--private=a.example", "--no-sumdb=", "--tls-cert=c", "--tls-key=k"].map(str::to_owned);
    let settings = load_with(&given, &environment(&[])).unwrap().settings;
    assert!(settings.no_sumdb.is_empty());
    assert_eq!(settings.hsts_max_age.as_secs(), 365 * 24 * 3600);
    let given = ["--tls-cert=c", "--tls-key=k", "--hsts-max-age=0"].map(str::to_owned);
    assert!(load_with(&given, &environment(&[])).unwrap().settings.hsts_max_age.is_zero());
    assert!(load_with(&[], &environment(&[])).unwrap().settings.hsts_max_age.is_zero());
}

#[test]
fn a_host_may_be_called_as_no_node_can_be() {
    let around = Surroundings { host_name: "build_01".to_owned(), ..Surroundings::of_tests() };
    assert_eq!(load_with(&[], &around).unwrap().settings.name, "build_01");
    let refused = load_with(&["--name=build_01".to_owned()], &around).unwrap_err();
    assert!(refused.starts_with("error: --name: character '_' is not allowed in a name"), "{refused}");
    let (_dir, path) = file("zone = \"z\"\n");
    check(Path::new(&path), &around).unwrap();
}

#[test]
fn a_file_is_refused_for_what_the_start_would_not_take() {
    for (text, said) in [
        ("name = \"build_01\"\n", ":1: name: character '_' is not allowed"),
        ("zone = \"Rack 1\"\n", ":1: zone: \"Rack 1\": character 'R' is not allowed"),
        ("datacenter = \"-\"\n", ":1: datacenter: \"-\": name begins or ends with a dash"),
        ("\nrpc-listen = [\"127.0.0.1:1\", \"127.0.0.1:2\"]\n", ":2: rpc-listen: takes one address"),
        ("listen = \":8082\"\n", "--admin-listen: 127.0.0.1:8082 is taken by --listen at [::]:8082"),
        ("listen = \"127.0.0.1:8083\"\n", "--rpc-listen: 127.0.0.1:8083 is taken by --listen"),
        ("listen = [\"[::]:1\", \"0.0.0.0:1\"]\n", ":1: listen: 0.0.0.0:1 is taken by --listen at [::]:1"),
        ("handoff-rate = 0\n", ":1: handoff-rate: \"0\": with 0 nothing would ever be copied"),
        ("retain-accessed = \"36h\"\n", ":1: retain-accessed: \"36h\": it is counted in whole days"),
        ("retain-accessed = \"999999999d\"\n", ":1: retain-accessed: \"999999999d\": at most 36500d"),
    ] {
        let (_dir, path) = file(text);
        let problems = check(Path::new(&path), &environment(&[])).unwrap_err().to_string();
        assert!(problems.contains(said), "{text}{problems}");
    }
}

#[test]
fn a_switch_needs_no_value() {
    let settings = load_with(&["--offline".to_owned()], &environment(&[])).unwrap().settings;
    assert!(settings.offline);
    let around = environment(&[("GOPROXYD_OFFLINE".to_owned(), "1".to_owned())]);
    assert!(load_with(&[], &around).unwrap().settings.offline);
    assert!(!load_with(&["--offline=false".to_owned()], &around).unwrap().settings.offline);
}

#[test]
fn an_empty_text_means_not_set() {
    let (_dir, path) = file("zone = \"from-file\"\ntls-cert = \"\"\n");
    let around = environment(&[("GOPROXYD_CONFIG".to_owned(), path)]);
    let settings = load_with(&[], &around).unwrap().settings;
    assert_eq!((settings.zone.as_str(), settings.tls_cert), ("from-file", None));
}

#[test]
fn everything_wrong_with_a_file_is_said_at_once_by_line_and_key() {
    let (dir, path) = file(
        "cache_size = \"1GiB\"\nzzz = 1\n\n# a comment\nmemory = \"50GB\"\nlist-ttl = 30\neviction = \"fifo\"\n\
         private = \"a b\"\npin = [1]\nmax-fetches = 0\nlisten = [\"x:1\"]\noffline = \"maybe\"\nconfig = \"other\"\n\
         upstream = [\"https://a\"]\n[storage]\nmemory = 1\n",
    );
    let text = load_with(&[format!("--config={path}")], &environment(&[])).unwrap_err();
    insta::assert_snapshot!(text.replace(dir.path().to_str().unwrap(), "DIR"));
}

#[test]
fn a_file_that_is_no_toml_or_is_not_there_is_said_so() {
    let (dir, path) = file("zone = \n= 3\nname = \"a\"\nname = \"b\"\n");
    let mut text = load_with(&[format!("--config={path}")], &environment(&[])).unwrap_err();
    text += &load_with(&["--config=/nowhere/at/all".to_owned()], &environment(&[])).unwrap_err();
    insta::assert_snapshot!(text.replace(dir.path().to_str().unwrap(), "DIR"));
}

#[test]
fn rules_over_several_settings_name_where_the_setting_stands() {
    let (dir, path) = file("\ntls-cert = \"c.pem\"\n");
    let around = environment(&[("GOPROXYD_MEMORY".to_owned(), "1KiB".to_owned())]);
    let text = load_with(&[format!("--config={path}"), "--cache-size=1000".to_owned()], &around).unwrap_err();
    insta::assert_snapshot!(text.replace(dir.path().to_str().unwrap(), "DIR"));
}

#[test]
fn a_bad_variable_is_named_and_an_unknown_one_is_only_a_warning() {
    let around = environment(&[
        ("GOPROXYD_CACHE_SIZE".to_owned(), "lots".to_owned()),
        ("GOPROXYD_EVICTION".to_owned(), "mru".to_owned()),
    ]);
    insta::assert_snapshot!(load_with(&[], &around).unwrap_err(), @r#"
    error: GOPROXYD_CACHE_SIZE: "lots": a size is a whole number and a unit, such as 256MiB or 50GiB
    error: GOPROXYD_EVICTION: "mru": use one of: s3-fifo, lru
    "#);
    let around = environment(&[
        ("GOPROXYD_CACHE_SZE".to_owned(), "1GiB".to_owned()),
        ("GOPROXYD_SERVICE_HOST".to_owned(), "10.0.0.1".to_owned()),
    ]);
    let arguments = ["--admin-listen=:9".to_owned(), "--upstream=https://proxy.example,direct".to_owned()];
    let warnings = load_with(&arguments, &around).unwrap().warnings;
    insta::assert_snapshot!(warnings.join("\n"), @"
    environment variable GOPROXYD_CACHE_SZE is no setting, did you mean GOPROXYD_CACHE_SIZE?
    environment variable GOPROXYD_SERVICE_HOST is no setting
    direct in upstream finds nothing: version control is not asked in this version
    admin endpoints on [::]:9 ask for no credentials and others can reach them
    ");
}

#[test]
fn a_file_with_a_password_must_not_be_readable_by_everybody() {
    let (_dir, path) = file("upstream = \"https://user:hunter2@proxy.example\"\n");
    let arguments = [format!("--config={path}")];
    let loaded = load_with(&arguments, &environment(&[])).unwrap();
    assert!(!show(&loaded).contains("hunter2"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let text = load_with(&arguments, &environment(&[])).unwrap_err();
    assert!(text.contains("readable by everybody (mode 0644), run: chmod o="), "{text}");
    assert!(!text.contains("hunter2"));
}

#[test]
fn the_example_names_every_setting_and_passes_its_own_check() {
    let around = environment(&[]);
    let text = example(&around);
    insta::assert_snapshot!(text);
    let uncommented: String = text
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if !rest.starts_with(' ') => format!("{rest}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let command = settings_command();
    for (key, argument) in layers::keys(&command).filter(|(key, _)| *key != "config") {
        let shown = uncommented.lines().any(|line| line.starts_with(&format!("{key} = ")));
        assert_eq!(shown, !argument.is_hide_set(), "{key}");
    }
    let (_dir, path) = file(&uncommented);
    check(Path::new(&path), &around).unwrap();
    let defaults = load_with(&[], &around).unwrap();
    let from_file = load_with(&[format!("--config={path}")], &around).unwrap();
    let mut settings = from_file.settings;
    settings.config = None;
    assert_eq!(format!("{settings:?}"), format!("{:?}", defaults.settings));
}

#[test]
fn what_is_in_force_is_shown_with_its_source() {
    let (_dir, path) = file("list-ttl = \"5m\"\n");
    let around = environment(&[("GOPROXYD_ZONE".to_owned(), "z1".to_owned())]);
    let loaded = load_with(&[format!("--config={path}"), "--private=a.example".to_owned()], &around).unwrap();
    insta::assert_snapshot!(show(&loaded));
}
