//! Tests of the configuration: files, and the problems reported for each.

use std::path::Path;

use super::*;

const GOOD: &str = r#"
[[listener]]
bind = "127.0.0.1:0"
[core]
url = "unix:/run/limpet/core.sock"
[[cluster]]
name = "app"
workers = "core"
balance = "byrequests"
[[cluster]]
name = "list"
workers = [{ route = "node1", url = "http://127.0.0.1:8080", weight = 2 }]
[[route]]
prefix = "/"
cluster = "app"
[[route]]
prefix = "/static/"
cluster = "list"
"#;

fn problems(text: &str) -> Vec<String> {
    match Config::parse(text, Path::new(".")) {
        Ok(_) => Vec::new(),
        Err(error) => error.0.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn a_good_one_has_defaults() {
    let config = Config::parse(GOOD, Path::new(".")).unwrap();
    assert_eq!(config.listeners.len(), 1);
    assert_eq!(
        config.routes[0].prefix, "/static/",
        "the longest prefix comes first"
    );
    assert_eq!(config.clusters[1].attempts, 4);
    assert!(config.server.threads >= 1);
    assert!(matches!(config.core, Some(Endpoint::Unix(_))));
}

#[test]
fn every_problem_at_once_each_with_its_key() {
    let text = r#"
        colour = "red"
        [[listener]]
        bind = "nowhere"
        [server]
        threads = 0
        drain = "soon"
        [[cluster]]
        name = "app"
        workers = [{ route = "a", url = "http://127.0.0.1:1" }, { url = "ftp://x", weight = "much" }]
        balance = "luck"
        [[cluster]]
        name = "app"
        workers = "core"
        [[route]]
        prefix = "x"
        cluster = "none"
        [[filter]]
        module = "absent.wasm"
        memory = "64"
        on_failure = "maybe"
    "#;
    let found = problems(text);
    let keys = [
        "colour: is not known here",
        "listener[0].bind: \"nowhere\"",
        "server.threads: 0",
        "server.drain: \"soon\"",
        "cluster[0].workers[1].route: is missing",
        "cluster[0].workers[1].url: ",
        "cluster[0].workers[1].weight: expected a whole number, found string",
        "cluster[0].balance: \"luck\"",
        "cluster[1].name: there are two",
        "cluster[1].workers: \"core\" needs a [core]",
        "route[0].prefix: \"x\"",
        "route[0].cluster: there is no cluster named \"none\"",
        "filter[0].module: ",
        "filter[0].memory: \"64\"",
        "filter[0].on_failure: \"maybe\"",
    ];
    for key in keys {
        assert!(
            found.iter().any(|line| line.starts_with(key)),
            "{key} is not in {found:#?}"
        );
    }
    assert_eq!(found.len(), keys.len(), "{found:#?}");
}

#[test]
fn text_that_is_no_toml_names_the_line() {
    let found = problems("[[listener]\n");
    assert!(found[0].contains("line 1"), "{found:?}");
}

#[test]
fn what_is_missing_altogether() {
    let found = problems("");
    assert!(
        found.iter().any(|line| line.starts_with("listener: ")),
        "{found:?}"
    );
    assert!(found.iter().any(|line| line.starts_with("route: ")), "{found:?}");
}
