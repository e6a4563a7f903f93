//! Which alarms there should be. A pure function of state and observations; the difference to those raised is proposed.
//!
//! Alarms that something else raises, by codes that are not listed here, are left alone.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use cluster::command::{ClearAlarm, RaiseAlarm};
use cluster::record::{AlarmSeverity, Job, JobState, Node, NodeState};
use cluster::{AlarmCode, Command, JobKind, Name, Note, Tables, Timestamp};

use super::nodes::is_storm;
use crate::observed::Observed;

/// Codes that are raised and cleared here.
const CODES: [&str; 9] = [
    "node-down",
    "node-storm",
    "member-down",
    "clock-skew",
    "certificate-expires",
    "job-stuck",
    DISK_FULL,
    DISK_UNWRITABLE,
    DISK_SLOW,
];
/// What nodes say of themselves, or is seen by what they say.
const BY_REPORT: [&str; 3] = [DISK_FULL, DISK_UNWRITABLE, DISK_SLOW];
const DISK_FULL: &str = "disk-full";
const DISK_UNWRITABLE: &str = "disk-unwritable";
const DISK_SLOW: &str = "disk-slow";

const DAY: Duration = Duration::from_hours(24);
/// A member that was silent for so long has an alarm.
const MEMBER_SILENCE: Duration = Duration::from_secs(10);
/// Clocks that differ by more spoil the times of certificates and audit records.
const CLOCK_OFFSET_MS_MAX: i64 = 5_000;
/// A running job that said nothing for so long is stuck.
const JOB_SILENCE: Duration = Duration::from_mins(10);
/// An authority that ends so soon has to be rotated by somebody.
const AUTHORITY_LEFT: Duration = Duration::from_hours(30 * 24);
/// A certificate that ends so soon should have been renewed: that is done at a third of its time, 10 days before its end.
const CERTIFICATE_LEFT: Duration = Duration::from_hours(7 * 24);
/// A disk with less free than this share of 100 is nearly full.
const DISK_FREE_PERCENT_MIN: u64 = 3;

type Wanted = BTreeMap<(AlarmCode, Name), (AlarmSeverity, String)>;

/// What is to be proposed at `now`, which is `wall` by the cluster's time.
pub(super) fn plan(tables: &Tables, observed: &Observed, now: Instant, wall: Timestamp) -> Vec<Command> {
    let mut wanted = Wanted::new();
    nodes(tables, observed, now, &mut wanted);
    members(tables, observed, now, &mut wanted);
    certificates(tables, wall, &mut wanted);
    jobs(tables, wall, &mut wanted);
    difference(tables, wanted)
}

fn difference(tables: &Tables, wanted: Wanted) -> Vec<Command> {
    let ours = |code: &AlarmCode| CODES.contains(&code.as_str());
    let mut commands: Vec<_> = tables
        .alarms
        .values()
        .filter(|alarm| ours(&alarm.code))
        .filter(|alarm| !wanted.contains_key(&(alarm.code.clone(), alarm.subject.clone())))
        .map(|alarm| {
            Command::ClearAlarm(ClearAlarm { code: alarm.code.clone(), subject: alarm.subject.clone() })
        })
        .collect();
    for ((code, subject), (severity, text)) in wanted {
        let raised = tables.alarms.get(&(code.clone(), subject.clone()));
        // A message that only counts on is no news.
        if raised.is_some_and(|raised| raised.severity == severity) {
            continue;
        }
        if let Some(message) = Note::lossy(&text) {
            commands.push(Command::RaiseAlarm(RaiseAlarm { code, subject, severity, message }));
        }
    }
    commands
}

fn want(wanted: &mut Wanted, code: &str, subject: &str, severity: AlarmSeverity, text: String) {
    if let (Ok(code), Ok(subject)) = (AlarmCode::parse(code), Name::parse(subject)) {
        wanted.insert((code, subject), (severity, text));
    }
}

