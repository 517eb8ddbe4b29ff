//! Is every place that reads bytes from outside safe from them, whatever they are? Each input is read within bounds of
//! memory and time, and nothing panics. `make fuzz SECONDS=n` does the same with made-up inputs for longer.

mod corpus;
mod memory;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use limpet_tests::fuzz::{TARGETS, Target, mutate};
use limpet_tests::random::Random;
use rustix::time::{ClockId, clock_gettime};

use memory::Counted;

#[global_allocator]
static MEMORY: Counted = Counted;

/// The longest a thread may compute over one input. Regular expressions are compiled unoptimised here.
const TIME_MAX: Duration = Duration::from_secs(2);
/// How many inputs are made for each target without `LIMPET_FUZZ_SECONDS`.
const ROUNDS: usize = 3000;
/// How long each target is given at most without `LIMPET_FUZZ_SECONDS`.
const PATIENCE: Duration = Duration::from_secs(5);

fn computed() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Lets a target read an input; what went wrong, if anything did.
fn read(target: &Target, bytes: &[u8], what: &str) -> Option<String> {
    let begun = computed();
    let (result, peak) = memory::peak_of(|| {
        std::panic::catch_unwind(|| (target.run)(bytes)) // so that the input can be named
    });
    let took = computed() - begun;
    let most = target.memory_flat + target.memory_per_byte * bytes.len();
    let wrong = match result {
        Err(_) => "panicked".to_owned(),
        Ok(()) if peak > most => format!("held {peak} bytes where {most} are allowed"),
        Ok(()) if took > TIME_MAX => format!("took {took:?}"),
        Ok(()) => return None,
    };
    let (name, len, kept) = (target.name, bytes.len(), keep(target, bytes));
    Some(format!(
        "{name}: {what}, {len} bytes, {wrong}; it is kept in {}",
        kept.display()
    ))
}

/// Keeps an input that went wrong, to become a part of the corpus.
fn keep(target: &Target, bytes: &[u8]) -> PathBuf {
    let path = std::env::temp_dir().join(format!("limpet-fuzz-{}-{}", target.name, std::process::id()));
    std::fs::write(&path, bytes).expect("a file in the temporary folder");
    path
}

#[test]
fn every_input_that_is_kept_is_read_within_bounds() {
    let mut wrong = Vec::new();
    for target in TARGETS {
        let inputs = corpus::inputs(target.name);
        assert!(!inputs.is_empty(), "{} has no inputs", target.name);
        wrong.extend(
            inputs
                .iter()
                .filter_map(|(name, bytes)| read(target, bytes, name)),
        );
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_is_said_today_and_what_was_made_to_do_harm_is_read_within_bounds() {
    let seeds = limpet_tests::fuzz::seeds::seeds();
    let wrong = seeds.iter().filter_map(|seed| {
        let target = limpet_tests::fuzz::target(seed.target);
        read(&target, &seed.bytes, &seed.name)
    });
    let wrong: Vec<_> = wrong.collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn inputs_made_out_of_others_are_read_within_bounds() {
    let mut random = Random::announced("fuzz");
    let mut wrong = Vec::new();
    let seconds = std::env::var("LIMPET_FUZZ_SECONDS").ok();
    let seconds =
        seconds.map(|text| Duration::from_secs(text.parse().expect("LIMPET_FUZZ_SECONDS is a number")));
    let only = std::env::var("LIMPET_FUZZ_TARGET")
        .ok()
        .filter(|name| !name.is_empty());
    for target in TARGETS {
        if only.as_ref().is_some_and(|only| only != target.name) {
            continue;
        }
        let mut inputs: Vec<Vec<u8>> = corpus::inputs(target.name)
            .into_iter()
            .map(|(_, bytes)| bytes)
            .collect();
        inputs.extend(
            limpet_tests::fuzz::seeds::seeds()
                .into_iter()
                .filter(|seed| seed.target == target.name)
                .map(|seed| seed.bytes),
        );
        let (begun, mut rounds) = (Instant::now(), 0);
        let goes_on = |rounds: usize| match seconds {
            Some(seconds) => begun.elapsed() < seconds,
            None => rounds < ROUNDS && begun.elapsed() < PATIENCE,
        };
        while goes_on(rounds) {
            let mut pick = || (random.number() % inputs.len() as u64) as usize;
            let (one, other) = (pick(), pick());
            let bytes = mutate::mutated(&inputs[one], &inputs[other], &mut random);
            rounds += 1;
            if let Some(problem) = read(target, &bytes, "a made-up input") {
                wrong.push(problem);
                break;
            }
        }
        println!("{}: {rounds} inputs in {:?}", target.name, begun.elapsed());
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The folder of the inputs that are kept.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus")
}
