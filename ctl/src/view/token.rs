//! Tokens, without their texts.

use proto::control::v1::{OperatorRole, Token, WhoAmIResponse};

use super::{named, or_dash};
use crate::output::page::Page;
use crate::output::table::Table;
use crate::time::shown;

/// `token list`, `token revoke`.
pub(crate) fn list(tokens: &[Token]) -> Page {
    let mut table = Table::new(&["TOKEN", "ID", "ROLE", "GROUPS", "EXPIRES", "STATE"], "no tokens");
    for token in tokens {
        let state = if token.revoke_time.is_some() { "revoked" } else { "good" };
        let day = |time: Option<&prost_types::Timestamp>| shown(time).chars().take(10).collect::<String>();
        table.row(vec![
            token.name.as_str().into(),
            token.id.as_str().into(),
            role(token.role()).into(),
            or_dash(&token.groups.join(" ")),
            day(token.expire_time.as_ref()).into(),
            state.into(),
        ]);
    }
    Page::new().table(table)
}

/// `token whoami`.
pub(crate) fn who(who: &WhoAmIResponse) -> Page {
    Page::new().fields(vec![
        ("name", who.name.as_str().into()),
        ("kind", who.kind.as_str().into()),
        ("role", role(who.role()).into()),
        ("groups", or_dash(&who.groups.join(" "))),
        ("expires", shown(who.expire_time.as_ref()).into()),
        ("cluster", who.cluster_id.as_str().into()),
    ])
}

/// What is to be said beside a token's text.
pub(crate) fn about(token: &Token) -> String {
    let end = token
        .expire_time
        .as_ref()
        .map_or_else(|| "does not expire".to_owned(), |time| format!("expires {}", shown(Some(time))));
    format!("token {} ({}), role {}, {end}", token.name, token.id, role(token.role()))
}

fn role(role: OperatorRole) -> String {
    match role {
        OperatorRole::Unspecified => "none".to_owned(),
        OperatorRole::Viewer | OperatorRole::Operator | OperatorRole::Admin => named(role),
    }
}
