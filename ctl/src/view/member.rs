//! Control nodes.

use proto::control::v1::{Member, MemberRole, RemoveMemberResponse};

use super::{health, named, or_dash};
use crate::output::page::{Cell, Page};
use crate::output::style::Tone;
use crate::output::table::Table;
use crate::time::shown;

/// `member list`.
pub(crate) fn list(members: &[Member], leader: &str) -> Page {
    Page::new().table(table(members, leader))
}

/// Members as in `cluster status`; the leader has a star.
pub(crate) fn table(members: &[Member], leader: &str) -> Table {
    let mut table = Table::new(&["MEMBER", "ROLE", "HEALTH", ">APPLIED", "ADDRESS", "VERSION"], "no members");
    for member in members {
        let star = if !leader.is_empty() && member.name == leader { "*" } else { "" };
        table.row(vec![
            format!("{}{star}", member.name).into(),
            role(member.role()),
            health(member.health()),
            member.applied_index.into(),
            or_dash(&member.rpc_address),
            or_dash(&member.version),
        ]);
    }
    table
}

/// `member promote`.
pub(crate) fn one(member: &Member) -> Page {
    Page::new().fields(vec![
        ("name", member.name.as_str().into()),
        ("id", member.id.into()),
        ("role", role(member.role())),
        ("health", health(member.health())),
        ("applied", member.applied_index.into()),
        ("matched", member.matched_index.into()),
        ("address", or_dash(&member.rpc_address)),
        ("version", or_dash(&member.version)),
        ("last seen", shown(member.last_seen_time.as_ref()).into()),
        ("certificate ends", shown(member.certificate_expire_time.as_ref()).into()),
    ])
}

/// `member remove`.
pub(crate) fn removed(removed: &RemoveMemberResponse) -> Page {
    Page::new().fields(vec![("removed", removed.name.as_str().into()), ("id", removed.id.into())])
}

fn role(role: MemberRole) -> Cell {
    let tone = match role {
        MemberRole::Voter => Tone::Good,
        MemberRole::Staged | MemberRole::Learner => Tone::Warn,
        MemberRole::Unspecified => Tone::Plain,
    };
    Cell::new(named(role), tone)
}
