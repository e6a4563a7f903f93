//! A directory as origin, made on disk for each test.

use std::fs;

use super::*;

struct Seed {
    _dir: tempfile::TempDir,
    origin: FileOrigin,
    root: PathBuf,
}

/// A directory that holds `files` (path, content).
fn seed(files: &[(&str, &str)]) -> Seed {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    fs::create_dir(&root).unwrap();
    for (path, content) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    Seed { origin: FileOrigin::new(0, &root, true), root, _dir: dir }
}

fn info(version: &str) -> String {
    format!("{{\"Version\":\"{version}\"}}")
}

fn small(seed: &Seed, path: &str) -> Result<String, FetchError> {
    seed.origin.small(&Request::parse(path).unwrap()).map(|body| String::from_utf8(body.to_vec()).unwrap())
}

#[test]
fn reads_the_layout_of_a_module_cache() {
    let seed = seed(&[
        ("github.com/!azure/a/@v/list", "v1.0.0\n"),
        ("github.com/!azure/a/@v/v1.0.0.info", &info("v1.0.0")),
        ("github.com/!azure/a/@v/v1.0.0.mod", "module github.com/Azure/a\n"),
    ]);
    assert_eq!(small(&seed, "github.com/!azure/a/@v/list").unwrap(), "v1.0.0\n");
    assert_eq!(small(&seed, "github.com/!azure/a/@v/v1.0.0.info").unwrap(), info("v1.0.0"));
    assert_eq!(small(&seed, "github.com/!azure/a/@v/v1.0.0.mod").unwrap(), "module github.com/Azure/a\n");
    for path in
        ["github.com/!azure/a/@v/v1.0.1.info", "github.com/!azure/b/@v/list", "github.com/!azure/b/@latest"]
    {
        assert!(matches!(small(&seed, path), Err(FetchError::NotFound { .. })), "{path}");
    }
}

#[test]
fn a_missing_list_and_latest_are_made_from_the_info_files() {
    let pseudo = [
        "v0.0.0-20190101000000-abcdefabcdef",
        "v0.0.0-20210101000000-abcdefabcdee",
        "v0.1.1-0.20200101000000-abcdefabcded",
    ];
    let files: Vec<(String, String)> =
        pseudo.iter().map(|version| (format!("m.example/p/@v/{version}.info"), info(version))).collect();
    let mut all: Vec<(&str, &str)> =
        files.iter().map(|(path, body)| (path.as_str(), body.as_str())).collect();
    let bodies = [info("v1.2.0"), info("v1.10.0"), info("v2.0.0"), info("v1.11.0-rc.1"), info("main")];
    all.extend([
        ("m.example/a/@v/v1.2.0.info", bodies[0].as_str()),
        ("m.example/a/@v/v1.10.0.info", bodies[1].as_str()),
        ("m.example/a/@v/v2.0.0.info", bodies[2].as_str()),
        ("m.example/a/@v/v1.11.0-rc.1.info", bodies[3].as_str()),
        ("m.example/a/@v/main.info", bodies[4].as_str()),
        ("m.example/a/@v/v1.10.0.lock", ""),
    ]);
    let seed = seed(&all);
    let list = small(&seed, "m.example/a/@v/list").unwrap();
    let mut lines: Vec<&str> = list.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["v1.10.0", "v1.11.0-rc.1", "v1.2.0"], "v2.0.0 does not fit the path");
    assert_eq!(small(&seed, "m.example/a/@latest").unwrap(), info("v1.10.0"));
    assert_eq!(small(&seed, "m.example/p/@latest").unwrap(), info(pseudo[1]), "the newest by time");
}

#[test]
fn nothing_outside_the_directory_is_read() {
    let seed = seed(&[("m.example/a/@v/list", "v1.0.0\n")]);
    let outside = seed.root.parent().unwrap().join("secret");
    fs::write(&outside, info("v1.0.0")).unwrap();
    let versions = seed.root.join("m.example/a/@v");
    std::os::unix::fs::symlink(&outside, versions.join("v1.0.0.info")).unwrap();
    std::os::unix::fs::symlink("list", versions.join("v1.0.0.mod")).unwrap();
    std::os::unix::fs::symlink("../../../../secret", versions.join("v1.1.0.info")).unwrap();
    for path in ["m.example/a/@v/v1.0.0.info", "m.example/a/@v/v1.1.0.info"] {
        let error = small(&seed, path).unwrap_err();
        assert!(error.to_string().contains("leads out"), "{error}");
    }
    assert_eq!(small(&seed, "m.example/a/@v/v1.0.0.mod").unwrap(), "v1.0.0\n", "links within are fine");
    assert!(seed.origin.resolve("../secret", OFlags::RDONLY).is_err());
    assert!(seed.origin.resolve(outside.to_str().unwrap(), OFlags::RDONLY).is_err());
}

