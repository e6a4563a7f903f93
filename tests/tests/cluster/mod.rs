//! Clusters: control nodes, data nodes and goproxyctl.

mod data_nodes;
mod members;
mod recovery;
mod standalone;
