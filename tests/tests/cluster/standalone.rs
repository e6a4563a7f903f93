//! One process with both planes.

use tests::process::eventually;
use tests::{Origin, Proxy, Settings};

#[test]
fn a_standalone_process_is_a_cluster_of_one() {
    let origin = Origin::start();
    let proxy = Proxy::start(&Settings::new(&origin));
    for file in ["ca.pem", "admin.token"] {
        eventually(file, || proxy.data_dir().join(file).exists().then_some(()));
    }
    eventually("its data node follows", || {
        (proxy.metric("goproxy_cluster_layout_epoch", "")? >= 1.0).then_some(())
    });
    let proxy = proxy.restart();
    eventually("its data node follows again", || {
        (proxy.metric("goproxy_cluster_control_connected", "")? >= 1.0).then_some(())
    });
}
