//! `doctor` on a machine where all is well, and where something is not.

use proto::ErrorCode;
use proto::control::v1::*;

use crate::bed::{Bed, authority};
use crate::data;
use crate::fake::Reply;

/// A cluster that is well and whose members are the fakes themselves; its clock is right.
fn well(bed: &Bed) {
    data::well(bed);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let mut status = ClusterStatus { alarms: vec![], nodes: vec![], ..data::status() };
    status.read_time = Some(prost_types::Timestamp { seconds: now.as_secs().try_into().unwrap(), nanos: 0 });
    for member in &mut status.members {
        member.rpc_address = bed.fake.address.to_string();
        env!("CARGO_PKG_VERSION").clone_into(&mut member.version);
    }
    bed.on("ClusterService/GetStatus", &GetStatusResponse { status: Some(status) });
    let end = Some(prost_types::Timestamp { seconds: i64::MAX / 2, nanos: 0 });
    let certificate =
        Certificate { subject: "node data-1".to_owned(), expire_time: end, ..Certificate::default() };
    let status = GetCertificateStatusResponse { authorities: vec![], certificates: vec![certificate] };
    bed.on("CertificateService/GetCertificateStatus", &status);
}

/// Seconds and days go by while tests run.
fn steady(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let line = if line.contains("from the server's") {
            "ok    clock           N s from the server's"
        } else {
            line
        };
        let cut = line.find(", in ").filter(|_| line.ends_with(" days"));
        cut.map_or_else(|| line.to_owned(), |cut| format!("{}, in N days", &line[..cut]))
    });
    lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ") + "\n").collect()
}

#[test]
fn all_is_well() {
    let bed = Bed::new();
    well(&bed);
    insta::assert_snapshot!(steady(&bed.run(&["doctor"]).transcript()));
}

#[test]
fn another_clusters_authority() {
    let bed = Bed::new();
    well(&bed);
    bed.file("other.pem", &authority().0);
    let run = bed.run(&["doctor", "--ca", "other.pem"]);
    insta::assert_snapshot!(steady(&run.transcript()));
}

#[test]
fn nothing_is_set_and_nothing_runs() {
    let bed = Bed::new();
    // A port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let run = bed.finish(&mut bed.bare(&["doctor", "-o", "yaml", "--server", &free.to_string()]));
    assert_eq!(run.code, 64);
    insta::assert_snapshot!(steady(&run.transcript().replace(&free.to_string(), "127.0.0.1:FREE")));
}

#[test]
fn alarms_and_old_versions_warn_and_do_not_fail() {
    let bed = Bed::new();
    well(&bed);
    let mut status = data::status();
    status.read_time = data::at(0);
    status.members.iter_mut().for_each(|member| member.rpc_address = String::new());
    status.members[2].version = "0.0.9".to_owned();
    bed.on("ClusterService/GetStatus", &GetStatusResponse { status: Some(status) });
    let run = bed.run(&["doctor", "-o", "json"]);
    assert_eq!(run.code, 0, "{}", run.stdout);
    let report: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    let checks = report["checks"].as_array().unwrap();
    let warned: Vec<_> = checks
        .iter()
        .filter(|check| check["verdict"] == "warn")
        .map(|check| check["check"].as_str().unwrap())
        .collect();
    assert_eq!(warned, ["clock", "versions", "alarms"]);
    assert_eq!(report["ok"], true);
}

#[test]
fn no_quorum_and_a_token_that_is_not_known() {
    let bed = Bed::new();
    well(&bed);
    let health = GetHealthResponse { health: Health::Down.into(), quorum: false, problems: vec![] };
    bed.on("ClusterService/GetHealth", &health);
    bed.fake
        .on("TokenService/WhoAmI", vec![Reply::refuse(ErrorCode::Unauthenticated, "the token was revoked")]);
    let run = bed.run(&["doctor"]);
    assert_eq!(run.code, 5);
    insta::assert_snapshot!(steady(&run.transcript()));
}
