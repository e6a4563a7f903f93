//! Copies that come later than whoever fetches waits for them: an origin is asked first, and they are served when it has nothing, or when
//! there is none to ask.

use std::time::Duration;

use tests::fault_proxy::Spoil;
use tests::{Module, Node, Origin};

use super::nodes::{cluster, cluster_behind_proxies, get, metric, owners, strangers};

/// How far away the replica is that has copies: farther than is waited for at first, and near enough for a connection to be made. What
/// it sends one after the other is under way together, so that an answer over a new connection takes twice as long, not once for each piece:
/// it has to begin within 1.5 s, on a busy machine too.
const FAR: Spoil = Spoil::Narrow(100_000_000, Duration::from_millis(320));
const FILES: [&str; 3] = [".info", ".mod", ".zip"];

/// Serves what an owner does not hold, and another replica that is far away from it does, when the origin has lost it for the owner.
fn is_served_from_afar(lose: impl FnOnce(&Origin, &[Module], &mut Node)) {
    let origin = Origin::start();
    let modules = ["v1.0.0", "v1.1.0"].map(|version| Module::new("example.com/late", version).filler(20_000));
    for module in &modules {
        origin.publish(module);
    }
    let (mut cluster, proxies) = cluster_behind_proxies(&origin, 4);
    let (holders, stranger) = (owners(&cluster, &modules[0]), strangers(&cluster, &modules[0])[0]);
    let (owner, other) = (holders[0], holders[1]);
    for node in &mut cluster.data {
        node.allow("cannot be reached");
        node.allow("origin");
    }
    // What is fetched while the owner is away, it does not have.
    cluster.data[owner].kill9();
    for path in modules.iter().flat_map(|module| FILES.map(|suffix| module.url_path(suffix))) {
        get(&cluster.data[other], &path).expect(200);
    }
    lose(&origin, &modules, &mut cluster.data[owner]);
    proxies[other].spoil(FAR);
    cluster.data[owner].start(&[]);
    cluster.data[owner].wait_ready();
    // At once, before it takes copies: by the owner itself, and by a node that asks it.
    std::thread::scope(|scope| {
        for (module, node) in modules.iter().zip([owner, stranger]) {
            let node = &cluster.data[node];
            for suffix in FILES {
                scope.spawn(move || {
                    let answer = get(node, &module.url_path(suffix)).expect(200);
                    assert!(suffix != ".zip" || answer.body == module.zip(), "{}", module.spec());
                });
            }
        }
    });
}

#[test]
fn what_an_origin_has_no_more_is_served_by_a_replica_that_is_far_away() {
    is_served_from_afar(|origin, modules, _| {
        for path in modules.iter().flat_map(|module| FILES.map(|suffix| module.url_path(suffix))) {
            origin.remove_file(&path);
        }
    });
}

#[test]
fn while_an_origin_is_gone_a_replica_that_is_far_away_serves() {
    is_served_from_afar(|origin, _, _| origin.down());
}

#[test]
fn where_nothing_is_fetched_a_replica_that_is_far_away_serves() {
    is_served_from_afar(|_, _, owner| owner.flag("--upstream", "off"));
}

/// An owner that fetches nothing has no list of its own, and what follows from its zips alone is not what there is.
#[test]
fn where_nothing_is_fetched_a_list_comes_from_whoever_heard_it() {
    let origin = Origin::start();
    let module = Module::new("example.com/listed", "v1.0.0");
    origin.publish(&module);
    let mut cluster = cluster(&origin, 3);
    let holders = owners(&cluster, &module);
    let (owner, other) = (holders[0], holders[1]);
    for node in &mut cluster.data {
        node.allow("cannot be reached");
    }
    cluster.data[owner].kill9();
    let list = "/example.com/listed/@v/list";
    let heard = get(&cluster.data[other], list).expect(200).text();
    // What nobody holds is not listed where nothing is fetched.
    get(&cluster.data[other], &module.url_path(".zip")).expect(200);
    let node = &mut cluster.data[owner];
    node.flag("--upstream", "off");
    node.start(&[]);
    node.wait_ready();
    assert_eq!(get(&cluster.data[owner], list).expect(200).text(), heard);
    assert_eq!(origin.count(list), 1);
}

#[test]
fn a_replica_that_has_said_that_it_holds_none_is_not_asked_again() {
    let origin = Origin::start();
    let module = Module::new("example.com/nowhere", "v1.0.0");
    let cluster = cluster(&origin, 3);
    let owner = &cluster.data[owners(&cluster, &module)[0]];
    let refused = || metric(owner.admin(), r#"goproxy_peer_requests_total{outcome="refused"}"#);
    let before = refused();
    get(owner, &module.url_path(".mod")).expect(404);
    assert_eq!(refused() - before, 2);
    assert_eq!(origin.count(&module.url_path(".mod")), 1);
}
