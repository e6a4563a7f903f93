//! What the cluster says of itself: quorum, who we are to it, clocks, members, versions, alarms, certificates.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use proto::Named as _;
use proto::control::v1::certificate_service_client::CertificateServiceClient;
use proto::control::v1::cluster_service_client::ClusterServiceClient;
use proto::control::v1::token_service_client::TokenServiceClient;
use proto::control::v1::{
    ClusterStatus, GetCertificateStatusRequest, GetCertificateStatusResponse, GetHealthRequest,
    GetStatusRequest, Health, MemberRole, WhoAmIRequest,
};

use super::{Check, SOON};
use crate::build::VERSION;
use crate::commands::{Context, rpc};
use crate::dial;
use crate::exit::Exit;
use crate::server::Server;

/// Clocks that differ by more make certificates and tokens end at surprising times.
const CLOCK_DIFFERENCE_MAX: Duration = Duration::from_secs(5);

pub(super) async fn checks(context: &Context) -> Vec<Check> {
    let mut checks = Vec::new();
    match context.read(GetHealthRequest {}, rpc!(ClusterServiceClient::get_health)).await {
        Err(failure) => checks.push(Check::failed("quorum", &failure)),
        Ok(health) if !health.quorum => {
            let hint = "start the members that are down; a lost majority is in docs/operations";
            checks.push(Check::fail("quorum", "no leader has a majority", hint, Exit::Unhealthy));
        }
        Ok(health) if health.health() != Health::Ok => {
            let message = if health.problems.is_empty() {
                health.health().short_name()
            } else {
                health.problems.join("; ")
            };
            checks.push(Check::warn("quorum", message, "`goproxyctl cluster status` shows more"));
        }
        Ok(_) => checks.push(Check::ok("quorum", "there is a leader with a majority")),
    }
    match context.read(WhoAmIRequest {}, rpc!(TokenServiceClient::who_am_i)).await {
        // Without it nothing else is told.
        Err(failure) => {
            checks.push(Check::failed("identity", &failure));
            return checks;
        }
        Ok(who) => {
            let role = who.role().short_name();
            checks.push(Check::ok("identity", format!("{} {}, role {role}", who.kind, who.name)));
        }
    }
    let began = Instant::now();
    match context.read(GetStatusRequest {}, rpc!(ClusterServiceClient::get_status)).await {
        Err(failure) => checks.push(Check::failed("status", &failure)),
        Ok(response) => {
            let took = began.elapsed();
            let status = response.status.unwrap_or_default();
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            checks.push(clock(&status, now, took));
            for member in status.members.iter().filter(|member| !member.rpc_address.is_empty()) {
                checks.push(reach(context, &member.name, &member.rpc_address).await);
            }
            checks.push(versions(&status));
            checks.push(alarms(&status));
        }
    }
    match context
        .read(GetCertificateStatusRequest {}, rpc!(CertificateServiceClient::get_certificate_status))
        .await
    {
        Err(failure) => checks.push(Check::failed("certificates", &failure)),
        Ok(status) => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            checks.push(certificates(&status, now));
        }
    }
    checks
}

/// Compares clocks. What the call took is how far off the comparison may be.
fn clock(status: &ClusterStatus, now: Duration, took: Duration) -> Check {
    let Some(read) = status.read_time.and_then(|time| {
        Some(Duration::new(u64::try_from(time.seconds).ok()?, u32::try_from(time.nanos).ok()?))
    }) else {
        return Check::warn("clock", "the server did not say its time", "");
    };
    let apart = now.abs_diff(read);
    let shown = format!("{:.1} s from the server's", apart.as_secs_f64());
    if apart > CLOCK_DIFFERENCE_MAX + took {
        return Check::warn("clock", shown, "set both clocks by NTP: certificates and tokens end by them");
    }
    Check::ok("clock", shown)
}

async fn reach(context: &Context, name: &str, address: &str) -> Check {
    let check = format!("member {name}");
    let Ok(server) = address.parse::<Server>() else {
        return Check::warn(check, format!("`{address}` is no address"), "");
    };
    let trust = match context.client() {
        Ok(client) => Arc::clone(client.trust()),
        Err(failure) => return Check::failed(check, &failure),
    };
    match dial::dial(&server, trust).await {
        Ok(_) => Check::ok(check, format!("{server} can be reached from here")),
        Err(error) => {
            let hint =
                "calls go through other members meanwhile; is its process down, or a firewall in between?";
            Check::warn(check, format!("{server}: {}", error.chain()), hint)
        }
    }
}

