//! The claims about a core that was spared: that it comes to rest, and what has to be true of its tables then. Claims about
//! single answers are [`crate::check`]'s.

use limpet_core::base::id::NodeId;
use limpet_core::engine::{Engine, Mode};
use limpet_core::replication::placement::View;
use limpet_core::session::Record;
use limpet_core::store::Memory;

use crate::check::{EPSILON_MS, everywhere, sound};
use crate::history::{Incarnation, NAMES, Write};
use crate::host::name_of;
use crate::view;
use crate::world::World;

type Wrong = (&'static str, String);

/// C1, first half: whether the core has come to rest: all ready, all linked both ways, everything sent, all digests equal.
pub fn is_converged(world: &World) -> Result<(), String> {
    let mut first: Option<(usize, Vec<u64>)> = None;
    for index in &world.core {
        let Some(engine) = world.hosts[*index].awake() else {
            return Err(format!("n{index} does not run"));
        };
        if let Some(reason) = engine.not_ready_reason() {
            return Err(format!("n{index} is not ready: {reason}"));
        }
        for other in world.core.iter().filter(|other| *other != index) {
            let member = engine.roster().get(&world.hosts[*other].id);
            if !member.is_some_and(|member| member.active && member.linked && member.ready) {
                return Err(format!("n{index} takes n{other} for {member:?}"));
            }
            // What clients did last is acknowledged; sessions may go on expiring.
            let peer = engine.peers().get(&world.hosts[*other].id);
            let acknowledged_ms = peer.map_or(0, |peer| peer.outboxes().acknowledged_until_ms());
            let behind_ms = engine
                .time_ms(world.hosts[*index].now(world.now))
                .saturating_sub(acknowledged_ms);
            if behind_ms > world.closed.map_or(0, |at| world.now - at) / 1000 {
                return Err(format!(
                    "n{index} has had nothing acknowledged by n{other} for {behind_ms} ms"
                ));
            }
        }
        if !world.plan.everywhere() {
            if let Some(key) = engine.misplaced().next() {
                let held = everywhere(world, Some(world.history.named(key)));
                return Err(format!(
                    "n{index} holds {} sessions that belong elsewhere, {key:?} among them: {held}",
                    engine.misplaced().count()
                ));
            }
            let in_core = |node: &&NodeId| world.core.iter().any(|other| world.hosts[*other].id == **node);
            if let Some(node) = engine.nodes_owed_tombstones().find(in_core) {
                return Err(format!("n{index} owes {node} a tombstone"));
            }
            continue;
        }
        let digests: Vec<u64> = engine.table().digests().collect();
        match &first {
            None => first = Some((*index, digests)),
            Some((other, theirs)) if *theirs != digests => {
                let buckets = theirs.iter().zip(&digests).filter(|(a, b)| a != b).count();
                let words = placed(world).map(|(_, words)| words).unwrap_or_default();
                return Err(format!(
                    "n{other} and n{index} differ in {buckets} buckets: {words}"
                ));
            }
            Some(_) => {}
        }
    }
    match placed(world) {
        Some((_, words)) if !world.plan.everywhere() => Err(words),
        _ => Ok(()),
    }
}

/// C1, second half, and everything that has to be true of tables that agree.
pub fn tables(world: &mut World) {
    let engines = || {
        world
            .core
            .iter()
            .filter_map(|index| world.hosts[*index].engine.as_ref())
    };
    let living = engines().flat_map(|engine| engine.table().iter().filter(|(_, record)| record.is_alive()));
    let parts = living.filter(|(_, record)| !record.is_complete()).count() as u64;
    let mut wrong = placed(world).or_else(|| kept(world));
    for engine in engines() {
        let history = &world.history;
        let unsound = history.keys.iter().enumerate().find_map(|(session, key)| {
            let record = engine.table().get(key)?;
            let (claim, words) = sound(history, session, record).err()?;
            Some((claim, format!("{key:?} at {}: {words}", engine.node())))
        });
        wrong = wrong.or(unsound).or_else(|| stays_over(world, engine));
    }
    world.numbers.parts += parts;
    world.numbers.checked_writes += world.history.writes.len() as u64;
    if let Some((claim, words)) = wrong {
        world.fail(claim, words);
    }
    alive(world);
}

/// C1: every session is held by the nodes that are to hold it, by no other of the core, and is the same on all.
fn placed(world: &World) -> Option<Wrong> {
    let view = match world.plan.options.mode {
        Mode::Delta => None,
        Mode::Backup { copies } => {
            let nodes = world.core.iter().map(|index| name_of(*index)).collect();
            let workers = world
                .core
                .iter()
                .map(|index| (format!("w{index}"), name_of(*index)));
            Some(View::new(nodes, Vec::new(), workers.collect(), copies))
        }
    };
    let nothing = Record::default();
    for index in &world.core {
        let Some(mine) = world.hosts[*index].engine.as_ref() else {
            continue;
        };
        for (key, record) in mine.table().iter().filter(|(_, record)| record.is_alive()) {
            let route = record.route.as_ref().map(|route| &*route.value);
            let holders = view.as_ref().filter(|_| !key.is_reserved());
            let holders = holders.map(|view| view.holders(key, route));
            for other in &world.core {
                let Some(theirs) = world.hosts[*other].engine.as_ref() else {
                    continue;
                };
                let due = holders
                    .as_ref()
                    .is_none_or(|holders| holders.contains(&name_of(*other)));
                let there = theirs.table().get(key).unwrap_or(&nothing);
                if due && !view::same_but_touches(record, there) {
                    let words = format!("{key:?}: {record:?} at n{index} and {there:?} at n{other}");
                    return Some(("C1", words));
                }
            }
        }
    }
    None
}

fn survives(world: &World, holders: &[Incarnation]) -> bool {
    holders.iter().any(|(index, memory)| {
        let host = &world.hosts[*index];
        world.core.contains(index) && host.memory == *memory && host.engine.is_some()
    })
}

/// C2: what an incarnation in the core held, it holds. In `backup` mode, what so many nodes held that not all of them can be
/// gone, somebody holds.
fn kept(world: &World) -> Option<Wrong> {
    let history = &world.history;
    // What is over where it was held need not be known to have been elsewhere: that tables agree is enough.
    let over = |write: &Write| {
        history.was_deleted(write.session, write.life)
            || history.shortest[write.session].is_some()
            || world.plan.options.end_on_leave
    };
    let there = |write: &Write, table: &Memory| {
        // Tombstones are forgotten after a while, and the id may be used again.
        over(write) && world.plan.options.tombstone_life <= world.plan.safety
            || write.is_in(table.get(&history.keys[write.session]))
    };
    let table = |index: &usize| world.hosts[*index].engine.as_ref().map(Engine::table);
    let forgot = |write: &Write| {
        if world.plan.everywhere() {
            let mut held = write.holders.iter().filter(|held| survives(world, &[**held]));
            return held.any(|incarnation| table(&incarnation.0).is_some_and(|table| !there(write, table)));
        }
        // The one copy that is left by those that hand off may be outside of the core. Tombstones are not handed off.
        let lost = match world.plan.nodes - world.core.len() {
            0 if !over(write) => history.copies_gone_since(write.at, 0),
            outside => history.losses_since(write.at) + outside,
        };
        let mut tables = world.core.iter().filter_map(table);
        lost < write.told && !tables.any(|table| there(write, table))
    };
    let lost = history.writes.iter().find(|write| forgot(write))?;
    let key = &history.keys[lost.session];
    let held: Vec<_> = world
        .core
        .iter()
        .filter_map(table)
        .map(|table| table.get(key))
        .collect();
    let words = format!(
        "{key:?} {} of {:?} was held by {:?}, {} copies were told of, and it is lost: {held:?}",
        NAMES[lost.name],
        (lost.life, lost.stamp),
        lost.holders,
        lost.told
    );
    Some(("C2", words))
}

/// C3: what an incarnation in the core knew to be deleted is deleted in all of the core. In `backup` mode, what one knows by
/// now: a node that hands a session off which began again under its id hands the tombstone off with it.
fn stays_over(world: &World, engine: &Engine) -> Option<Wrong> {
    let history = &world.history;
    let returned = history.deletions.iter().find(|end| {
        let record = engine.table().get(&history.keys[end.session]);
        // An expired session is kept for a while by nodes that have no tombstone of it, and not served.
        let record = record.filter(|record| record.is_alive());
        let back = record.is_some_and(|record| {
            view::attributes(record).any(|(_, rank, _)| rank.0 <= end.stamp)
                || record.life().is_some_and(|life| life <= end.stamp)
        });
        back && if world.plan.everywhere() {
            survives(world, &end.holders)
        } else {
            let mut core = world.core.iter();
            core.any(|index| {
                let engine = world.hosts[*index].engine.as_ref();
                engine.is_some_and(|engine| end.is_in(engine.table().get(&history.keys[end.session])))
            })
        }
    })?;
    let key = &history.keys[returned.session];
    Some((
        "C3",
        format!(
            "{key:?} was deleted at {:?}, which {:?} knew, and is back: {}",
            returned.stamp,
            returned.holders,
            everywhere(world, Some(returned.session))
        ),
    ))
}

/// C7: nothing expires too early: a touch that an incarnation in the core knows of counts in all of the core.
fn alive(world: &mut World) {
    if world.plan.options.end_on_leave {
        return;
    }
    let held_back = world.plan.options.touch_interval.as_millis() as u64;
    let mut wrong = None;
    let mut uses: Vec<_> = world.history.touches.iter().collect();
    uses.sort_unstable_by_key(|((session, incarnation), _)| (*session, *incarnation));
    for ((session, incarnation), last) in uses {
        let history = &world.history;
        if !survives(world, &[*incarnation]) || history.was_deleted(*session, last.life) {
            continue;
        }
        let lives = history.shortest[*session].unwrap_or(u64::MAX / 4);
        let late = world.plan.clocks.apart_ms() + EPSILON_MS + held_back.min(lives / 3);
        if world.now / 1000 + late >= last.at / 1000 + lives {
            continue;
        }
        let key = &history.keys[*session];
        let lost = history.losses_since(last.at) + world.plan.nodes - world.core.len();
        if !world.plan.everywhere() && lost > 0 {
            continue; // who held it may be gone
        }
        let mut served = 0;
        for index in &world.core {
            let host = &world.hosts[*index];
            let there = host
                .engine
                .as_ref()
                .and_then(|engine| engine.session(key, host.now(world.now)));
            let record = host.engine.as_ref().and_then(|engine| engine.table().get(key));
            let overtaken = record.is_some_and(|record| view::was_overtaken(record, last.life));
            served += usize::from(there.is_some() || overtaken);
            if there.is_none() && !overtaken && world.plan.everywhere() {
                wrong = Some(format!(
                    "{key:?} was touched at n{} {} ms ago, lives {lives} ms and is not at n{index}",
                    incarnation.0,
                    (world.now - last.at) / 1000
                ));
            }
        }
        if served == 0 {
            wrong = Some(format!(
                "{key:?} was touched at n{} and is nowhere",
                incarnation.0
            ));
        }
    }
    if let Some(words) = wrong {
        world.fail("C7", words);
    }
}
