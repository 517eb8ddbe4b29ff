//! C8: what has to be true when a node has just become ready: that it has what the others had, or that nobody has anything.
//! That one which is not ready says so is the clients' to see.

use limpet_core::engine::{Engine, Phase, Start};
use limpet_core::replication::streams::CONTROL;

use crate::check::everywhere;
use crate::history::NAMES;
use crate::host::Host;
use crate::plan::Seeds;
use crate::report::Rare;
use crate::world::World;

/// How long a path must have been free of faults for a joining node to have received everything over it.
const WELL_US: u64 = 10_000_000;
/// The age of a write that a node had before another one joined.
const HELD_US: u64 = 9_000_000;
/// How long a joining node must have been linked to one that has more, to know that.
const LINKED_US: u64 = 1_500_000;
/// How long after a node got a table others that start must know of it.
const KNOWN_US: u64 = 4_000_000;
/// For how long after a path misled nodes it may have done so.
const MISLED_US: u64 = 20_000_000;

/// For how long the first link from one to the other has been up.
fn linked_for(world: &World, from: usize, to: usize) -> u64 {
    let link = world.hosts[from].links.get(&(to, CONTROL));
    let conn = link.and_then(|id| world.net.conns.get(id));
    conn.map_or(0, |conn| world.now - conn.born)
}

/// C8: a node that has just become ready has what every member it could reach had for a while.
pub fn joined(world: &mut World, index: usize) {
    let now = world.now;
    world.trace.line(now, "ready", index, 0, 0);
    let began = world.hosts[index].began_memory;
    let started = world.hosts[index].engine.as_ref().and_then(Engine::started);
    if started == Some(Start::First) {
        world.reached.note(Rare::StartedFirst);
        return nobody_has_the_table(world, index);
    }
    if now - began >= world.plan.options.state_transfer_timeout.as_micros() as u64 {
        world.reached.note(Rare::WithoutTable);
        return;
    }
    if world.plan.weather.loss > 0.05 || !world.plan.everywhere() {
        return;
    }
    let Some(engine) = &world.hosts[index].engine else {
        return;
    };
    let donors: Vec<usize> = (0..world.plan.nodes)
        .filter(|other| {
            let host = &world.hosts[*other];
            *other != index
                && host.is_ready()
                && host.ready_at + WELL_US <= now
                && host.resumed_at + WELL_US <= now
                && linked_for(world, index, *other) >= LINKED_US
                && linked_for(world, *other, index) >= LINKED_US
                && world.net.well_for(index, *other, now) >= WELL_US.min(now - began)
                && engine
                    .roster()
                    .get(&host.id)
                    .is_some_and(|member| member.active && member.linked && member.ready)
        })
        .collect();
    for donor in donors {
        let theirs = world.hosts[donor].engine.as_ref();
        let history = &world.history;
        let missing = history.writes.iter().find(|write| {
            let held = || {
                let theirs = theirs?;
                let key = write.is_exactly_in(history, theirs.table())?;
                theirs
                    .session(&key, world.hosts[donor].now(now))
                    .is_some()
                    .then_some(())
            };
            write.at + HELD_US < now
                && write.holders.contains(&world.hosts[donor].incarnation())
                && !history.was_deleted(write.session, write.life, write.first)
                && held().is_some()
                && !write.is_in(history, engine.table())
        });
        if let Some(write) = missing {
            let words = format!(
                "n{index} is ready without {} of {:?}, which n{donor} had all the time: {}",
                NAMES[write.name],
                world.history.keys[write.session],
                everywhere(world, Some(write.session))
            );
            return world.fail("C8", words);
        }
    }
}

/// C8: a node that has just started without a table, because nobody has one, is right. Whether what another one got a
/// moment ago was known yet, or what refused in its name, is not held against it; nor is a node that it was not told of and
/// that could not dial it.
fn nobody_has_the_table(world: &mut World, index: usize) {
    let now = world.now;
    let has_table = |host: &&Host| {
        let engine = host.engine.as_ref();
        let ready = engine.is_some_and(|engine| *engine.phase() == Phase::Ready);
        let since = now.saturating_sub(MISLED_US);
        let told = world.plan.seeds != Seeds::FirstTwo || host.index < 2;
        let awake = !host.paused && host.resumed_at + WELL_US <= now;
        let dials = awake && world.net.well_for(index, host.index, now) >= WELL_US;
        host.index != index
            && ready
            && (told || dials)
            && host.was_ready
            && host.ready_at + KNOWN_US <= now
            && !world.net.was_misled_since(index, host.index, since)
    };
    if let Some(other) = world.hosts.iter().find(has_table) {
        let sessions = other.engine.as_ref().map_or(0, Engine::sessions);
        let words = format!(
            "n{index} started without a table while n{} lives, which has {sessions} sessions",
            other.index
        );
        world.fail("C8", words);
    }
}
