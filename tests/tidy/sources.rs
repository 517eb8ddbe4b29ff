//! Rules for source files: every one opens with its page, nothing is left half done, arrows go one way.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use limpet_tests::programs::workspace;

/// Folders that hold our sources; `target` is none of them.
const ROOMS: [&str; 4] = ["core", "filters", "host", "tests"];

/// Rooms of the core that must not know each other.
const SIBLINGS: [&str; 4] = ["membership", "replication", "store", "net"];

/// Past this a file probably hides a second noun: it is named, and people judge.
const LINES_MUCH: usize = 500;
/// Past this it certainly does.
const LINES_MAX: usize = 800;

pub fn sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for room in ROOMS {
        collect(&workspace().join(room), &mut found);
    }
    assert!(
        found.len() > 20,
        "only {} source files found; the rooms have moved",
        found.len()
    );
    found
}

fn collect(dir: &Path, found: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(dir).unwrap_or_else(|e| panic!("cannot read {}: {e}", dir.display())) {
        let path = entry.expect("a directory entry").path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            let text = fs::read_to_string(&path).expect("sources are UTF-8");
            found.push((path, text));
        }
    }
}

fn named(path: &Path) -> String {
    path.strip_prefix(workspace())
        .unwrap_or(path)
        .display()
        .to_string()
}

#[test]
fn every_file_opens_with_its_page() {
    let without: Vec<_> = sources()
        .iter()
        .filter(|(_, text)| !text.starts_with("//! "))
        .map(|(path, _)| named(path))
        .collect();
    assert!(without.is_empty(), "these do not say what they are: {without:#?}");
}

#[test]
fn nothing_is_left_half_done() {
    // Written in two parts, so that this file does not contain them.
    let words = [
        ["todo", "!("],
        ["unimpl", "emented!("],
        ["#[ign", "ore"],
        ["FIX", "ME"],
        ["XX", "X:"],
    ];
    let mut left = Vec::new();
    for (path, text) in sources() {
        for word in &words {
            let word = word.concat();
            left.extend(
                text.match_indices(&word)
                    .map(|(at, _)| format!("{}:{} {word}", named(&path), text[..at].lines().count())),
            );
        }
    }
    assert!(left.is_empty(), "{left:#?}");
}

#[test]
fn no_file_hides_a_second_noun() {
    let long: Vec<_> = sources()
        .iter()
        .map(|(path, text)| (named(path), text.lines().count()))
        .filter(|(_, lines)| *lines > LINES_MUCH)
        .collect();
    println!("longer than {LINES_MUCH} lines: {long:#?}");
    let long: Vec<_> = long.into_iter().filter(|(_, lines)| *lines > LINES_MAX).collect();
    assert!(long.is_empty(), "longer than {LINES_MAX} lines: {long:#?}");
}

#[test]
fn rooms_of_the_core_do_not_know_their_siblings() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let name = named(&path);
        let Some(room) = SIBLINGS
            .iter()
            .find(|room| name.starts_with(&format!("core/src/{room}/")))
        else {
            continue;
        };
        let banned = SIBLINGS
            .iter()
            .filter(|other| *other != room)
            .chain(&["drivers", "api", "daemon", "config"]);
        for other in banned {
            if text.contains(&format!("crate::{other}")) {
                wrong.push(format!("{name} uses crate::{other}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_lowest_rooms_of_the_core_know_only_what_is_below() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let name = named(&path);
        let allowed: &[&str] = match name.strip_prefix("core/src/") {
            Some(rest) if rest.starts_with("base/") => &["base"],
            Some(rest) if rest.starts_with("session/") => &["base", "session"],
            _ => continue,
        };
        let uses = text
            .match_indices("crate::")
            .map(|(at, found)| &text[at + found.len()..]);
        for used in uses.map(|rest| {
            rest.split(|c: char| !c.is_alphanumeric() && c != '_')
                .next()
                .unwrap_or_default()
        }) {
            if !used.is_empty() && !allowed.contains(&used) {
                wrong.push(format!("{name} uses crate::{used}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn pure_rooms_have_no_clock_sockets_or_tasks() {
    let banned = [
        "tokio::",
        "std::net::Tcp",
        "std::net::Udp",
        "SystemTime::now",
        "Instant::now",
        "std::fs",
    ];
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let name = named(&path);
        let pure = [
            "core/src/session/",
            "core/src/membership/",
            "core/src/replication/",
        ];
        if pure.iter().any(|room| name.starts_with(room)) || name.ends_with("/decide.rs") {
            wrong.extend(
                banned
                    .iter()
                    .filter(|word| text.contains(**word))
                    .map(|word| format!("{name}: {word}")),
            );
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A metric has one home: the file that defines it. Filters of both kinds run in one process, so theirs count too.
#[test]
fn metric_names_are_unique() {
    let mut homes: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (path, text) in sources() {
        let name = named(&path);
        if name.starts_with("tests/") || name.contains("/tests/") {
            continue;
        }
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        let mut here: Vec<_> = code
            .split('"')
            .skip(1)
            .step_by(2)
            .filter(|literal| literal.starts_with("limpet_") && !literal.contains(char::is_whitespace))
            .map(|literal| literal.split('{').next().unwrap_or_default().to_owned())
            .filter(|literal| {
                ["_total", "_seconds", "_bytes"]
                    .iter()
                    .any(|end| literal.ends_with(end))
            })
            .collect();
        here.sort();
        here.dedup();
        for metric in here {
            homes.entry(metric).or_default().push(name.clone());
        }
    }
    homes.retain(|_, files| files.len() > 1);
    assert!(homes.is_empty(), "defined in more than one file: {homes:#?}");
}
