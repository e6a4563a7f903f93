//! Depths of addresses, and who may lead to them.

use super::*;

fn reach(url: &str) -> Reach {
    Reach::new(&url.parse().unwrap(), Arc::new([]))
}

fn addresses(ips: &[&str]) -> Vec<SocketAddr> {
    ips.iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), 0)).collect()
}

#[test]
fn depths_are_told_in_every_form_of_an_address() {
    for (depth, ips) in [
        (
            Depth::LinkLocal,
            &["169.254.169.254", "fe80::1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe"][..],
        ),
        (
            Depth::Loopback,
            &["127.0.0.1", "127.9.9.9", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1", "::7f00:1"],
        ),
        (
            Depth::Private,
            &["10.0.0.1", "172.31.0.1", "192.168.1.1", "100.64.0.1", "fd00::1", "fec0::1", "2002:a00:1::"],
        ),
        (Depth::Public, &["192.0.2.1", "172.32.0.1", "100.128.0.1", "2001:db8::1", "64:ff9b::808:808"]),
    ] {
        for ip in ips {
            assert_eq!(Depth::of(ip.parse().unwrap()), depth, "{ip}");
        }
    }
}

#[test]
fn an_origin_leads_no_further_inward_than_it_is_itself() {
    for (own, permitted) in [("192.0.2.1", 1), ("10.0.0.1", 2), ("127.0.0.1", 3)] {
        let reach = reach("https://mirror.example/");
        assert!(reach.usable("mirror.example", addresses(&[own])).is_ok());
        let others = ["192.0.2.9", "10.9.9.9", "127.0.0.1", "169.254.169.254"];
        let mixed = reach.usable("zips.example", addresses(&others)).unwrap();
        assert_eq!(mixed, addresses(&others[..permitted]), "{own}");
        for (number, other) in others.iter().enumerate() {
            let usable = reach.usable("zips.example", addresses(&[other]));
            assert_eq!(usable.is_ok(), number < permitted, "{own} to {other}: {usable:?}");
            let url = format!("http://{other}/").parse().unwrap();
            assert_eq!(reach.permits(&url), number < permitted, "{own} to {url}");
        }
    }
}

#[test]
fn a_name_that_is_turned_inward_gains_nothing() {
    for scheme in ["http", "https"] {
        let reach = reach(&format!("{scheme}://mirror.example/"));
        assert!(reach.usable("mirror.example", addresses(&["192.0.2.1"])).is_ok());
        // A certificate is asked for whatever is there; without one, it is not.
        let turned = reach.usable("Mirror.example", addresses(&["127.0.0.1"]));
        assert_eq!(turned.is_ok(), scheme == "https", "{turned:?}");
        assert!(reach.usable("zips.example", addresses(&["10.0.0.1"])).is_err());
        assert!(reach.usable("mirror.example", addresses(&["192.0.2.2", "10.0.0.1"])).is_ok());
    }
    assert!(matches!(
        reach("http://a.example/").usable("a.example", addresses(&["169.254.169.254"])),
        Err(Unusable::LinkLocal(_))
    ));
}

#[test]
fn a_proxy_of_the_environment_may_be_anywhere() {
    let variables = [("HTTPS_PROXY", "proxy.corp:3128"), ("all_proxy", "http://me:pw@Other.corp/")];
    let value = |name: &str| variables.iter().find(|(have, _)| *have == name).map(|(_, v)| (*v).to_owned());
    let proxies = proxies_of(value);
    assert_eq!(*proxies, ["proxy.corp", "other.corp"]);
    let reach = Reach::new(&"https://mirror.example/".parse().unwrap(), proxies);
    assert!(reach.usable("proxy.corp", addresses(&["127.0.0.1"])).is_ok());
    // What the proxy resolves is its own business, but for what it would take for this machine or its own.
    for (url, permitted) in [
        ("http://zips.example/", true),
        ("http://10.0.0.1/", true),
        ("http://localhost/", false),
        ("http://127.0.0.1/", false),
        ("http://169.254.169.254/", false),
    ] {
        assert_eq!(reach.permits(&url.parse().unwrap()), permitted, "{url}");
    }
}

#[tokio::test]
async fn names_are_resolved_as_usual() {
    let reach = Arc::new(reach("http://localhost:1/"));
    let resolver = Resolver { reach, lookup: Arc::new(System) };
    let found = resolver.resolve("localhost".parse().unwrap()).await.unwrap();
    assert!(found.into_iter().all(|address| address.ip().is_loopback()));
}
