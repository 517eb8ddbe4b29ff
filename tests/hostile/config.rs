//! Nonsense in configuration files: exit 64 with every problem and its key path, before any port is bound.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

use limpet_tests::cluster::Site;
use limpet_tests::programs::ours;
use limpet_tests::proxy::HostPlan;

/// What is replaced in a good file, by what, and what the complaint must name.
type Row = (&'static str, &'static str, &'static str);

const CORE: &[Row] = &[
    ("id = \"a\"", "id = \"\"", "node.id"),
    ("id = \"a\"", "id = 5", "node.id"),
    ("id = \"a\"", "", "node.id"),
    ("[node]", "[noode]", "noode"),
    (
        "cluster = \"bad\"",
        "cluster = \"bad\"\ncolour = \"red\"",
        "node.colour",
    ),
    ("seeds = []", "seeds = [\"nowhere\"]", "membership.seeds"),
    (
        "seeds = []",
        "probe_interval = \"500\"",
        "membership.probe_interval",
    ),
    ("seeds = []", "drop_time = \"later\"", "membership.drop_time"),
    ("/a.pem\"", "/absent.pem\"", "tls.cert"),
    ("ca.pem\"", "a.key\"", "tls.ca"),
    (
        "[membership]",
        "[replication]\nmode = \"sideways\"\n[membership]",
        "replication.mode",
    ),
    (
        "[membership]",
        "[replication]\nack = \"most\"\n[membership]",
        "replication.ack",
    ),
    (
        "[membership]",
        "[replication]\nqueue_bytes = \"64 parsecs\"\n[membership]",
        "replication.queue_bytes",
    ),
    (
        "[membership]",
        "[session]\nmax_inactive = \"-3m\"\n[membership]",
        "session.max_inactive",
    ),
    (
        "[membership]",
        "[[worker]]\nroute = \"w\"\nurl = \"ftp://127.0.0.1:1\"\n[membership]",
        "url",
    ),
    (
        "[membership]",
        "[[worker]]\nurl = \"http://127.0.0.1:1\"\n[membership]",
        "route",
    ),
    ("api = [\"127.0.0.1:", "api = [\"0.0.0.0:", "listen.api"),
    ("[listen]", "[listen]\nautobind = -1", "listen.autobind"),
    (
        "seeds = []",
        "seeds = []\ndrop_time = \"0s\"",
        "membership.drop_time",
    ),
    (
        "[membership]",
        "[replication]\nqueue_bytes = \"0B\"\n[membership]",
        "replication.queue_bytes",
    ),
    (
        "[membership]",
        "[session]\nmax_active = 0\n[membership]",
        "session.max_active",
    ),
    ("[tls]", "[tls", "line"),
];

const HOST: &[Row] = &[
    ("bind = \"127.0.0.1:", "bind = \"localhost-", "bind"),
    ("[[listener]]", "[[listner]]", "listner"),
    ("workers = \"core\"", "workers = \"somewhere\"", "workers"),
    ("workers = \"core\"", "workers = [{ route = \"a\" }]", "url"),
    ("balance = \"byrequests\"", "balance = \"bymood\"", "balance"),
    ("cluster = \"app\"", "cluster = \"nap\"", "cluster"),
    (
        "module = \"sticky_router\"",
        "module = \"/nowhere/x.wasm\"",
        "module",
    ),
    ("module = \"sticky_router\"", "modul = \"sticky_router\"", "modul"),
    ("url = \"unix:", "url = \"gopher:", "core.url"),
];

fn replaced(good: &str, (from, to, _): &Row) -> String {
    assert!(good.contains(from), "the good file has no {from}");
    good.replacen(from, to, 1)
}

fn run(program: &str, command: &str, file: &Path) -> Output {
    Command::new("timeout")
        .arg("10")
        .arg(ours(program))
        .args([command, "--config"])
        .arg(file)
        .output()
        .expect("it runs")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

/// Runs `check` and `run` with a file; what is wrong with how they took it.
fn refused(program: &str, dir: &Path, text: &str, names: &[&str]) -> Vec<String> {
    let file = dir.join("bad.toml");
    fs::write(&file, text).expect("a file in the test's directory");
    let mut wrong = Vec::new();
    for command in ["check", "run"] {
        let output = run(program, command, &file);
        let complaint = said(&output);
        let missing: Vec<_> = names.iter().filter(|name| !complaint.contains(**name)).collect();
        let port_tried = complaint.to_lowercase().contains("in use");
        let right = output.status.code() == Some(64) && missing.is_empty();
        if !right || port_tried || complaint.contains("panicked") {
            wrong.push(format!(
                "{program} {command}: {}, missing {missing:?}, said: {complaint}",
                output.status
            ));
        }
    }
    wrong
}

fn assert_all_refused(program: &str, dir: &Path, good: &str, rows: &[Row]) {
    let mut wrong = Vec::new();
    for row in rows {
        for problem in refused(program, dir, &replaced(good, row), &[row.2]) {
            wrong.push(format!("{} -> {}\n{problem}", row.0, row.1));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The ports of a file, taken, so that binding one would be noticed.
fn taken(addrs: &[&str]) -> Vec<TcpListener> {
    addrs
        .iter()
        .map(|addr| TcpListener::bind(addr).expect("a free port"))
        .collect()
}

#[test]
fn every_bad_core_file_is_refused_by_key_path() {
    let site = Site::new("bad", &[], &["a"]);
    let node = site.node("a");
    let good = site.toml("a");
    let file = site.scratch.join("good.toml");
    fs::write(&file, &good).expect("a file in the test's directory");
    let output = run("limpet-core", "check", &file);
    assert!(
        output.status.success(),
        "the good file is refused: {}",
        said(&output)
    );

    let _ports = taken(&[&node.cluster, &node.api]);
    assert_all_refused("limpet-core", site.scratch.path(), &good, CORE);
}

#[test]
fn every_problem_of_a_core_file_is_named_at_once() {
    let site = Site::new("bad", &[], &["a"]);
    let rows = [&CORE[0], &CORE[4], &CORE[5], &CORE[8], &CORE[10]];
    let bad = rows.iter().fold(site.toml("a"), |text, row| replaced(&text, row));
    let names: Vec<_> = rows.iter().map(|row| row.2).collect();
    assert_eq!(
        refused("limpet-core", site.scratch.path(), &bad, &names),
        Vec::<String>::new()
    );
}

#[test]
fn every_bad_host_file_is_refused_by_key_path() {
    let site = Site::new("bad", &[], &["a"]);
    let plan = HostPlan::new(&site.node("a").socket_url());
    let good = plan.toml();
    let file = site.scratch.join("good-host.toml");
    fs::write(&file, &good).expect("a file in the test's directory");
    let output = run("limpet-host", "check", &file);
    assert!(
        output.status.success(),
        "the good file is refused: {}",
        said(&output)
    );

    let _ports = taken(&[&plan.listen]);
    assert_all_refused("limpet-host", site.scratch.path(), &good, HOST);
}

#[test]
fn every_problem_of_a_host_file_is_named_at_once() {
    let site = Site::new("bad", &[], &["a"]);
    let rows = [&HOST[0], &HOST[4], &HOST[8]];
    let bad = rows
        .iter()
        .fold(HostPlan::new("unix:/nowhere").toml(), |text, row| {
            replaced(&text, row)
        });
    let names: Vec<_> = rows.iter().map(|row| row.2).collect();
    assert_eq!(
        refused("limpet-host", site.scratch.path(), &bad, &names),
        Vec::<String>::new()
    );
}

#[test]
fn a_file_that_is_not_there_is_said_so() {
    for program in ["limpet-core", "limpet-host"] {
        let output = run(program, "check", Path::new("/nowhere/limpet.toml"));
        assert_eq!(output.status.code(), Some(64), "{}", said(&output));
        assert!(
            said(&output).contains("/nowhere/limpet.toml"),
            "{}",
            said(&output)
        );
    }
}
