//! Faults done to nodes by chance that can be had again: ends, pauses, restarts, cut networks.

use std::time::Duration;

use rustix::process::Signal;

use crate::chance::Chance;
use crate::cluster::Cluster;

/// How long a fault lasts: from less than an election takes to several of them.
const FAULT: std::ops::Range<u64> = 100..2_500;
/// How long the cluster is left alone afterwards.
const QUIET: std::ops::Range<u64> = 200..1_500;

/// What is done to the cluster.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Fault {
    /// SIGKILL, and a new start.
    Kill,
    /// SIGSTOP, and SIGCONT.
    Pause,
    /// Nobody reaches it, it reaches nobody.
    Isolate,
    /// What it sends to one other is dropped.
    CutWay,
    /// Two do not reach one another, both reach the third.
    CutPair,
}

const EVERYWHERE: [Fault; 2] = [Fault::Kill, Fault::Pause];
const ON_A_NETWORK: [Fault; 5] = [Fault::Kill, Fault::Pause, Fault::Isolate, Fault::CutWay, Fault::CutPair];

/// Does faults, one after the other, until `is_over`; says which. The cluster is whole again afterwards.
pub fn torment(cluster: &mut Cluster, chance: &mut Chance, mut is_over: impl FnMut() -> bool) -> Vec<Fault> {
    let mut done = Vec::new();
    let faults = if cluster.network.is_some() { &ON_A_NETWORK[..] } else { &EVERYWHERE[..] };
    while !is_over() {
        // Leaders are worth more than others.
        let others = chance.below(cluster.control.len());
        let victim = if chance.below(3) == 0 { others } else { cluster.quick_leader().unwrap_or(others) };
        let other = (victim + 1 + chance.below(cluster.control.len() - 1)) % cluster.control.len();
        let fault = faults[chance.below(faults.len())];
        let lasts = between(chance, FAULT);
        done.push(fault);
        begin(cluster, fault, victim, other);
        last(lasts);
        end(cluster, fault, victim);
        last(between(chance, QUIET));
    }
    done
}

/// What is done to data nodes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum DataFault {
    /// SIGKILL, and a new start.
    Kill,
    /// The same of all but one.
    KillOthers,
    /// SIGSTOP, and SIGCONT.
    Pause,
    /// SIGTERM, and a new start when it has ended.
    Restart,
    /// SIGKILL of the control node that leads, and a new start.
    KillLeader,
}

const OF_DATA: [DataFault; 5] =
    [DataFault::Kill, DataFault::KillOthers, DataFault::Pause, DataFault::Restart, DataFault::KillLeader];

/// Does faults to data nodes, one after the other, until `is_over`; says which. Each time `before` is told of what comes. The cluster is whole
/// again after each.
pub fn torment_data(
    cluster: &mut Cluster,
    chance: &mut Chance,
    mut is_over: impl FnMut() -> bool,
    mut before: impl FnMut(DataFault),
) -> Vec<DataFault> {
    let mut done = Vec::new();
    while !is_over() {
        let chosen = chance.below(cluster.data.len());
        let fault = OF_DATA[chance.below(OF_DATA.len())];
        before(fault);
        done.push(fault);
        let lasts = between(chance, FAULT);
        strike(cluster, fault, chosen, lasts);
        last(between(chance, QUIET));
    }
    done
}

/// Does one, for so long.
fn strike(cluster: &mut Cluster, fault: DataFault, chosen: usize, lasts: Duration) {
    match fault {
        DataFault::Kill | DataFault::KillOthers => {
            let is_victim = |number: usize| (number == chosen) == (fault == DataFault::Kill);
            let victims: Vec<usize> = (0..cluster.data.len()).filter(|number| is_victim(*number)).collect();
            for number in &victims {
                cluster.data[*number].kill9();
            }
            last(lasts);
            for number in &victims {
                cluster.data[*number].start(&[]);
            }
            for number in &victims {
                cluster.data[*number].wait_ready();
            }
        }
        DataFault::Pause => {
            cluster.data[chosen].signal(Signal::STOP);
            last(lasts);
            cluster.data[chosen].signal(Signal::CONT);
        }
        DataFault::Restart => {
            assert!(cluster.data[chosen].terminate().success());
            cluster.data[chosen].start(&[]);
            cluster.data[chosen].wait_ready();
        }
        DataFault::KillLeader => {
            let leader = cluster.quick_leader().unwrap_or_default();
            cluster.control[leader].kill9();
            last(lasts);
            cluster.control[leader].start(&[]);
        }
    }
}

fn begin(cluster: &mut Cluster, fault: Fault, victim: usize, other: usize) {
    match (fault, &cluster.network) {
        (Fault::Kill, _) => cluster.control[victim].kill9(),
        (Fault::Pause, _) => cluster.control[victim].signal(Signal::STOP),
        (Fault::Isolate, Some(network)) => network.isolate(victim),
        (Fault::CutWay, Some(network)) => network.cut_way(victim, other),
        (Fault::CutPair, Some(network)) => network.cut(victim, other),
        (Fault::Isolate | Fault::CutWay | Fault::CutPair, None) => panic!("{fault:?} without a network"),
    }
}

fn end(cluster: &mut Cluster, fault: Fault, victim: usize) {
    match (fault, &cluster.network) {
        (Fault::Kill, _) => cluster.control[victim].start(&[]),
        (Fault::Pause, _) => cluster.control[victim].signal(Signal::CONT),
        (_, Some(network)) => network.heal(),
        (_, None) => {}
    }
}

fn between(chance: &mut Chance, range: std::ops::Range<u64>) -> Duration {
    let span = usize::try_from(range.end - range.start).unwrap_or_default();
    Duration::from_millis(range.start + chance.below(span) as u64)
}

/// The fault is that it lasts: there is nothing else to wait for.
fn last(time: Duration) {
    std::thread::sleep(time);
}
