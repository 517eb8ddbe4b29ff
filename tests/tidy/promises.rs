//! What README.md promises: docs/TESTING.md says of each sentence which tests hold it, and those exist.

use std::fs;

use limpet_tests::programs::workspace;

use crate::sources::sources;

fn page(path: &str) -> String {
    fs::read_to_string(workspace().join(path)).unwrap_or_else(|e| panic!("cannot read {path}: {e}"))
}

/// The part of `text` below the heading `title`, up to the next one, as one line.
fn section(text: &str, title: &str) -> Vec<String> {
    let (_, below) = text.split_once(title).expect("the heading is there");
    let below = below.split("\n## ").next().unwrap_or_default();
    below.lines().map(str::to_owned).collect()
}

#[test]
fn every_promise_of_the_readme_is_held_by_tests_there_are() {
    let promised = section(&page("README.md"), "## What you can rely on\n").join(" ");
    let promised = promised.split_whitespace().collect::<Vec<_>>().join(" ");
    let rows = section(&page("docs/TESTING.md"), "## What README.md promises\n");
    let rows: Vec<_> = rows
        .iter()
        .filter(|line| line.starts_with("| "))
        .skip(1)
        .collect();
    let tests: String = sources().into_iter().map(|source| source.text).collect();
    let mut unheld = promised.clone();
    let mut wrong = Vec::new();
    for row in rows {
        let (promise, proofs) = row.trim_matches('|').split_once('|').expect("two cells");
        if !promised.contains(promise.trim()) {
            wrong.push(format!("README.md does not promise: {promise}"));
        }
        unheld = unheld.replace(&format!("- {}", promise.trim()), "");
        let named: Vec<_> = proofs.split('`').skip(1).step_by(2).collect();
        if named.is_empty() {
            wrong.push(format!("nothing holds: {promise}"));
        }
        let missing = named
            .iter()
            .filter(|test| !tests.contains(&format!("fn {test}(")));
        wrong.extend(missing.map(|test| format!("there is no test {test}")));
    }
    let (list, _) = unheld
        .split_once("What is not promised")
        .expect("the page says what it does not promise");
    wrong.extend(
        list.split("- ")
            .skip(1)
            .map(|promise| format!("no row for: {promise}")),
    );
    assert!(wrong.is_empty(), "{wrong:#?}");
}
