//! What the soak prints: a line a minute, the story of every broken claim, and a summary.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use crate::world::{Tally, Violation, World};

/// How often a line is printed.
const MINUTE: Duration = Duration::from_secs(60);
/// How much of the time before it a story tells.
const BEFORE: Duration = Duration::from_secs(180);

/// Prints a line a minute until everybody is to end.
pub async fn lines(world: Arc<World>, mode: &'static str) {
    println!(
        "  minute mode    requests  checked  503..  none  faults rests  sessions  worst of cores, proxies  broken"
    );
    let mut minute = 0;
    let mut clock = tokio::time::interval(MINUTE);
    clock.tick().await; // at once
    while !world.is_stopped() {
        clock.tick().await;
        minute += 1;
        println!("{}", line(&world, mode, minute));
    }
}

/// One line.
#[must_use]
pub fn line(world: &World, mode: &str, minute: u64) -> String {
    let tally = &world.tally;
    let [cores, proxies] = tally.take_worst();
    let (sessions, gone) = world.ledger().count();
    format!(
        "{minute:>8} {mode:<7} {:>8} {:>8} {:>6} {:>5} {:>7} {:>5} {:>9} {:>9.2} s {:>9.2} s {:>7}",
        Tally::of(&tally.requests),
        Tally::of(&tally.checked),
        Tally::of(&tally.unavailable),
        Tally::of(&tally.unanswered),
        Tally::of(&tally.faults),
        Tally::of(&tally.rests),
        format!("{}+{gone}", sessions - gone),
        cores.as_secs_f64(),
        proxies.as_secs_f64(),
        world.broken()
    )
}

/// The story of a broken claim.
#[must_use]
pub fn story(violation: &Violation) -> String {
    let mut text = format!(
        "\n=== {} broken at {:.3} s: {}\n",
        violation.claim,
        violation.at.as_secs_f64(),
        violation.what
    );
    let from = violation.at.saturating_sub(BEFORE);
    for (at, line) in violation.story.iter().filter(|(at, _)| *at >= from) {
        let _ = writeln!(text, "{:>9.3} {line}", at.as_secs_f64()); // a string takes it
    }
    text
}
