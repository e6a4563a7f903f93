//! Clusters: control nodes, data nodes and goproxyctl.

mod balanced;
mod data_nodes;
mod members;
mod nodes;
mod replication;
mod serving;
mod standalone;
