//! Developers behind an address that keepalived moves from one balancer to another: no go command fails.

use std::time::{Duration, Instant};

use tests::developers::Developers;
use tests::floating::Floating;
use tests::process::eventually;
use tests::{Call, Network, Origin, twice};

use super::nodes::cluster_with;

#[test]
fn an_address_moves_between_balancers_and_no_go_command_fails() {
    // Without root there are no namespaces to be two machines.
    let Some(network) = Network::of(2) else { return };
    let origin = Origin::start();
    let here = network.here();
    let cluster = cluster_with(&origin, 2, |node| {
        // Reached from the other machines too, at the same port as here.
        let there = format!("{here}:{}", node.http().port());
        node.flag("--listen", &format!("{},{there}", node.http()));
        node.flag("--advertise", &there);
        node.allow("ask for no credentials and others can reach them");
    });
    let developers = Developers::new(4);
    developers.shelf().stock(&origin, "floating", 16);
    let mut floating = Floating::start(&cluster, &network);
    let proxy = twice(&format!("http://{}", floating.address()));
    developers.work(4, &[proxy], 1, || {
        developers.go_on(8, Duration::ZERO);
        // A machine is gone: what was sent to it is sent again, and the other one has the address by then.
        let lost = floating.holder(&network).expect("a holder");
        let gone = Instant::now();
        network.plug(lost, false);
        eventually("the other machine answers", || {
            let answer = Call::new(floating.address(), "GET", "/readyz").try_send();
            answer.is_ok_and(|answer| answer.status == 200).then_some(())
        });
        println!("a machine was lost: answered again after {:.1} s", gone.elapsed().as_secs_f64());
        developers.go_on(8, Duration::ZERO);
        network.plug(lost, true);
        let holder = eventually("one has the address", || floating.holder(&network));
        developers.go_on(8, Duration::ZERO);
        // Maintenance: nobody has to notice.
        floating.give_away(holder);
        developers.go_on(8, Duration::ZERO);
        assert_eq!(floating.holder(&network), Some(1 - holder));
    });
}