fn nodes(tables: &Tables, observed: &Observed, now: Instant, wanted: &mut Wanted) {
    let Some(cluster) = &tables.cluster else { return };
    let (mut silent, mut watched) = (0, 0);
    // Of one that is removed by force nothing more is expected.
    let expected = |node: &&Node| node.state.is_placed() && node.state != NodeState::Removing;
    for node in tables.nodes.values().filter(expected) {
        watched += 1;
        let name = node.name.as_str();
        if matches!(node.state, NodeState::Down { .. }) {
            let text = format!(
                "node {name} is taken for dead: start it again, or run goproxyctl node replace {name} --with NEW"
            );
            want(wanted, "node-down", name, AlarmSeverity::Critical, text);
        } else if observed.node_silence(&node.name, now) >= cluster.settings.dead_after() {
            silent += 1;
        }
        told(observed, node, wanted);
        if let Some(seen) = observed.of_node(&node.name)
            && seen.report.disk_bytes > 0
            && seen.report.disk_free_bytes / (seen.report.disk_bytes / 100).max(1) < DISK_FREE_PERCENT_MIN
        {
            let free = seen.report.disk_free_bytes;
            let text = format!("the disk of node {name} has {free} bytes left: nothing new is stored there");
            want(wanted, DISK_FULL, name, AlarmSeverity::Warning, text);
        }
        // Who has just begun to lead has heard of nobody, and a node whose store does not answer does not know how full its disk is: what
        // was said before holds until something else is said.
        match observed.of_node(&node.name) {
            None => keep(tables, name, &BY_REPORT, wanted),
            Some(seen) if seen.report.disk_bytes == 0 => keep(tables, name, &[DISK_FULL], wanted),
            Some(_) => {}
        }
    }
    if is_storm(silent, watched) {
        let text = format!(
            "{silent} of {watched} nodes are silent at once: none is marked down by itself; look at the network first"
        );
        want(wanted, "node-storm", "cluster", AlarmSeverity::Critical, text);
    }
}

/// What a node says is wrong with it; codes that this version does not know are left out.
fn told(observed: &Observed, node: &Node, wanted: &mut Wanted) {
    let name = node.name.as_str();
    for code in observed.of_node(&node.name).into_iter().flat_map(|seen| &seen.report.alarms) {
        match code.as_str() {
            DISK_UNWRITABLE => {
                let text = format!(
                    "the disk of node {name} takes no writes though it has room: nothing new is stored there; see its log"
                );
                want(wanted, DISK_UNWRITABLE, name, AlarmSeverity::Critical, text);
            }
            DISK_SLOW => {
                let text = format!(
                    "the disk of node {name} is slow: look at it, or put another node in its place with goproxyctl node replace"
                );
                want(wanted, DISK_SLOW, name, AlarmSeverity::Warning, text);
            }
            _ => {}
        }
    }
}

/// Keeps what is raised of somebody by these codes.
fn keep(tables: &Tables, subject: &str, codes: &[&str], wanted: &mut Wanted) {
    let alarms = tables.alarms.values().filter(|alarm| alarm.subject.as_str() == subject);
    for alarm in alarms.filter(|alarm| codes.contains(&alarm.code.as_str())) {
        let key = (alarm.code.clone(), alarm.subject.clone());
        wanted.insert(key, (alarm.severity, alarm.message.to_string()));
    }
}

