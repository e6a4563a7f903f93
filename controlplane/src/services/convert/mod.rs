//! From the truth and what was observed to what is said over gRPC, and from what is asked to the types of `core/cluster`.

mod alarm;
mod audit;
mod certificate;
mod job;
mod layout;
mod member;
mod node;
mod parse;
mod policy;
mod refusal;
mod timeout;
mod token;

pub(super) use alarm::alarm;
pub(super) use audit::audit_record;
pub(super) use certificate::{authority, certificate};
pub(super) use job::job;
pub(super) use layout::{layout, layout_plan, layout_status};
pub(super) use member::member;
pub(super) use node::{node, node_state};
pub(super) use parse::{Options, duration, options, parse, subject};
pub(super) use policy::{access_steps, decision, differences, document, policy};
pub(crate) use refusal::refused;
pub(super) use timeout::grpc_timeout;
pub(super) use token::{groups, role, token};

use std::time::{Duration, SystemTime};

use cluster::Timestamp;
use proto::control::v1 as pb;

/// A time as protobuf has it.
pub(super) fn time(at: Timestamp) -> prost_types::Timestamp {
    let millis = at.millis();
    prost_types::Timestamp {
        seconds: i64::try_from(millis / 1000).unwrap_or(i64::MAX),
        nanos: i32::try_from(millis % 1000 * 1_000_000).unwrap_or_default(),
    }
}

/// A reading of the wall clock as protobuf has it.
pub(crate) fn wall_time(at: SystemTime) -> prost_types::Timestamp {
    time(timestamp(at))
}

/// A reading of the wall clock as the cluster has it.
pub(crate) fn timestamp(at: SystemTime) -> Timestamp {
    let millis = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
    Timestamp::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}

/// How well somebody is of whom was heard so long ago, or not yet, though somebody leads for so long.
pub(super) fn health(
    heard: Option<Duration>,
    leading: Option<Duration>,
    suspect_after: Duration,
    dead_after: Duration,
) -> pb::Health {
    match heard.or(leading) {
        None => pb::Health::Unspecified,
        Some(silence) if silence >= dead_after => pb::Health::Down,
        Some(silence) if silence >= suspect_after => pb::Health::Suspect,
        // Whoever leads only just has not heard of everybody: that says nothing of them.
        Some(_) if heard.is_none() => pb::Health::Unspecified,
        Some(_) => pb::Health::Ok,
    }
}
