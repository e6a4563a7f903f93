//! Clusters: control nodes, data nodes and goproxyctl.

mod clocks;
mod credentials;
mod data_nodes;
mod disks;
mod exposure;
mod members;
mod pages;
mod standalone;
