//! A node that leaves, as the daemon does on SIGTERM: it says so, hands off what it has, and is gone.

use limpet_core::replication::transfer::Cursor;

use crate::faults::{Act, later};
use crate::world::World;

/// How long it takes at the most.
const PATIENCE_US: u64 = 5_000_000;
/// How often it is looked whether everything was handed off.
const LOOK_US: u64 = 5_000;

/// It leaves, and is started again `away` after it is gone.
pub fn begin(world: &mut World, index: usize, away: u64) {
    let end_sessions = world.plan.options.end_on_leave;
    if world.hosts[index].paused {
        return;
    }
    world.trace.line(world.now, "leave", index, 0, 0);
    world.call(index, |engine, now| {
        if end_sessions {
            let mut next = Some(Cursor::default());
            while let Some(from) = next {
                next = engine.delete_some(&from, now);
            }
        }
        engine.leave(now);
    });
    let (least, until) = (
        world.faults.draw.between(50_000, 2_000_000),
        world.now + PATIENCE_US,
    );
    later(world, least, Act::Left(index, away, until));
}

/// It is gone, if it has handed everything off, or it is `until`.
pub fn end(world: &mut World, index: usize, away: u64, until: u64) {
    let engine = world.hosts[index].engine.as_ref();
    if world.now < until && engine.is_some_and(|engine| engine.is_leaving() && !engine.is_drained()) {
        return later(world, LOOK_US, Act::Left(index, away, until));
    }
    // Where nobody is left there is nobody to give it to.
    if engine.is_some_and(|engine| engine.is_leaving() && engine.is_drained() && engine.misplaced_len() == 0)
    {
        let incarnation = world.hosts[index].incarnation();
        world.history.handed_off(incarnation);
    }
    world.crash(index, false);
    later(world, away, Act::Start(index));
}
