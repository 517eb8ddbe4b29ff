//! What a majority decided, and the strict part of claim C13: of all changes that were made on one version of a session one
//! was, and a session was created on condition that there is none only where the one created so before had ended.
//! Nothing of that depends on who was cut from whom, restarted or decided before.
//!
//! It is lost with the memory of all, after which a cluster is founded anew.

use std::collections::{HashMap, HashSet};

use limpet_core::session::{Condition, Stamp};

use crate::client::held;
use crate::propose::is_over;
use crate::view::Rank;
use crate::world::World;

/// See the module page. Sessions are called by the number of their id.
#[derive(Debug, Default)]
pub struct Majority {
    /// The versions that were changed.
    versions: HashSet<(usize, Stamp)>,
    /// The lives that were begun on condition that there was none.
    begun: HashMap<usize, Vec<Stamp>>,
}

/// Time has passed: is there anybody left who knows what was decided?
pub fn observe(world: &mut World) {
    let mut engines = world.hosts.iter().filter_map(|host| host.engine.as_ref());
    if world.plan.options.quorum && engines.all(|engine| engine.quorum_epoch() == 0) {
        world.majority = Majority::default();
    }
}

/// Node `index` has made a change. Says why it should not have, if so.
pub fn made(
    world: &mut World,
    index: usize,
    session: usize,
    condition: Condition,
    (life, stamp): Rank,
) -> Option<String> {
    // Where a clock was wrong stamps are made anew, and where ends are forgotten nobody can know of them.
    let is_known = world.plan.clocks.are_near() && !world.plan.forgets();
    match condition {
        Condition::Version(version) => {
            let is_first = world.majority.versions.insert((session, version));
            (is_known && !is_first).then(|| "this version was changed before".into())
        }
        Condition::Absent if life == stamp => {
            let record = held(world, index, session);
            let begun = world.majority.begun.entry(session).or_default();
            // One that was begun without a condition meanwhile may have taken its place, and have ended.
            let is_over = |before: Stamp| {
                let mut fates = record.lifecycle.fates.iter();
                is_over(&record, before) || fates.any(|(life, _)| life > before)
            };
            let lives = begun.iter().copied().find(|before| !is_over(*before));
            begun.push(life);
            let lives = lives.filter(|_| is_known)?;
            Some(format!(
                "the session that was begun so as {lives:?} has not ended"
            ))
        }
        _ => None,
    }
}
