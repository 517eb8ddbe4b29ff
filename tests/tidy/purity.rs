//! Pure rooms have no clock, no randomness, no tasks and no input or output; and the order of a hash map leaves none.

use crate::house::PURE;
use crate::sources::{Source, code_of, sources};

/// What only a shell may name, and what it would bring in.
const BANNED: [(&str, &str); 17] = [
    ("tokio", "tasks and sockets"),
    ("async fn", "tasks"),
    (".await", "tasks"),
    ("std::thread", "tasks"),
    ("std::net::Tcp", "sockets"),
    ("std::net::Udp", "sockets"),
    ("std::fs", "files"),
    ("std::env", "what the process was started with"),
    ("std::process", "other processes"),
    ("SystemTime::now", "a clock"),
    ("Instant::now", "a clock"),
    ("Utc::now", "a clock"),
    ("rand::rng(", "randomness"),
    ("thread_rng", "randomness"),
    ("rand::random", "randomness"),
    ("getrandom", "randomness"),
    ("SysRng", "randomness"),
];

/// Hash maps whose seed differs from run to run.
const HASHED: [&str; 2] = ["HashMap", "HashSet"];

fn pure() -> impl Iterator<Item = Source> {
    sources().into_iter().filter(|source| {
        PURE.iter().any(|room| source.name.starts_with(room))
            || source.name.ends_with("/decide.rs")
            || source.name.contains("/levels/")
    })
}

#[test]
fn pure_rooms_decide_and_do_nothing_else() {
    let mut wrong = Vec::new();
    let mut read = 0;
    for source in pure() {
        for (line, code) in source.product() {
            read += 1;
            let found = BANNED.iter().filter(|(word, _)| has_word(code, word));
            wrong.extend(found.map(|(word, what)| format!("{}:{line} {word}: {what}", source.name)));
        }
    }
    assert!(read > 5000, "only {read} lines are pure; the rooms have moved");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Where one is brought in, the same line or the one above says why its order reaches no output.
#[test]
fn a_hash_map_in_a_pure_room_says_why_its_order_does_not_matter() {
    let mut wrong = Vec::new();
    for source in pure() {
        let lines: Vec<_> = source.text.lines().collect();
        for (line, code) in source.product() {
            let names = code.contains("std::collections") && HASHED.iter().any(|kind| has_word(code, kind));
            let above = line.checked_sub(2).and_then(|at| lines.get(at)).copied();
            let said = [
                Some(lines[line - 1]),
                above.filter(|above| code_of(above).is_empty()),
            ]
            .into_iter()
            .flatten()
            .any(|text| {
                text.split_once("//")
                    .is_some_and(|(_, comment)| comment.contains("order"))
            });
            if names && !said {
                wrong.push(format!("{}:{line} {}", source.name, code.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Whether `word` stands there and is not the end of a longer name.
fn has_word(code: &str, word: &str) -> bool {
    code.match_indices(word)
        .any(|(at, _)| !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_'))
}

#[test]
fn a_word_is_no_part_of_another() {
    assert!(has_word("use tokio::net;", "tokio"));
    assert!(!has_word("let my_getrandom = 1;", "getrandom"));
}
