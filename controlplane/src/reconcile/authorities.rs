//! Changing the authority, step by step: the next one signs when all can trust it, the old one goes when nobody has a certificate
//! of it. Nodes renew by themselves as soon as another authority signs. A pure plan.

use std::time::Duration;

use cluster::command::{RetireAuthority, SwitchAuthority};
use cluster::record::{Authority, AuthorityState, Certificate};
use cluster::{Command, Tables, Timestamp};

/// How long the next authority is known before it signs: nodes that can be reached hear of it within a second.
const KNOWN_BEFORE: Duration = Duration::from_mins(1);

/// What is to be proposed at `wall`.
pub(super) fn plan(tables: &Tables, wall: Timestamp) -> Option<Command> {
    let in_state = |state| tables.authorities.values().find(move |authority| authority.state == state);
    if let Some(next) = in_state(AuthorityState::Next)
        && wall.since(next.since) >= KNOWN_BEFORE
    {
        return Some(Command::SwitchAuthority(SwitchAuthority { to: next.generation }));
    }
    let retiring = in_state(AuthorityState::Retiring)?;
    (!is_in_use(tables, retiring, wall))
        .then_some(Command::RetireAuthority(RetireAuthority { generation: retiring.generation }))
}

fn is_in_use(tables: &Tables, authority: &Authority, wall: Timestamp) -> bool {
    let members = tables.members.values().filter_map(|member| member.certificate.as_ref());
    let nodes = tables.nodes.values().filter_map(|node| node.certificate.as_deref());
    let of_it = |held: &Certificate| held.authority == authority.generation && held.expires > wall;
    members.chain(nodes).any(of_it)
}
