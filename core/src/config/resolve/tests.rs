//! A table of configurations and what is said of each.

mod edges;

use std::path::PathBuf;
use std::time::Duration;

use limpet_wire::report::IdleLimit;

use super::*;
use crate::api::http::Endpoint;

pub(in crate::config) const GOOD: &str = r#"
    [node]
    id = "node1"
    cluster = "shop"
    [listen]
    cluster = "10.0.0.1:4000"
    [tls]
    ca = "ca.pem"
    cert = "node1.pem"
    key = "node1.key"
"#;

/// A folder with the certificates of `node1` in `shop`, made once.
pub(in crate::config) fn folder() -> &'static Path {
    static FOLDER: std::sync::OnceLock<PathBuf> = std::sync::OnceLock::new();
    FOLDER.get_or_init(|| {
        let unique = format!("limpet-config-{}", std::process::id());
        let folder = std::env::temp_dir().join(unique);
        let _ = std::fs::remove_dir_all(&folder); // left behind by a process of the same number
        crate::pki::init(&folder, "shop").unwrap();
        crate::pki::issue(&folder, "node1", &[]).unwrap();
        crate::pki::issue(&folder, "node2", &[]).unwrap();
        folder
    })
}

fn problems(text: &str) -> Vec<String> {
    match resolve(text, folder()) {
        Ok(_) => Vec::new(),
        Err(Problems(problems)) => problems
            .into_iter()
            .map(|p| format!("{}: {}", p.key, p.sentence))
            .collect(),
    }
}

#[test]
fn the_least_there_can_be_has_the_documented_defaults() {
    let config = resolve(GOOD, folder()).unwrap();
    assert_eq!(config.membership.drop_time, Duration::from_secs(3));
    assert_eq!(config.replication.queue_bytes, 64 << 20);
    assert_eq!(config.session.max_inactive, IdleLimit::Millis(1_800_000));
    assert_eq!(
        config.listen.api,
        [Endpoint::Tcp("127.0.0.1:4180".parse().unwrap())]
    );
}

#[test]
fn every_problem_is_reported_at_once_with_its_place() {
    let text = r#"
        [node]
        cluster = "shop"
        colour = "red"
        [listen]
        cluster = "0.0.0.0:4000"
        api = ["localhost"]
        [tls]
        ca = "missing.pem"
        [membership]
        seeds = ["10.0.0.2"]
        drop_time = "soon"
        [[worker]]
        route = "a"
        url = "http://10.0.0.1:8080"
        [[worker]]
        route = "a"
        url = "10.0.0.1"
        weight = 0
        [replication]
        mode = "magic"
        ack = "most"
        queue_bytes = 64
        replicate = ["cart", "(user"]
        [session]
        max_active = 0
        [log]
        level = "loud"
        [surprise]
    "#;
    let found = problems(text);
    let keys: Vec<_> = found.iter().filter_map(|line| line.split(": ").next()).collect();
    let expected = [
        "listen.api[0]",
        "listen.cluster",
        "log.level",
        "membership.drop_time",
        "membership.seeds[0]",
        "node.colour",
        "node.id",
        "replication.ack",
        "replication.mode",
        "replication.queue_bytes",
        "replication.replicate[1]",
        "session.max_active",
        "surprise",
        "tls.ca",
        "tls.cert",
        "tls.key",
        "worker[1].route",
        "worker[1].url",
        "worker[1].weight",
    ];
    assert_eq!(keys, expected, "{found:#?}");
}

#[test]
fn an_open_api_wants_a_token() {
    let open = GOOD.replace("[tls]", "api = [\"10.0.0.1:4180\"]\n[tls]");
    assert_eq!(problems(&open).len(), 1);
}

#[test]
fn certificates_that_cannot_work_are_found_before_anything_starts() {
    for (from, to, key) in [
        ("\"ca.pem\"", "\"node1.key\"", "tls.ca"),
        ("\"node1.pem\"", "\"node1.key\"", "tls.cert"),
        ("\"node1.pem\"", "\"node2.pem\"", "tls.cert"),
        ("\"node1.key\"", "\"node2.key\"", "tls.cert"),
        ("\"node1.key\"", "\"ca.pem\"", "tls.key"),
        ("\"shop\"", "\"bank\"", "tls.cert"),
    ] {
        let found = problems(&GOOD.replace(from, to));
        assert!(
            found.len() == 1 && found[0].starts_with(key),
            "{from} for {to}: {found:?}"
        );
    }
}

#[test]
fn where_hints_go() {
    let multicast = |lines: &str| problems(&format!("{GOOD}\n[membership.multicast]\n{lines}"));
    for good in [
        "address = \"228.0.0.4:45564\"",
        "address = \"239.255.0.1:1\"\ninterface = \"10.0.0.1\"",
    ] {
        assert_eq!(multicast(good), Vec::<String>::new(), "{good}");
    }
    for (bad, key) in [
        ("", "membership.multicast.address"),
        ("address = \"10.0.0.1:45564\"", "membership.multicast.address"),
        ("address = \"228.0.0.4\"", "membership.multicast.address"),
        ("address = \"228.0.0.4:0\"", "membership.multicast.address"),
        ("address = \"[ff02::1]:1\"", "membership.multicast.address"),
        (
            "address = \"228.0.0.4:45564\"\ninterface = \"eth0\"",
            "membership.multicast.interface",
        ),
    ] {
        let found = multicast(bad);
        assert!(found.len() == 1 && found[0].starts_with(key), "{bad}: {found:?}");
    }
    let nowhere = GOOD.replace("[tls]", "[membership]\ndns = \"cluster.internal\"\n[tls]");
    assert_eq!(problems(&nowhere).len(), 1, "a port is missing");
}
