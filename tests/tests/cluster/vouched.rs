//! What the checksum database lists otherwise stays away, whoever else still holds it.

use tests::process::eventually;
use tests::{Bed, Module};

use super::nodes::{cluster_with, get};

#[test]
fn what_one_node_found_to_be_wrong_is_not_taken_from_another_that_did_not() {
    let bed = Bed::new();
    let bad = Module::new("example.com/bad", "v1.0.0");
    let evil = bad.clone().file("evil.go", "package bad\n");
    bed.origin.publish(&bad);
    let zip = bad.url_path(".zip");
    bed.origin.set_file(&zip, evil.zip());
    let mut cluster = cluster_with(&bed.origin, 2, |node| {
        // One of them asks nobody.
        node.flag("--sumdb", &if node.name() == "data-2" { "off".to_owned() } else { bed.sumdb.key() });
    });
    cluster.data[0].allow("is not what the checksum database lists");
    cluster.data[0].allow("what another node sent is of no use");
    let (asking, believing) = (&cluster.data[0], &cluster.data[1]);
    assert!(get(believing, &zip).expect(200).body == evil.zip());
    bed.origin.set_file(&zip, bad.zip());
    // It takes what the other one has, and finds out when it asks.
    get(asking, &zip).expect(200);
    let mut others = 0;
    eventually("what it was lent is set aside", || {
        others += 1;
        let other = Module::new(&format!("example.com/other{others}"), "v1.0.0");
        bed.origin.publish(&other);
        get(asking, &other.url_path(".zip")).expect(200);
        (get(asking, &zip).expect(200).body == bad.zip()).then_some(())
    });
    // The other one has it still, and offers it.
    cluster.ctl(&["cache", "repair"]).code(0);
    assert!(get(asking, &zip).expect(200).body == bad.zip());
    assert!(get(believing, &zip).expect(200).body == evil.zip());
}
