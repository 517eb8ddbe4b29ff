//! The row "sticky proxying": what a sticky request costs a proxy. Every proxy gets the same visitors, who first
//! visit it once to get its cookies.

mod peers;
mod stage;

use std::fmt::Write as _;

use crate::Extent;
use crate::report::{Goal, Section, median};
use peers::{PEERS, Peer};
use stage::Stage;

/// What one run of one proxy gave.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// Requests per second.
    pub rate: f64,
    /// User and system time of the proxy's processes over the requests they served, in microseconds.
    pub cpu_us: f64,
    /// Half of the requests were faster than this, in microseconds.
    pub p50_us: f64,
    /// All but one in a hundred were faster than this, in microseconds.
    pub p99_us: f64,
}

impl Sample {
    fn middle(samples: &[Self]) -> Self {
        let middle = |figure: fn(&Self) -> f64| median(samples.iter().map(figure));
        Self {
            rate: middle(|s| s.rate),
            cpu_us: middle(|s| s.cpu_us),
            p50_us: middle(|s| s.p50_us),
            p99_us: middle(|s| s.p99_us),
        }
    }
}

/// Measures every proxy.
pub async fn run(extent: Extent) -> Section {
    let stage = Stage::new().await;
    let mut all: Vec<(Peer, Vec<Sample>)> = PEERS.iter().map(|peer| (*peer, Vec::new())).collect();
    for round in 1..=extent.rounds {
        for (peer, samples) in &mut all {
            let sample = stage.measure(*peer, extent.window.as_secs()).await;
            println!(
                "round {round}  {:<34} {:>8.0} req/s  {:>6.2} us CPU/request  p50 {:>6.0} us  p99 {:>6.0} us",
                peer.name(),
                sample.rate,
                sample.cpu_us,
                sample.p50_us,
                sample.p99_us
            );
            samples.push(sample);
        }
    }
    section(&all)
}

fn section(all: &[(Peer, Vec<Sample>)]) -> Section {
    let of = |wanted: Peer| {
        let (_, samples) = all
            .iter()
            .find(|(peer, _)| *peer == wanted)
            .expect("every peer is measured");
        Sample::middle(samples)
    };
    let (nginx, stateful) = (of(Peer::Nginx), of(Peer::EnvoyStateful));
    let (host, filters) = (of(Peer::LimpetHost), of(Peer::EnvoyLimpet));
    let mut text = "## Sticky proxying, HTTP/1.1 keep-alive

`wrk -t1 -c64`, two nginx workers (`return 200`, 24 bytes) and limpet-core share processor 1. 64 visitors take turns,
each with the cookies the proxy gave it. The load is closed (64 requests at a time), so a slower proxy is measured at
a lower rate: its latencies are not flattered by that, and not comparable with those at equal load.

| proxy | req/s | CPU per request | to nginx | to Envoy stateful_session | p50 | p99 | CPU per request, rounds |
|---|---:|---:|---:|---:|---:|---:|---|
"
    .to_owned();
    for (peer, samples) in all {
        let sample = Sample::middle(samples);
        let rounds: Vec<_> = samples
            .iter()
            .map(|sample| format!("{:.2}", sample.cpu_us))
            .collect();
        let _ = writeln!(
            text,
            "| {} | {:.0} | {:.2} us | {:.2} | {:.2} | {:.0} us | {:.0} us | {} |",
            peer.name(),
            sample.rate,
            sample.cpu_us,
            sample.cpu_us / nginx.cpu_us,
            sample.cpu_us / stateful.cpu_us,
            sample.p50_us,
            sample.p99_us,
            rounds.join(", ")
        );
    }
    let goals = vec![
        Goal::at_most(
            "limpet-host with both filters: CPU per request at most 1.0 × nginx",
            1.0,
            host.cpu_us / nginx.cpu_us,
        ),
        Goal::at_most(
            "limpet-host with both filters: p99 at most 1.0 × nginx",
            1.0,
            host.p99_us / nginx.p99_us,
        ),
        Goal::at_most(
            "both filters in Envoy: CPU per request at most 1.25 × stateful_session",
            1.25,
            filters.cpu_us / stateful.cpu_us,
        ),
    ];
    Section { text, goals }
}