#[test]
fn only_regular_files_are_read() {
    let seed = seed(&[("m.example/a/@v/v1.0.0.info/x", "")]);
    let pipe = seed.root.join("m.example/a/@v/v1.1.0.info");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, Mode::RUSR | Mode::WUSR).unwrap();
    for path in ["m.example/a/@v/v1.0.0.info", "m.example/a/@v/v1.1.0.info"] {
        let error = small(&seed, path).unwrap_err();
        assert!(matches!(error, FetchError::Unavailable { why: Unavailability::Directory, .. }), "{error}");
    }
}

#[test]
fn a_missing_directory_is_trouble_and_not_absence() {
    let seed = seed(&[]);
    fs::remove_dir(&seed.root).unwrap();
    let error = small(&seed, "m.example/a/@v/list").unwrap_err();
    assert!(matches!(error, FetchError::Unavailable { .. }), "{error}");
}

#[tokio::test]
async fn zips_are_read_in_parts() {
    let mut content = vec![7; PART_BYTES + 5];
    content[..4].copy_from_slice(b"PK\x03\x04");
    let seed = seed(&[("m.example/a/@v/v1.0.0.zip", ""), ("m.example/a/@v/v1.1.0.zip", "not a zip")]);
    let path = seed.root.join("m.example/a/@v/v1.0.0.zip");
    fs::write(&path, &content).unwrap();
    let version = |text: &str| {
        ModuleVersion::new(ModulePath::parse("m.example/a").unwrap(), Version::parse(text).unwrap()).unwrap()
    };
    let mut zip = seed.origin.zip(&version("v1.0.0")).unwrap();
    assert_eq!(zip.length(), content.len() as u64);
    let mut read = Vec::new();
    while let Some(part) = zip.next().await.unwrap() {
        assert!(part.len() <= PART_BYTES);
        read.extend_from_slice(&part);
    }
    assert_eq!(read, content);

    let mut zip = seed.origin.zip(&version("v1.0.0")).unwrap();
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(PART_BYTES as u64 + 1).unwrap();
    assert!(zip.next().await.unwrap().is_some());
    assert!(matches!(zip.next().await, Err(FetchError::Changed { .. })));

    assert!(matches!(seed.origin.zip(&version("v1.1.0")), Err(FetchError::Malformed { .. })));
    assert!(matches!(seed.origin.zip(&version("v1.2.0")), Err(FetchError::NotFound { .. })));
}

#[test]
fn a_wider_tile_serves_for_a_narrower() {
    let seed = seed(&[
        ("sumdb/sum.example/lookup/m.example/a@v1.0.0", "record"),
        ("sumdb/sum.example/tile/8/0/000.p/7", "seven"),
        ("sumdb/sum.example/tile/8/0/000.p/90", "ninety"),
        ("sumdb/sum.example/tile/8/0/001", "whole"),
        ("sumdb/sum.example/tile/8/0/002", "whole"),
        ("sumdb/sum.example/tile/8/0/002.p/7", "seven"),
    ]);
    assert!(seed.origin.has_sumdb("sum.example") && !seed.origin.has_sumdb("other.example"));
    let get = |path: &str| seed.origin.sumdb("sum.example", path);
    assert_eq!(get("lookup/m.example/a@v1.0.0").unwrap(), "record");
    assert_eq!(get("tile/8/0/000.p/7").unwrap(), "seven");
    assert_eq!(get("tile/8/0/000.p/6").unwrap(), "seven");
    assert_eq!(get("tile/8/0/000.p/8").unwrap(), "ninety");
    assert_eq!(get("tile/8/0/001.p/7").unwrap(), "whole");
    assert_eq!(get("tile/8/0/002.p/8").unwrap(), "whole");
    assert!(matches!(get("tile/8/0/000.p/91"), Err(FetchError::NotFound { .. })));
    assert!(matches!(get("tile/8/0/003.p/7"), Err(FetchError::NotFound { .. })));
    assert!(matches!(get("tile/8/0/000"), Err(FetchError::NotFound { .. })));
    assert!(matches!(get("lookup/m.example/b@v1.0.0"), Err(FetchError::NotFound { .. })));
}

/// A module cache holds answers and no file that would offer the database; with that file it is offered.
#[test]
fn a_directory_offers_a_database_by_a_file() {
    let record = ("sumdb/sum.example/lookup/m.example/a@v1.0.0", "record");
    let cache = seed(&[record]);
    assert!(cache.origin.has_sumdb("sum.example") && !cache.origin.offers_sumdb("sum.example"));
    let offering = seed(&[record, ("sumdb/sum.example/supported", "")]);
    assert!(offering.origin.offers_sumdb("sum.example") && !offering.origin.offers_sumdb("other.example"));
}

#[test]
fn pseudo_times() {
    assert_eq!(pseudo_time("v0.0.0-20190101000000-abcdefabcdef"), "20190101000000");
    assert_eq!(pseudo_time("v1.2.4-0.20190101000000-abcdefabcdef"), "20190101000000");
    assert_eq!(pseudo_time("v2.0.1-pre.0.20190101000000-abcdefabcdef+incompatible"), "20190101000000");
}
