//! `make bench`: what a sticky request costs, here and in the peers, side by side in one run.
//!
//! The proxy under test has processor 0 to itself; the load, the workers and the core share processor 1. Every proxy
//! gets the same visitors, who first visit it once to get its cookies. Rounds go through all proxies in turn, so a
//! disturbance of the machine does not fall on one of them alone; the figures are medians. Only ratios of one run
//! mean anything.

mod measure;
mod peers;
mod report;
mod stage;

use std::process::ExitCode;

use measure::Sample;
use peers::{PEERS, Peer};
use stage::Stage;

/// Odd, so that a median is one of the samples.
const ROUNDS: usize = 3;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    if std::thread::available_parallelism().map_or(1, usize::from) < 2 {
        eprintln!("bench: two processors are needed, one for the proxy and one for everything else");
        return ExitCode::FAILURE;
    }
    let stage = Stage::new().await;
    let mut all: Vec<(Peer, Vec<Sample>)> = PEERS.iter().map(|peer| (*peer, Vec::new())).collect();
    for round in 1..=ROUNDS {
        for (peer, samples) in &mut all {
            let sample = stage.measure(*peer).await;
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
    let page = report::page(&all);
    println!("\n{page}");
    let path = limpet_tests::programs::workspace().join("docs/BENCHMARKS.md");
    match std::fs::write(&path, page) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("bench: cannot write {}: {e}", path.display());
            ExitCode::FAILURE
        }
    }
}