fn members(tables: &Tables, observed: &Observed, now: Instant, wanted: &mut Wanted) {
    for member in tables.members.values().filter(|member| member.state.is_in_group()) {
        let name = member.name.as_str();
        let silence = observed.member_silence(member.id, now);
        if silence >= MEMBER_SILENCE {
            let text = format!(
                "control node {name} was not heard of for {} s: start it again, or remove it",
                MEMBER_SILENCE.as_secs()
            );
            want(wanted, "member-down", name, AlarmSeverity::Critical, text);
        }
        match observed.of_member(member.id) {
            None => keep(tables, name, &[DISK_SLOW], wanted),
            Some(seen) if seen.report.disk_is_slow => {
                let text = format!(
                    "the disk of control node {name} is slow: look at it, or put another member in its place"
                );
                want(wanted, DISK_SLOW, name, AlarmSeverity::Warning, text);
            }
            Some(_) => {}
        }
        let offset = observed.of_member(member.id).map_or(0, |seen| seen.report.clock_offset_ms);
        if offset.abs() > CLOCK_OFFSET_MS_MAX {
            let text = format!("the clock of control node {name} differs from the leader's by {offset} ms");
            want(wanted, "clock-skew", name, AlarmSeverity::Warning, text);
        }
    }
}

fn certificates(tables: &Tables, wall: Timestamp, wanted: &mut Wanted) {
    let mut expiring = |subject: &str, expires: Timestamp, within: Duration, next: &str| {
        let left = expires.since(wall);
        if left > within {
            return;
        }
        let severity = if left <= DAY { AlarmSeverity::Critical } else { AlarmSeverity::Warning };
        let text = if left.is_zero() {
            format!("the certificate of {subject} has expired: {next}")
        } else {
            format!("the certificate of {subject} expires in {} h: {next}", left.as_secs() / 3600)
        };
        want(wanted, "certificate-expires", subject, severity, text);
    };
    let renewal = "it renews itself when it can reach a control node; see its log";
    for member in tables.members.values().filter(|member| member.state.is_in_group()) {
        if let Some(certificate) = &member.certificate {
            expiring(member.name.as_str(), certificate.expires, CERTIFICATE_LEFT, renewal);
        }
    }
    for node in tables.nodes.values().filter(|node| node.state.is_admitted()) {
        if let Some(certificate) = &node.certificate {
            expiring(node.name.as_str(), certificate.expires, CERTIFICATE_LEFT, renewal);
        }
    }
    for authority in tables.authorities.values() {
        if let Some(expires) = crate::issue::not_after(authority.certificate.as_bytes()) {
            let subject = format!("authority-{}", authority.generation);
            expiring(&subject, expires, AUTHORITY_LEFT, "run goproxyctl cert rotate");
        }
    }
}

fn jobs(tables: &Tables, wall: Timestamp, wanted: &mut Wanted) {
    let running = || tables.jobs.values().filter(|job| job.state == JobState::Running);
    let moves = running().any(|job| job.kind.as_str() == JobKind::LAYOUT);
    let is_paused = tables.transition.as_ref().is_some_and(|transition| transition.paused);
    // What only waits: a drain for the move, whose job tells how that goes on, and both for whoever has halted it.
    let waits = |job: &Job| match job.kind.as_str() {
        JobKind::DRAIN => moves || is_paused,
        JobKind::LAYOUT => is_paused,
        _ => false,
    };
    for job in running().filter(|job| !waits(job)) {
        if wall.since(job.updated) >= JOB_SILENCE {
            let (id, kind, target) = (job.id, job.kind.as_str(), job.target.as_str());
            let text = format!("job {id} ({kind} of {target}) has made no progress for 10 minutes");
            want(wanted, "job-stuck", &format!("job-{id}"), AlarmSeverity::Warning, text);
        }
    }
}

#[cfg(test)]
mod tests {
    use cluster::record::{Alarm, Before, MemberState, TransitionRecord};

    use cluster::Epoch;

    use std::time::SystemTime;

    use super::super::bed::{clock, heard, job, member, node, tables};
    use super::*;
    use crate::observed::{MemberReport, NodeReport, Seen};

    fn told(commands: &[Command]) -> Vec<String> {
        commands
            .iter()
            .map(|command| {
                if let Command::RaiseAlarm(raise) = command {
                    return format!("raise {} {}", raise.code, raise.subject);
                }
                let Command::ClearAlarm(clear) = command else { panic!("{command:?}") };
                format!("clear {} {}", clear.code, clear.subject)
            })
            .collect()
    }

