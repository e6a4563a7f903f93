//! Operators' credentials, without their secrets.

use cluster::Role;
use cluster::record::Token;
use proto::control::v1 as pb;

use super::time;

pub(crate) fn role(role: Role) -> pb::OperatorRole {
    match role {
        Role::Viewer => pb::OperatorRole::Viewer,
        Role::Operator => pb::OperatorRole::Operator,
        Role::Admin => pb::OperatorRole::Admin,
    }
}

pub(crate) fn token(token: &Token) -> pb::Token {
    pb::Token {
        id: token.id.to_string(),
        name: token.name.to_string(),
        role: role(token.role).into(),
        groups: groups(token),
        create_time: Some(time(token.created)),
        expire_time: token.expires.map(time),
        revoke_time: token.revoked.map(time),
        previous_expire_time: token.previous.as_ref().map(|previous| time(previous.until)),
        author: token.by.to_string(),
    }
}

/// The groups of a credential's bearer.
pub(crate) fn groups(token: &Token) -> Vec<String> {
    token.groups.iter().map(ToString::to_string).collect()
}
