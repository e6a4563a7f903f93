//! Clusters: control nodes, data nodes and goproxyctl.

mod data_nodes;
mod health;
mod members;
mod recovery;
mod removal;
mod standalone;
