//! What one node has verified of the checksum database helps whoever asks another one.

use tests::sumdb::Tamper;
use tests::{Bed, Cluster, GoClient, Node};

use super::nodes::{cluster_with, get};

fn cluster(bed: &Bed) -> Cluster {
    cluster_with(&bed.origin, 3, |node| {
        node.flag("--sumdb", &bed.sumdb.key());
        node.allow("checksum database");
    })
}

fn client(bed: &Bed, node: &Node) -> GoClient {
    GoClient::new(&format!("http://{}", node.http()), &bed.sumdb.key())
}

#[test]
fn a_record_that_one_node_holds_is_served_by_all_when_the_database_is_down() {
    let bed = Bed::new();
    let module = bed.module("example.com/known", "v1.0.0");
    let mut cluster = cluster(&bed);
    client(&bed, &cluster.data[0]).download(&[&module.spec()]).success();
    bed.sumdb.tamper(Tamper::Down);
    for node in &mut cluster.data {
        // What was passed on in the last minute is kept in memory.
        assert!(node.terminate().success());
    }
    for node in &mut cluster.data {
        node.allow("cannot be reached");
        node.start(&[]);
    }
    for node in &mut cluster.data {
        node.wait_ready();
    }
    for node in &cluster.data {
        client(&bed, node).download(&[&module.spec()]).success();
    }
}

/// A balancer spreads what belongs together: the record comes from one node and the tiles that prove it from another.
#[test]
fn tiles_of_a_head_that_one_node_has_come_from_all() {
    let bed = Bed::new();
    bed.sumdb.pad(300);
    let cluster = cluster(&bed);
    let name = bed.sumdb.name();
    for round in 0..3 {
        for node in &cluster.data {
            // From now on it asks for no other one for a while.
            get(node, &format!("/sumdb/{name}/latest")).expect(200);
        }
        let module = bed.module("example.com/new", &format!("v1.{round}.0"));
        bed.sumdb.pad(10);
        let lookup = format!("/sumdb/{name}/lookup/{}", module.spec());
        let record = get(&cluster.data[round], &lookup).expect(200).text();
        let head = record.split("go.sum database tree\n").nth(1).expect("a tree head");
        let size: u64 = head.lines().next().unwrap().parse().expect("its size");
        let tile = format!("/sumdb/{name}/tile/8/0/{:03}.p/{}", size / 256, size % 256);
        for node in &cluster.data {
            get(node, &tile).expect(200);
        }
    }
}
