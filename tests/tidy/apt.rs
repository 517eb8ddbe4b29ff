//! `scripts/apt` against an apt-get made up for it: whose locks are held for a while, for ever, or that fails otherwise.

use std::fs;
use std::process::{Command, Output};

use limpet_tests::programs::workspace;
use limpet_tests::scratch::Scratch;

const HELD: &str = "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 1 (unattended-upgr)";

/// `scripts/apt update` with `tests/fixtures/apt/apt-get`, which does what `answers` say, one line of shell a call.
/// The number of its calls comes with the output.
fn run(name: &str, answers: &[&str], bound: &str) -> (Output, usize) {
    let scratch = Scratch::new(name);
    let (calls, lines) = (scratch.join("calls"), scratch.join("answers"));
    fs::write(&lines, answers.join("\n") + "\n").expect("a file in the test's directory");
    let made_up = workspace().join("tests/fixtures/apt");
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new(workspace().join("scripts/apt"))
        .arg("update")
        .env("PATH", format!("{}:{path}", made_up.display()))
        .env("CALLS", &calls)
        .env("ANSWERS", &lines)
        .env("LIMPET_APT_WAIT", bound)
        .env("LIMPET_APT_PAUSE", "0.05")
        .output()
        .expect("it runs");
    let called = fs::read_to_string(&calls).unwrap_or_default().lines().count();
    (output, called)
}

#[test]
fn a_lock_that_another_holds_is_waited_for() {
    let held = format!("echo '{HELD}' >&2; exit 100");
    let (output, calls) = run("apt-waits", &[&held, &held, "exit 0"], "300");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert_eq!(calls, 3, "{said}");
    assert_eq!(
        said.matches("waiting for it, 300 seconds at most").count(),
        1,
        "{said}"
    );
    assert!(said.contains("held by process 1"), "{said}");
}

#[test]
fn a_lock_that_is_never_given_back_is_a_failure_with_a_sentence() {
    let held = format!("echo '{HELD}' >&2; exit 100");
    let (output, _) = run("apt-gives-up", &[&held], "1");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(100), "{said}");
    assert!(said.contains("held apt's locks for 1 seconds"), "{said}");
}

#[test]
fn any_other_failure_of_apt_is_told_at_once() {
    let (output, calls) = run(
        "apt-fails",
        &["echo 'E: Unable to locate package x' >&2; exit 100"],
        "300",
    );
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), calls), (Some(100), 1), "{said}");
    assert!(said.contains("Unable to locate package x"), "{said}");
}
