//! The cluster on one screen, its health, its trail of changes.

use proto::control::v1::{AuditRecord, ClusterStatus, GetHealthResponse, TransferLeaderResponse};

use super::{health as health_cell, layout, member, node, or_dash};
use crate::output::page::{Cell, Page};
use crate::output::style::Tone;
use crate::output::table::Table;
use crate::time::shown;

/// `cluster status`.
pub(crate) fn status(status: &ClusterStatus) -> Page {
    let leader = if status.leader.is_empty() {
        Cell::new("none", Tone::Bad)
    } else {
        format!("{}, term {}", status.leader, status.term).into()
    };
    let moves = status.layout.as_ref().map_or_else(|| "-".into(), layout::in_short);
    let fields = vec![
        ("cluster", Cell::from(status.cluster_id.as_str())),
        ("leader", leader),
        ("layout", moves),
        ("revision", status.revision.into()),
    ];
    let mut alarms = Table::new(&["ALARM", "ABOUT", "MESSAGE"], "no alarms");
    for alarm in &status.alarms {
        alarms.row(vec![
            Cell::new(alarm.code.as_str(), Tone::Bad),
            alarm.subject.as_str().into(),
            alarm.message.as_str().into(),
        ]);
    }
    Page::new()
        .fields(fields)
        .table(member::table(&status.members, &status.leader))
        .table(node::table(&status.nodes))
        .table(alarms)
}

/// `cluster health`.
pub(crate) fn health(health: &GetHealthResponse) -> Page {
    let quorum = if health.quorum { Cell::new("yes", Tone::Good) } else { Cell::new("no", Tone::Bad) };
    let mut page = Page::new().fields(vec![("health", health_cell(health.health())), ("quorum", quorum)]);
    for problem in &health.problems {
        page = page.line(problem.as_str());
    }
    page
}

/// `cluster transfer-leader`, `failover leader`.
pub(crate) fn leader(leader: &TransferLeaderResponse) -> Page {
    Page::new().fields(vec![("leader", leader.leader.as_str().into()), ("term", leader.term.into())])
}

/// `cluster audit`.
pub(crate) fn audit(records: &[AuditRecord]) -> Page {
    let mut table = Table::new(&["TIME", "CALLER", "COMMAND", "ABOUT", "AFTER", "REASON"], "no changes");
    for record in records {
        table.row(vec![
            shown(record.record_time.as_ref()).trim_end_matches(" UTC").into(),
            record.caller.as_str().into(),
            record.method.as_str().into(),
            record.subject.as_str().into(),
            or_dash(&record.after),
            record.reason.as_str().into(),
        ]);
    }
    Page::new().table(table)
}
