//! How long files are. The figures are printed for people to judge; only the longest is a rule.

use crate::sources::sources;

/// Past this a file probably hides a second noun: it is named, and people judge.
const LINES_MUCH: usize = 400;
/// Past this it certainly does.
const LINES_MAX: usize = 500;

#[test]
fn no_file_hides_a_second_noun() {
    let mut all: Vec<_> = sources()
        .into_iter()
        .map(|source| (source.text.lines().count(), source.name))
        .collect();
    all.sort();
    for part in ["core/", "filters/", "host/", "tests/", ""] {
        let lengths: Vec<_> = all
            .iter()
            .filter(|(_, name)| name.starts_with(part))
            .map(|(lines, _)| *lines)
            .collect();
        let of = |share: usize| lengths[(lengths.len() - 1) * share / 100];
        println!(
            "{:<9} {:>4} files, lines: median {:>3}, 90th percentile {:>3}, longest {:>3}",
            if part.is_empty() { "all" } else { part },
            lengths.len(),
            of(50),
            of(90),
            of(100)
        );
    }
    let long: Vec<_> = all.iter().filter(|(lines, _)| *lines > LINES_MUCH).collect();
    println!("longer than {LINES_MUCH} lines: {long:#?}");
    let long: Vec<_> = all.iter().filter(|(lines, _)| *lines > LINES_MAX).collect();
    assert!(long.is_empty(), "longer than {LINES_MAX} lines: {long:#?}");
}
