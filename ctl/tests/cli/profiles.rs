//! Where settings come from, as `env` shows it.

use std::os::unix::fs::PermissionsExt;

use crate::bed::{Bed, TOKEN};
use crate::data;

#[test]
fn beside_a_server_nothing_but_its_own_settings_has_to_be_set() {
    let bed = Bed::new();
    data::well(&bed);
    let data_dir = bed.path("share/goproxyd");
    std::fs::create_dir_all(&data_dir).unwrap();
    for file in ["ca.pem", "admin.token"] {
        std::fs::copy(bed.path(file), data_dir.join(file)).unwrap();
    }
    let laptop = |arguments: &[&str]| {
        let mut command = bed.bare(arguments);
        command.env("GOPROXYD_DATA_DIR", &data_dir);
        command
    };
    let server = bed.fake.address.to_string();
    let run = bed.finish(&mut laptop(&["cluster", "status", "--server", &server]));
    assert_eq!(run.code, 0, "{}", run.stderr);
}

#[test]
fn a_profile_sets_what_nobody_else_does() {
    let bed = Bed::new();
    data::well(&bed);
    let server = bed.fake.address.to_string();
    bed.file(
        ".config/goproxyctl/config.toml",
        &format!("default = \"lab\"\n[profiles.lab]\nservers = [\"{server}\"]\nca = \"../../ca.pem\"\ntoken-file = \"../../admin.token\"\n[profiles.live]\nservers = \"live-1\"\n"),
    );
    let run = bed.finish(&mut bed.bare(&["cluster", "status"]));
    assert_eq!(run.code, 0, "{}", run.stderr);
    let shown = bed.finish(&mut bed.bare(&["env", "-o", "yaml"])).transcript();
    let live =
        bed.finish(&mut bed.bare(&["env", "--profile", "live", "-o", "json", "--ca", "x.pem"])).transcript();
    insta::assert_snapshot!(format!("{shown}\n{live}"));
}

#[test]
fn slips_in_profiles_are_found() {
    let bed = Bed::new();
    bed.file(".config/goproxyctl/config.toml", "[profiles.lab]\nserver = \"a\"\n");
    let key = bed.finish(&mut bed.bare(&["env"])).transcript();
    bed.file(".config/goproxyctl/config.toml", "[profiles.lab]\nservers = \"a\"\n");
    let name = bed.finish(&mut bed.bare(&["env", "--profile", "lap"])).transcript();
    insta::assert_snapshot!(format!("{key}\n{name}"));
}

#[test]
fn a_token_that_everybody_can_read_is_refused() {
    let bed = Bed::new();
    data::well(&bed);
    std::fs::set_permissions(bed.path("admin.token"), PermissionsExt::from_mode(0o644)).unwrap();
    insta::assert_snapshot!(bed.run(&["cluster", "status"]).transcript());
    assert!(bed.fake.authorizations().is_empty());
}

#[test]
fn a_token_can_be_in_the_environment() {
    let bed = Bed::new();
    data::well(&bed);
    let mut command = bed.command(&["cluster", "status"]);
    command.env_remove("GOPROXYCTL_TOKEN_FILE").env("GOPROXYCTL_TOKEN", TOKEN);
    assert_eq!(bed.finish(&mut command).code, 0);
    for wrong in ["two words", "tok\u{e9}n"] {
        let mut command = bed.command(&["cluster", "status"]);
        command.env("GOPROXYCTL_TOKEN", wrong);
        let run = bed.finish(&mut command);
        assert_eq!(run.code, 64, "{}", run.stderr);
        assert!(!run.stderr.contains(wrong));
    }
}
