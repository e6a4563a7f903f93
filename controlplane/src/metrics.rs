//! Metrics of a control node, read when they are asked for.

use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::control::Control;
use crate::raft::Role;

/// Registers all; `registry` has their prefix.
pub(crate) fn register(registry: &mut Registry, control: &Arc<Control>) {
    registry.register_collector(Box::new(ControlCollector(Arc::clone(control))));
}

struct ControlCollector(Arc<Control>);

impl std::fmt::Debug for ControlCollector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ControlCollector")
    }
}

impl Collector for ControlCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let leadership = *self.0.raft.leadership().borrow();
        let halted = self.0.raft.halted().borrow().is_some();
        let (members, nodes, alarms, epoch) = self.0.shared.read(|state| {
            let tables = state.tables();
            let members = tables.members.values().filter(|member| member.state.is_in_group()).count();
            let nodes = tables.nodes.values().filter(|node| node.state.is_admitted()).count();
            let epoch = tables.transition.map_or(0, |transition| transition.current.get());
            (members, nodes, tables.alarms.len(), epoch)
        });
        let all: [(&str, &str, i64); 10] = [
            ("term", "Raft term", number(leadership.term)),
            ("leads", "1 while this member leads, else 0", i64::from(leadership.role == Role::Leader)),
            ("leader_known", "1 while a leader is known, else 0", i64::from(leadership.leader.is_some())),
            ("applied_index", "Last entry of the log that was applied", number(self.0.shared.applied())),
            (
                "disk_slow",
                "1 while the disk takes long to put writes of the log on stable storage, else 0",
                i64::from(self.0.disk.is_slow()),
            ),
            ("halted", "1 while this member takes part in nothing, else 0", i64::from(halted)),
            ("members", "Control nodes in the group", number(members as u64)),
            ("nodes", "Data nodes that have joined", number(nodes as u64)),
            ("alarms", "Alarms that are raised", number(alarms as u64)),
            ("layout_epoch", "Epoch of the layout in force", number(epoch)),
        ];
        for (name, help, value) in all {
            let gauge = ConstGauge::new(value);
            let metric = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
            gauge.encode(metric)?;
        }
        Ok(())
    }
}

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
