//! docs/PARITY.md answers for every row it has to, once, and what it names as proof exists.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use limpet_tests::programs::workspace;

use crate::sources::sources;

/// The rows: a letter, the first number and the last.
const ROWS: [(char, u32, u32); 11] = [
    ('A', 11, 16),
    ('E', 4, 4),
    ('E', 11, 12),
    ('F', 1, 17),
    ('G', 1, 12),
    ('H', 1, 26),
    ('I', 1, 34),
    ('K', 3, 4),
    ('L', 1, 9),
    ('M', 6, 6),
    ('N', 1, 8),
];

/// The cells of every row, by its name.
fn rows() -> BTreeMap<String, Vec<Vec<String>>> {
    let page = fs::read_to_string(workspace().join("docs/PARITY.md")).expect("docs/PARITY.md");
    let mut rows: BTreeMap<String, Vec<Vec<String>>> = BTreeMap::new();
    for line in page.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<_> = line
            .trim_matches('|')
            .split('|')
            .map(|cell| cell.trim().to_owned())
            .collect();
        let name = cells[0].clone();
        if name != "row" {
            rows.entry(name).or_default().push(cells);
        }
    }
    rows
}

#[test]
fn every_row_of_the_comparison_is_there_once() {
    let expected: BTreeSet<_> = ROWS
        .iter()
        .flat_map(|(letter, first, last)| (*first..=*last).map(move |n| format!("{letter}{n:02}")))
        .collect();
    let rows = rows();
    let found: BTreeSet<_> = rows.keys().cloned().collect();
    assert_eq!(found, expected);
    for (name, lines) in rows {
        assert_eq!(lines.len(), 1, "{name} is there {} times", lines.len());
        assert_eq!(lines[0].len(), 5, "{name} has a cell too few or too many");
    }
}

#[test]
fn every_row_of_the_comparison_is_proved_by_a_test_there_is_or_not_needed() {
    let all: String = sources().into_iter().map(|source| source.text).collect();
    let mut wrong = Vec::new();
    for (name, lines) in rows() {
        let (limpet, proofs) = (&lines[0][2], &lines[0][4]);
        let tests: Vec<_> = proofs.split('`').skip(1).step_by(2).collect();
        if tests.is_empty() && !limpet.starts_with("not needed") {
            wrong.push(format!("{name}: nothing proves it"));
        }
        for test in tests {
            if !all.contains(&format!("fn {test}(")) {
                wrong.push(format!("{name}: there is no test {test}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
