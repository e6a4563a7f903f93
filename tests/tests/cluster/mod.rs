//! Clusters: control nodes, data nodes and goproxyctl.

mod ailing;
mod bad_links;
mod balanced;
mod clocks;
mod credentials;
mod data_nodes;
mod disks;
mod exposure;
mod faults;
mod floating;
mod health;
mod hot_set;
mod kept;
mod late_copies;
mod members;
mod nodes;
mod pages;
mod publish_moves;
mod publishing;
mod recovery;
mod removal;
mod rendered;
mod replication;
mod serving;
mod standalone;
mod upkeep;