    fn raised(tables: &mut Tables, code: &str, subject: &str, severity: AlarmSeverity) {
        let alarm = Alarm {
            code: AlarmCode::parse(code).unwrap(),
            subject: Name::parse(subject).unwrap(),
            severity,
            since: Timestamp::default(),
            message: Note::lossy("x").unwrap(),
        };
        tables.alarms.insert((alarm.code.clone(), alarm.subject.clone()), alarm);
    }

    #[test]
    fn alarms_are_raised_once_and_cleared_when_their_reason_is_gone() {
        let clock = clock(Duration::from_mins(1));
        let mut tables = tables();
        let mut observed = Observed::new(clock.start);
        node(&mut tables, "gone", NodeState::Down { before: Before::Active });
        let fine = node(&mut tables, "fine", NodeState::Active);
        heard(&mut observed, &fine, clock.now);
        member(&mut tables, 1, MemberState::Voter);
        raised(&mut tables, "node-down", "fine", AlarmSeverity::Critical);
        raised(&mut tables, "somebody-elses", "fine", AlarmSeverity::Notice);
        let wall = Timestamp::default();
        let expected = ["clear node-down fine", "raise member-down control-1", "raise node-down gone"];
        assert_eq!(told(&plan(&tables, &observed, clock.now, wall)), expected);
        raised(&mut tables, "node-down", "gone", AlarmSeverity::Critical);
        raised(&mut tables, "member-down", "control-1", AlarmSeverity::Critical);
        assert_eq!(told(&plan(&tables, &observed, clock.now, wall)), ["clear node-down fine"]);
    }

    #[test]
    fn what_a_node_says_is_wrong_with_it_is_an_alarm_until_it_says_otherwise() {
        let clock = clock(Duration::from_secs(1));
        let (mut tables, mut observed) = (tables(), Observed::new(clock.start));
        let name = node(&mut tables, "data-1", NodeState::Active);
        let mut says = |tables: &Tables, codes: &[&str]| {
            let alarms = codes.iter().map(|code| AlarmCode::parse(code).unwrap()).collect();
            let report = NodeReport { alarms, ..NodeReport::default() };
            observed.node(name.clone(), Seen { report, at: clock.now, wall: SystemTime::UNIX_EPOCH });
            told(&plan(tables, &observed, clock.now, Timestamp::default()))
        };
        assert_eq!(says(&tables, &["disk-slow", "of-a-later-version"]), ["raise disk-slow data-1"]);
        assert_eq!(says(&tables, &["disk-unwritable"]), ["raise disk-unwritable data-1"]);
        raised(&mut tables, "disk-slow", "data-1", AlarmSeverity::Warning);
        assert!(says(&tables, &["disk-slow"]).is_empty());
        assert_eq!(says(&tables, &[]), ["clear disk-slow data-1"]);
    }

    #[test]
    fn a_new_leader_keeps_what_a_node_said_is_wrong_with_it_until_it_hears_of_it() {
        let clock = clock(Duration::from_secs(1));
        let (mut tables, mut observed) = (tables(), Observed::new(clock.start));
        let name = node(&mut tables, "data-1", NodeState::Active);
        for code in ["disk-full", "disk-slow", "node-down"] {
            raised(&mut tables, code, "data-1", AlarmSeverity::Warning);
        }
        raised(&mut tables, "disk-slow", "data-2", AlarmSeverity::Warning);
        let next = |tables: &Tables, observed: &Observed| {
            told(&plan(tables, observed, clock.now, Timestamp::default()))
        };
        // What the leader sees itself it clears, and what is said of nodes that are no more.
        assert_eq!(next(&tables, &observed), ["clear disk-slow data-2", "clear node-down data-1"]);
        heard(&mut observed, &name, clock.now);
        let expected = ["clear disk-slow data-1", "clear disk-slow data-2", "clear node-down data-1"];
        assert_eq!(next(&tables, &observed), expected, "how full its disk is it does not know");
        let report = NodeReport { disk_bytes: 100, disk_free_bytes: 50, ..NodeReport::default() };
        observed.node(name.clone(), Seen { report, at: clock.now, wall: SystemTime::UNIX_EPOCH });
        let expected = [
            "clear disk-full data-1",
            "clear disk-slow data-1",
            "clear disk-slow data-2",
            "clear node-down data-1",
        ];
        assert_eq!(next(&tables, &observed), expected);
        tables.nodes.get_mut(&name).unwrap().state = NodeState::Removing;
        assert_eq!(next(&tables, &Observed::new(clock.start)), expected, "nothing is expected of it");
    }

