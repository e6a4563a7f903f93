//! Private prefixes: never named to an origin or a database, and never 404 or 410, which would send the go command,
//! and with it the name, to the next proxy.

use tests::bed::{assert_error, shapes};
use tests::{Bed, Module, Proxy};

#[test]
fn private_modules_are_named_to_nobody_and_never_said_not_to_exist() {
    let bed = Bed::new();
    let private = Module::new("corp.example.com/Team/secret", "v1.0.0");
    bed.origin.publish(&private);
    bed.origin.set_latest(&private);
    let public = bed.module("example.com/public", "v1.0.0");
    let settings = bed.settings().flag("--private", "corp.example.com,*.internal.example.com/x").allow_all();
    let proxy = Proxy::start(&settings);
    let mut paths = shapes(&private);
    paths.push("/corp.example.com/!team/secret/@v/main.info".to_owned());
    paths.push("/corp.example.com/absent/@v/v1.0.0.mod".to_owned());
    paths.push("/a.internal.example.com/x/y/@v/list".to_owned());
    for path in &paths {
        let answer = proxy.get(path);
        assert!([403, 503].contains(&answer.status), "{path}: {} {}", answer.status, answer.text());
        assert_error(&answer);
    }
    let lookup = proxy.get("/sumdb/sum.test/lookup/corp.example.com/!team/secret@v1.0.0");
    assert!(lookup.status >= 400);
    let named: Vec<_> =
        bed.origin.seen().into_iter().filter(|seen| seen.path.contains("corp.example")).collect();
    assert!(named.is_empty(), "{named:?}");
    assert!(!proxy.admin_get("/metrics").text().contains("corp.example.com"));
    assert!(
        !proxy.log().lines().any(|line| line.contains("secret") && !line.contains("\"target\":\"access\""))
    );
    bed.client(&proxy).download(&[&public.spec()]).success();
}
