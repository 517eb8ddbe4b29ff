//! The page `docs/BENCHMARKS.md`: figures, ratios, and the goals beside them, reached or not.

use std::fmt::Write as _;
use std::process::Command;

use crate::measure::Sample;
use crate::peers::Peer;

/// The middle value of each figure.
pub fn median(samples: &[Sample]) -> Sample {
    let middle = |figure: fn(&Sample) -> f64| {
        let mut all: Vec<_> = samples.iter().map(figure).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    Sample {
        rate: middle(|s| s.rate),
        cpu_us: middle(|s| s.cpu_us),
        p50_us: middle(|s| s.p50_us),
        p99_us: middle(|s| s.p99_us),
    }
}

/// The whole page.
pub fn page(all: &[(Peer, Vec<Sample>)]) -> String {
    let of = |wanted: Peer| {
        let (_, samples) = all
            .iter()
            .find(|(peer, _)| *peer == wanted)
            .expect("every peer is measured");
        median(samples)
    };
    let (nginx, stateful) = (of(Peer::Nginx), of(Peer::EnvoyStateful));
    let (host, filters) = (of(Peer::LimpetHost), of(Peer::EnvoyLimpet));
    let rounds = all.first().map_or(0, |(_, samples)| samples.len());
    let mut text = format!(
        "# Benchmarks

Written by `make bench`; do not edit. Figures are medians of {rounds} rounds through all proxies in turn, on
{}.
Only ratios within this table mean anything: another machine, or another day, gives other figures.

The proxy has processor 0 to itself. `wrk -t1 -c64`, two nginx workers (`return 200`, 24 bytes) and limpet-core share
processor 1. 64 visitors take turns, each with the cookies the proxy gave it. CPU per request is user and system
time of the proxy's processes over the requests they served. The load is closed (64 requests at a time), so a slower
proxy is measured at a lower rate: its latencies are not flattered by that, and not comparable with those at equal load.

## Sticky proxying, HTTP/1.1 keep-alive

| proxy | req/s | CPU per request | to nginx | to Envoy stateful_session | p50 | p99 |
|---|---:|---:|---:|---:|---:|---:|
",
        machine()
    );
    for (peer, samples) in all {
        let sample = median(samples);
        let _ = writeln!(
            text,
            "| {} | {:.0} | {:.2} us | {:.2} | {:.2} | {:.0} us | {:.0} us |",
            peer.name(),
            sample.rate,
            sample.cpu_us,
            sample.cpu_us / nginx.cpu_us,
            sample.cpu_us / stateful.cpu_us,
            sample.p50_us,
            sample.p99_us
        );
    }
    text.push_str("\n## Goals\n\n| goal | reached | |\n|---|---:|---|\n");
    for (goal, limit, reached) in [
        (
            "limpet-host with both filters: CPU per request at most 1.0 × nginx",
            1.0,
            host.cpu_us / nginx.cpu_us,
        ),
        (
            "limpet-host with both filters: p99 at most 1.0 × nginx",
            1.0,
            host.p99_us / nginx.p99_us,
        ),
        (
            "both filters in Envoy: CPU per request at most 1.25 × stateful_session",
            1.25,
            filters.cpu_us / stateful.cpu_us,
        ),
    ] {
        let verdict = if reached <= limit { "yes" } else { "not yet" };
        let _ = writeln!(text, "| {goal} | {reached:.2} | {verdict} |");
    }
    text.push_str(
        "\n## Spread\n\nCPU per request of each round, in microseconds.\n\n| proxy | rounds |\n|---|---|\n",
    );
    for (peer, samples) in all {
        let rounds: Vec<_> = samples
            .iter()
            .map(|sample| format!("{:.2}", sample.cpu_us))
            .collect();
        let _ = writeln!(text, "| {} | {} |", peer.name(), rounds.join(", "));
    }
    text
}

/// Processors, kernel, and versions of the peers, as they call themselves.
fn machine() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map(|rest| rest.trim_matches([' ', '\t', ':']));
    let count = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = first_line(Command::new("uname").arg("-sr"));
    let haproxy = first_line(Command::new("haproxy").arg("-v"));
    let haproxy: String = haproxy.split_whitespace().take(3).collect::<Vec<_>>().join(" ");
    let nginx = first_line(Command::new("/usr/sbin/nginx").arg("-v"));
    let envoy = first_line(Command::new(limpet_tests::programs::envoy()).arg("--version"));
    let envoy = envoy
        .split("version: ")
        .nth(1)
        .and_then(|rest| rest.split('/').nth(1))
        .unwrap_or("?")
        .to_owned();
    format!(
        "{count} × {}, {kernel};\n{nginx}, {haproxy}, Envoy {envoy}",
        model.unwrap_or("processor")
    )
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