    #[test]
    fn a_member_that_says_its_disk_is_slow_has_an_alarm_until_it_says_otherwise() {
        let clock = clock(Duration::from_secs(1));
        let (mut tables, mut observed) = (tables(), Observed::new(clock.start));
        let id = member(&mut tables, 1, MemberState::Voter);
        let mut says = |tables: &Tables, disk_is_slow| {
            let report = MemberReport { disk_is_slow, ..MemberReport::default() };
            observed.member(id, Seen { report, at: clock.now, wall: SystemTime::UNIX_EPOCH });
            told(&plan(tables, &observed, clock.now, Timestamp::default()))
        };
        assert_eq!(says(&tables, true), ["raise disk-slow control-1"]);
        raised(&mut tables, "disk-slow", "control-1", AlarmSeverity::Warning);
        assert!(says(&tables, true).is_empty());
        assert_eq!(says(&tables, false), ["clear disk-slow control-1"]);
        // A new leader has heard nothing yet.
        assert!(
            told(&plan(&tables, &Observed::new(clock.start), clock.now, Timestamp::default())).is_empty()
        );
    }

    #[test]
    fn what_waits_for_something_else_is_not_stuck() {
        let clock = clock(Duration::ZERO);
        let mut tables = tables();
        let observed = Observed::new(clock.start);
        let next = |tables: &Tables, wall| told(&plan(tables, &observed, clock.now, wall));
        let [early, late] = [9, 10].map(|minutes| Timestamp::default().after(Duration::from_mins(minutes)));
        job(&mut tables, JobKind::DRAIN, "data-1");
        assert!(next(&tables, early).is_empty());
        assert_eq!(next(&tables, late), ["raise job-stuck job-1"]);
        // The move that it waits for has a job of its own, which may be stuck.
        job(&mut tables, JobKind::LAYOUT, "2");
        assert_eq!(next(&tables, late), ["raise job-stuck job-2"]);
        let (current, since) = (Epoch::new(2), Timestamp::default());
        tables.transition = Some(TransitionRecord { current, previous: None, paused: true, since });
        assert!(next(&tables, late).is_empty());
    }

    #[test]
    fn a_certificate_that_nobody_renewed_becomes_urgent() {
        let clock = clock(Duration::ZERO);
        let mut tables = tables();
        let observed = Observed::new(clock.start);
        node(&mut tables, "data-1", NodeState::Active);
        let days = |days: u64| Timestamp::default().after(DAY * days as u32);
        assert!(told(&plan(&tables, &observed, clock.now, days(350))).is_empty());
        assert_eq!(
            told(&plan(&tables, &observed, clock.now, days(359))),
            ["raise certificate-expires data-1"]
        );
        raised(&mut tables, "certificate-expires", "data-1", AlarmSeverity::Warning);
        assert!(told(&plan(&tables, &observed, clock.now, days(360))).is_empty());
        // Worse is news.
        assert_eq!(
            told(&plan(&tables, &observed, clock.now, days(366))),
            ["raise certificate-expires data-1"]
        );
    }
}
