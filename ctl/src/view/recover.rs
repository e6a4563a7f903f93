//! Going on from one member.

use crate::commands::{Plan, PlannedMember};
use crate::output::page::{Cell, Page};
use crate::output::style::Tone;
use crate::output::table::Table;

/// What it would come to.
pub(crate) fn plan(plan: &Plan) -> Page {
    let log = format!(
        "last entry {} of term {}; {} known as agreed on, {} applied",
        plan.last_index, plan.last_term, plan.committed_index, plan.applied_index
    );
    let stays = format!(
        "id, authorities, tokens, policies, layout {}, {} data nodes",
        plan.layout_epoch, plan.node_count
    );
    let fields = vec![
        ("cluster", Cell::from(plan.cluster_id.as_str())),
        ("from", named(&plan.member).into()),
        ("log", log.into()),
        ("stays", stays.into()),
        ("afterwards", afterwards(plan).into()),
    ];
    let mut gone = Table::new(&["GOES FOR GOOD", "ID", "ROLE", "ADDRESS"], "no other members");
    for member in &plan.gone {
        gone.row(vec![
            Cell::new(member.name.as_str(), Tone::Bad),
            member.id.into(),
            member.role.as_str().into(),
            super::or_dash(&member.rpc_address),
        ]);
    }
    Page::new().fields(fields).table(gone)
}

/// What it came to.
pub(crate) fn done(plan: &Plan) -> Page {
    let gone: Vec<_> = plan.gone.iter().map(named).collect();
    Page::new()
        .fields(vec![("from", named(&plan.member).into()), ("now", afterwards(plan).into())])
        .line("start the member as before, and add others with `goproxyctl member add`")
        .line(format!("remove the data directories of {} wherever they are", gone.join(", ")))
}

fn named(member: &PlannedMember) -> String {
    format!("{} ({})", member.name, member.id)
}

fn afterwards(plan: &Plan) -> String {
    format!("recovery {}, index {} in term {}", plan.recovery, plan.new_index, plan.new_term)
}