/// Whether all that run are of one build, and of this release.
fn versions(status: &ClusterStatus) -> Check {
    let joined = status.members.iter().filter(|member| member.role() != MemberRole::Staged);
    let members = joined.map(|member| (member.version.as_str(), member.name.as_str()));
    let nodes = status.nodes.iter().map(|node| (node.version.as_str(), node.name.as_str()));
    let mut builds: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (build, name) in members.chain(nodes).filter(|(build, _)| !build.is_empty()) {
        builds.entry(build).or_default().push(name);
    }
    // A build is named by its release and, behind that, its commit.
    let is_ours = |build: &&str| build.split(' ').next() == Some(VERSION);
    if builds.len() <= 1 && builds.keys().all(is_ours) {
        return Check::ok("versions", format!("all run {}", builds.keys().next().unwrap_or(&VERSION)));
    }
    let told: Vec<_> =
        builds.iter().map(|(build, names)| format!("{build} on {}", names.join(" "))).collect();
    Check::warn(
        "versions",
        format!("this is {VERSION}; {}", told.join(", ")),
        "finish the upgrade, the leader last",
    )
}

fn alarms(status: &ClusterStatus) -> Check {
    if status.alarms.is_empty() {
        return Check::ok("alarms", "none");
    }
    let codes: Vec<_> =
        status.alarms.iter().map(|alarm| format!("{} ({})", alarm.code, alarm.subject)).collect();
    Check::warn("alarms", codes.join(", "), "`goproxyctl cluster status` has their messages")
}

fn certificates(status: &GetCertificateStatusResponse, now: Duration) -> Check {
    let left = |end: Option<&prost_types::Timestamp>| {
        let end = Duration::from_secs(u64::try_from(end?.seconds).ok()?);
        Some(end.saturating_sub(now))
    };
    let authorities =
        status.authorities.iter().map(|authority| ("authority", left(authority.expire_time.as_ref())));
    let others = status.certificates.iter().map(|one| (one.subject.as_str(), left(one.expire_time.as_ref())));
    let first = authorities
        .chain(others)
        .filter_map(|(whose, left)| Some((whose, left?)))
        .min_by_key(|(_, left)| *left);
    let Some((whose, left)) = first else { return Check::warn("certificates", "the server names none", "") };
    let message = format!("the first to end is that of {whose}, in {} days", left.as_secs() / 86_400);
    if left.is_zero() {
        let hint = "`goproxyctl cert status` shows which; docs/operations has how to renew";
        return Check::fail("certificates", format!("that of {whose} has ended"), hint, Exit::Unhealthy);
    }
    if left < SOON {
        let hint =
            "nodes renew by themselves while they reach the leader; an authority by `goproxyctl cert rotate`";
        return Check::warn("certificates", message, hint);
    }
    Check::ok("certificates", message)
}

#[cfg(test)]
mod tests {
    use proto::control::v1::{Alarm, Certificate, Member};

    use super::super::Verdict;
    use super::*;

    const fn at(seconds: i64) -> prost_types::Timestamp {
        prost_types::Timestamp { seconds, nanos: 0 }
    }

    #[test]
    fn clocks_may_differ_a_little() {
        let status = ClusterStatus { read_time: Some(at(1_000)), ..ClusterStatus::default() };
        let verdict = |now| clock(&status, Duration::from_secs(now), Duration::from_secs(1)).verdict;
        assert_eq!([verdict(1_000), verdict(994), verdict(1_006)], [Verdict::Ok; 3]);
        assert_eq!([verdict(993), verdict(1_007)], [Verdict::Warn; 2]);
        assert_eq!(clock(&ClusterStatus::default(), Duration::ZERO, Duration::ZERO).verdict, Verdict::Warn);
    }

    #[test]
    fn versions_and_alarms_are_named() {
        let member = Member { name: "c".to_owned(), version: "0.0.1".to_owned(), ..Member::default() };
        let alarm = Alarm { code: "x".to_owned(), subject: "node d".to_owned(), ..Alarm::default() };
        let status = ClusterStatus { members: vec![member], alarms: vec![alarm], ..ClusterStatus::default() };
        assert!(versions(&status).message.ends_with("; 0.0.1 on c"));
        assert_eq!(alarms(&status).message, "x (node d)");
        assert_eq!(versions(&ClusterStatus::default()).verdict, Verdict::Ok);
        let of = |builds: &[&str]| {
            let named = |(name, build): (usize, &&str)| Member {
                name: name.to_string(),
                version: format!("{VERSION} ({build})"),
                ..Member::default()
            };
            let members = builds.iter().enumerate().map(named).collect();
            versions(&ClusterStatus { members, ..ClusterStatus::default() }).verdict
        };
        assert_eq!([of(&["a", "a"]), of(&["a", "b"])], [Verdict::Ok, Verdict::Warn]);
    }

    #[test]
    fn certificates_are_seen_before_they_end() {
        let status = |end| GetCertificateStatusResponse {
            certificates: vec![Certificate {
                subject: "node d".to_owned(),
                expire_time: Some(at(end)),
                ..Certificate::default()
            }],
            ..GetCertificateStatusResponse::default()
        };
        let week = 7 * 86_400;
        let verdict = |end| certificates(&status(end), Duration::from_secs(100)).verdict;
        assert_eq!(verdict(100 + week), Verdict::Ok);
        assert_eq!(verdict(99 + week), Verdict::Warn);
        assert_eq!(verdict(100), Verdict::Fail);
    }
}
