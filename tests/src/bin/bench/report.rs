//! The page `docs/BENCHMARKS.md`: a section per row, and the goals beside them, reached or not.

use std::fmt::Write as _;
use std::process::Command;

/// What the figures are made of and where the remaining distances come from, in people's words.
const REMARKS: &str = include_str!("remarks.md");

/// What one row gave.
#[derive(Debug, Clone)]
pub struct Section {
    /// Markdown from its heading on.
    pub text: String,
    /// What was to be reached.
    pub goals: Vec<Goal>,
}

/// A limit on a figure, or on a ratio of two.
#[derive(Debug, Clone)]
pub struct Goal {
    /// In words, limit included.
    pub what: String,
    /// What was measured.
    pub reached: f64,
    /// Whether that is enough.
    pub met: bool,
}

impl Goal {
    /// `reached` may be `limit` and no more.
    pub fn at_most(what: &str, limit: f64, reached: f64) -> Self {
        Self {
            what: what.to_owned(),
            reached,
            met: reached <= limit,
        }
    }

    /// `reached` must be `limit` or more.
    pub fn at_least(what: &str, limit: f64, reached: f64) -> Self {
        Self {
            what: what.to_owned(),
            reached,
            met: reached >= limit,
        }
    }
}

impl Section {
    /// A row of which only a part was measured.
    pub fn nothing() -> Self {
        Self {
            text: String::new(),
            goals: Vec::new(),
        }
    }

    /// A row that was not measured.
    pub fn failed(name: &str) -> Self {
        Self {
            text: format!("## {name}\n\nFailed; its message is above."),
            goals: Vec::new(),
        }
    }
}

/// The middle one of some figures.
pub fn median(figures: impl IntoIterator<Item = f64>) -> f64 {
    percentile(figures, 50)
}

/// The figure that `percent` of all do not exceed.
pub fn percentile(figures: impl IntoIterator<Item = f64>, percent: usize) -> f64 {
    let mut all: Vec<_> = figures.into_iter().collect();
    all.sort_by(f64::total_cmp);
    let at = (all.len() * percent).div_ceil(100).max(1) - 1;
    all[at.min(all.len() - 1)]
}

/// The least of some figures.
pub fn least(figures: impl IntoIterator<Item = f64>) -> f64 {
    figures.into_iter().fold(f64::INFINITY, f64::min)
}

/// The greatest of some figures.
pub fn most(figures: impl IntoIterator<Item = f64>) -> f64 {
    figures.into_iter().fold(f64::NEG_INFINITY, f64::max)
}

/// The goals of some rows as a table.
pub fn goals(sections: &[Section]) -> String {
    let mut text = "\n## Goals\n\n| goal | reached | |\n|---|---:|---|\n".to_owned();
    for goal in sections.iter().flat_map(|section| &section.goals) {
        let verdict = if goal.met { "yes" } else { "not yet" };
        let _ = writeln!(text, "| {} | {:.2} | {verdict} |", goal.what, goal.reached);
    }
    text
}

/// The whole page; `busy` is what [`load_average`] was before anything was measured.
pub fn page(sections: &[Section], busy: &str) -> String {
    let mut text = format!(
        "# Benchmarks

Written by `make bench`; do not edit. Everything here was measured in one run on
{}.
Only ratios of one run mean anything: another machine, or another day, gives other figures.

What is measured has processor 0 to itself; the load, and everything that is only there to be talked to, shares
processor 1. CPU is user and system time of the measured processes over the work they did. Medians, of rounds that go
through all peers in turn where that is possible.
",
        machine(busy)
    );
    text.push_str(&goals(sections));
    for section in sections {
        let _ = write!(text, "\n{}\n", section.text.trim());
    }
    let _ = write!(text, "\n{}", REMARKS.trim_start());
    text
}

/// How many others wanted to run lately.
pub fn load_average() -> String {
    words(&std::fs::read_to_string("/proc/loadavg").unwrap_or_default(), 1)
}

/// Processors, kernel, and versions of the peers, as they call themselves.
fn machine(busy: &str) -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map(|rest| rest.trim_matches([' ', '\t', ':']));
    let kernel = first_line(Command::new("uname").arg("-sr"));
    let haproxy = words(&first_line(Command::new("haproxy").arg("-v")), 3);
    let nginx = first_line(Command::new("/usr/sbin/nginx").arg("-v"));
    let redis = words(&first_line(Command::new("redis-server").arg("--version")), 3);
    let tomcat = first_line(Command::new("dpkg-query").args(["-W", "-f", "Tomcat ${Version}", "tomcat10"]));
    let java = first_line(Command::new("java").arg("-version"));
    let envoy = first_line(Command::new(limpet_tests::programs::envoy()).arg("--version"));
    let envoy = envoy
        .split("version: ")
        .nth(1)
        .and_then(|rest| rest.split('/').nth(1))
        .unwrap_or("?")
        .to_owned();
    format!(
        "two processors of {}, {kernel}, load average before the first row {busy};\n{nginx}, {haproxy}, Envoy {envoy}, {redis}, {tomcat} on {java}",
        model.unwrap_or("unknown make")
    )
}

fn words(text: &str, count: usize) -> String {
    text.split_whitespace().take(count).collect::<Vec<_>>().join(" ")
}

fn first_line(command: &mut Command) -> String {
    let Ok(output) = command.output() else {
        return "?".to_owned();
    };
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    text.lines()
        .find(|line| !line.trim().is_empty())
        .unwrap_or("?")
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::{median, percentile};

    #[test]
    fn percentiles_are_samples() {
        let figures = (1..=50).map(f64::from);
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(percentile(figures.clone(), 99), 50.0);
        assert_eq!(percentile(figures.clone(), 98), 49.0);
        assert_eq!(percentile(figures, 50), 25.0);
    }
}
