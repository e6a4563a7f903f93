//! The audit trail.

use cluster::ActorRole;
use cluster::record::AuditEntry;
use proto::control::v1 as pb;

use super::time;

pub(crate) fn audit_record(entry: &AuditEntry) -> pb::AuditRecord {
    let kind = match entry.actor.role {
        ActorRole::Viewer | ActorRole::Operator | ActorRole::Admin => "token",
        ActorRole::Node => "node",
        ActorRole::Member => "member",
        ActorRole::System => "system",
    };
    let text = |note: &Option<cluster::Note>| note.as_ref().map(ToString::to_string).unwrap_or_default();
    pb::AuditRecord {
        sequence: entry.revision.get(),
        record_time: Some(time(entry.at)),
        caller: format!("{kind} {}", entry.actor.name),
        method: entry.command.clone(),
        subject: text(&entry.subject),
        reason: text(&entry.why),
        before: text(&entry.before),
        after: text(&entry.after),
    }
}
