//! The claim that in `backup` mode no stale copy answers: whoever is asked for a session knows what all who hold it had
//! acknowledged when it was asked, while one of them is left. So a client that reads, computes and writes takes nothing
//! back, wherever it does so. Checked in runs where nothing goes wrong but that nodes come and go, and of nodes that know all
//! others: behind a cut, nobody can know.

use limpet_core::engine::Engine;
use limpet_core::engine::sessions::Refused;

use crate::check::everywhere;
use crate::history::{NAMES, Write};
use crate::host::Host;
use crate::view;
use crate::world::World;

/// Whether a node that is ready knows all others that are.
fn knows_everybody(world: &World, index: usize) -> bool {
    let Some(engine) = &world.hosts[index].engine else {
        return false;
    };
    let mut others = world
        .hosts
        .iter()
        .filter(|host| host.index != index && host.is_ready());
    others.all(|host| {
        let member = engine.roster().get(&host.id);
        member.is_some_and(|member| member.active && member.ready)
    })
}

/// Whether all are ready and know each other. Whoever was heard of by some only is told by these alone, and while one
/// joins, more than the configured number hold a session.
pub fn everybody_knows_everybody(world: &World) -> bool {
    let mut awake = world.hosts.iter().filter(|host| host.awake().is_some());
    world.plan.holders_of_a_calm_run().is_some()
        && awake.all(|host| host.is_ready() && knows_everybody(world, host.index))
}

/// A client is told of the copies of these writes.
pub fn note_told(world: &mut World, writes: &[usize]) {
    let known_at = everybody_knows_everybody(world).then_some(world.now);
    for write in writes {
        let write = &mut world.history.writes[*write];
        write.known_at = write.known_at.and(known_at);
    }
}

/// C5: what the node of a client is about to answer with, or to change, once it has asked those it has to. What was written
/// under another id of the session is not asked for: who holds that are others.
pub fn known(world: &mut World, index: usize, session: usize) {
    let Some(holders) = world.plan.holders_of_a_calm_run() else {
        return;
    };
    let home = world.clients[index].home;
    let key = world.history.keys[session].clone();
    if !knows_everybody(world, home) {
        return;
    }
    let found = match world.call(home, |engine, now| engine.find(&key, now).cloned()) {
        Some(Ok(record)) => Some(record),
        Some(Err(Refused::NotFound)) => None,
        _ => return,
    };
    let record = found.as_ref();
    let leaves = |host: &&Host| host.engine.as_ref().is_some_and(Engine::is_leaving);
    let leaving = world.hosts.iter().filter(leaves).count();
    let asked_at = world.clients[index].asked_at;
    let history = &world.history;
    let over = |write: &Write| {
        history.was_deleted(session, write.life, write.first)
            || history.lineage.was_renamed_since(write.first, write.life)
            || history.was_deleted_elsewhere(write.first)
            || record.is_none()
                && (history.shortest(write.first).is_some() || world.plan.options.end_on_leave)
    };
    let table = world.hosts[home].engine.as_ref().map(Engine::table);
    // Where it went from here, others know.
    let left = |life| {
        let known = table.and_then(|table| table.get(&key));
        known.is_some_and(|known| view::has_left(known, life))
    };
    let is_known = |write: &Write| {
        left(write.life)
            || table.is_some_and(|table| write.is_in(history, table))
            || record.is_some_and(|record| history.was_overtaken(record, write.life, write.first))
    };
    let lost = history.writes.iter().find(|write| {
        write.session == session
            && write.told >= holders
            && write.known_at.is_some_and(|at| at < asked_at)
            && history.copies_gone_since(write.at, leaving) < write.told
            && !over(write)
            && !is_known(write)
    });
    if let Some(lost) = lost {
        let words = format!(
            "{:?} is asked for at n{home}, which does not know {} of {:?} with its {} copies: {record:?}; {}",
            history.keys[session],
            NAMES[lost.name],
            (lost.life, lost.stamp),
            lost.told,
            everywhere(world, Some(session))
        );
        world.fail("C5", words);
    }
}
