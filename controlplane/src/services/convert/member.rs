//! Control nodes.

use std::time::Duration;

use cluster::record::{Member, MemberState};
use proto::control::v1 as pb;

use super::{health, time};
use crate::sights::Sights;

/// A control node is heard of once a second.
const SUSPECT_AFTER: Duration = Duration::from_secs(3);
const DOWN_AFTER: Duration = Duration::from_secs(10);

pub(crate) fn member(member: &Member, sights: &Sights) -> pb::Member {
    let sight = sights.member(member.id);
    let role = match member.state {
        MemberState::Staged(_) => pb::MemberRole::Staged,
        MemberState::Learner => pb::MemberRole::Learner,
        MemberState::Voter => pb::MemberRole::Voter,
        MemberState::Removed => pb::MemberRole::Unspecified,
    };
    let health = if member.state.is_in_group() {
        health(sight.map(|sight| sight.silence), sights.leading(), SUSPECT_AFTER, DOWN_AFTER)
    } else {
        pb::Health::Unspecified
    };
    pb::Member {
        name: member.name.to_string(),
        id: member.id.get(),
        role: role.into(),
        health: health.into(),
        applied_index: sight.map_or(0, |sight| sight.applied),
        matched_index: sight.map_or(0, |sight| sight.matched),
        rpc_address: member.rpc.as_ref().map(ToString::to_string).unwrap_or_default(),
        version: sight.map(|sight| sight.version.clone()).unwrap_or_default(),
        last_seen_time: sight.and_then(|sight| sight.last_seen),
        certificate_expire_time: member.certificate.as_ref().map(|held| time(held.expires)),
    }
}
