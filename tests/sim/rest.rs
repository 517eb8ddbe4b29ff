//! The claims about a core that was spared: that it comes to rest, and what has to be true of its tables then. Claims about
//! single answers are [`crate::check`]'s.

use std::collections::HashMap;

use limpet_core::base::id::NodeId;
use limpet_core::engine::{Engine, Mode};
use limpet_core::replication::placement::View;
use limpet_core::session::{Record, Stamp};
use limpet_core::store::Memory;

use crate::check::{EPSILON_MS, everywhere, sound};
use crate::history::{Incarnation, NAMES, Write};
use crate::host::name_of;
use crate::view::{self, Trail};
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
        let unsound = history.keys.iter().find_map(|key| {
            let record = engine.table().get(key)?;
            let (claim, words) = sound(history, record).err()?;
            Some((claim, format!("{key:?} at {}: {words}", engine.node())))
        });
        wrong = wrong
            .or(unsound)
            .or_else(|| stays_over(world, engine))
            .or_else(|| has_one_id(engine));
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
        history.was_deleted(write.session, write.life, write.first)
            || history.was_deleted_elsewhere(write.first)
            || history.lineage.was_renamed_since(write.first, write.life)
            || history.shortest(write.first).is_some()
            || world.plan.options.end_on_leave
    };
    let there = |write: &Write, table: &Memory| {
        // Tombstones are forgotten after a while, and the id may be used again.
        world.plan.forgets() && over(write) || write.is_in(history, table)
    };
    let table = |index: &usize| world.hosts[*index].engine.as_ref().map(Engine::table);
    let all: Vec<&Memory> = world.core.iter().filter_map(table).collect();
    // The end of a session that was renamed need not be known to a node under each of its ids.
    let is_over = |write: &Write| {
        let trails = history.trails(&all, &history.keys[write.session], write.life, write.first);
        let is_over =
            |trail: &Trail| !history.ends_by_itself(trail) && all.iter().any(|table| trail.is_over(table));
        trails.iter().any(is_over) || may_be_idle(world, &trails, write.first)
    };
    let forgot = |write: &Write| {
        if world.plan.everywhere() {
            let mut held = write.holders.iter().filter(|held| survives(world, &[**held]));
            return held.any(|incarnation| table(&incarnation.0).is_some_and(|table| !there(write, table)))
                && !is_over(write);
        }
        // The one copy that is left by those that hand off may be outside of the core. Tombstones are not handed off.
        let lost = match world.plan.nodes - world.core.len() {
            0 if !over(write) => history.copies_gone_since(write.at, 0),
            outside => history.losses_since(write.at) + outside,
        };
        let mut tables = world.core.iter().filter_map(table);
        lost < write.told && !tables.any(|table| there(write, table)) && !is_over(write)
    };
    let lost = history.writes.iter().find(|write| forgot(write))?;
    let key = &history.keys[lost.session];
    let held: Vec<_> = world
        .core
        .iter()
        .filter_map(table)
        .map(|table| {
            let trail = view::follow(table, key, lost.life);
            let record = table.get(&trail.key);
            (trail, record)
        })
        .collect();
    let words = format!("{key:?} {}: {lost:?} is lost: {held:?}", NAMES[lost.name]);
    Some(("C2", words))
}

/// Whether nobody touched a session for so long that it may have expired.
fn may_be_idle(world: &World, trails: &[Trail], first: Stamp) -> bool {
    let history = &world.history;
    let late = world.plan.clocks.apart_ms() + EPSILON_MS;
    let last = history.last_touch.get(&first).copied().unwrap_or(0);
    let idle_ms = (world.now - last) / 1000;
    history.lineage.was_renamed(first)
        && history
            .shortest_on(trails, first)
            .is_some_and(|shortest| idle_ms + late >= shortest)
}

/// C3: what an incarnation in the core knew to be deleted is deleted in all of the core. In `backup` mode, what one knows by
/// now: a node that hands a session off which began again under its id hands the tombstone off with it.
fn stays_over(world: &World, engine: &Engine) -> Option<Wrong> {
    let history = &world.history;
    let returned = history.endings.iter().find(|end| {
        end.is_undone_in(history, engine.table())
            && if world.plan.everywhere() {
                survives(world, &end.holders)
            } else {
                let mut core = world.core.iter();
                core.any(|index| {
                    let engine = world.hosts[*index].engine.as_ref();
                    engine.is_some_and(|engine| end.is_in(history, engine.table()))
                })
            }
    })?;
    let key = &history.keys[returned.session];
    Some((
        "C3",
        format!(
            "{key:?} had ended with {:?}, which {:?} knew, and is back as {:?}: {}",
            (&returned.lives, returned.deleted),
            returned.holders,
            returned.goes_on_in(engine.table()),
            everywhere(world, Some(returned.session))
        ),
    ))
}

/// C11: a session has one id.
fn has_one_id(engine: &Engine) -> Option<Wrong> {
    let mut seen = HashMap::new();
    let living = engine
        .table()
        .iter()
        .filter(|(key, record)| record.is_alive() && !key.is_reserved());
    for (key, record) in living {
        let other = record
            .first_life()
            .and_then(|first| seen.insert(first, (key, record)));
        if let Some((other, there)) = other {
            let words = format!(
                "{key:?} and {other:?} are one session at {}: {record:?} and {there:?}",
                engine.node()
            );
            return Some(("C11", words));
        }
    }
    None
}

/// C7: nothing expires too early: a touch that an incarnation in the core knows of counts in all of the core.
fn alive(world: &mut World) {
    if world.plan.options.end_on_leave {
        return;
    }
    let held_back = world.plan.options.touch_interval.as_millis() as u64;
    let mut wrong = None;
    let engines = world
        .core
        .iter()
        .filter_map(|index| world.hosts[*index].engine.as_ref());
    let all: Vec<&Memory> = engines.map(Engine::table).collect();
    let mut uses: Vec<_> = world.history.touches.iter().collect();
    uses.sort_unstable_by_key(|((session, incarnation), _)| (*session, *incarnation));
    for ((session, incarnation), last) in uses {
        let history = &world.history;
        if !survives(world, &[*incarnation]) || history.was_deleted(*session, last.life, last.first) {
            continue;
        }
        let key = &history.keys[*session];
        // What became of a session that was renamed need not be known to a node under each of its ids.
        let united = history.trails(&all, key, last.life, last.first);
        let was_deleted = |trail: &Trail| {
            let session = history.named(&trail.key);
            history.was_deleted(session, trail.life, last.first)
        };
        if united.iter().any(was_deleted) {
            continue;
        }
        let lives = history.shortest_on(&united, last.first).unwrap_or(u64::MAX / 4);
        let late = world.plan.clocks.apart_ms() + EPSILON_MS + held_back.min(lives / 3);
        if world.now / 1000 + late >= last.at / 1000 + lives {
            continue;
        }
        let lost = history.losses_since(last.at) + world.plan.nodes - world.core.len();
        if !world.plan.everywhere() && lost > 0 {
            continue; // who held it may be gone
        }
        let is_forgotten = history.lineage.was_renamed_since(last.first, last.life)
            || history.was_deleted_elsewhere(last.first);
        if world.plan.forgets() && is_forgotten {
            continue; // under the id that it was given it is looked for as well
        }
        let mut served = 0;
        for index in &world.core {
            let host = &world.hosts[*index];
            let Some(engine) = host.engine.as_ref() else {
                continue;
            };
            let table = engine.table();
            let trails = history.trails(&[table], key, last.life, last.first);
            if let Some(trail) = united.iter().find(|trail| history.ends_by_itself(trail)) {
                wrong = Some(format!("{key:?} ended, and nobody deleted it: {trail:?}"));
            }
            let is_there = |trail: &Trail| engine.session(&trail.key, host.now(world.now)).is_some();
            let there = trails.iter().any(is_there);
            let overtaken = united.iter().any(|trail| trail.ended.is_some())
                || trails.iter().any(|trail| {
                    let record = table.get(&trail.key);
                    trail.back && trail.is_over(table)
                        || record.is_some_and(|record| history.was_overtaken(record, trail.life, last.first))
                })
                || table
                    .iter()
                    .any(|(_, record)| record.is_alive() && record.first_life() == Some(last.first));
            served += usize::from(there || overtaken);
            if !there && !overtaken && world.plan.everywhere() {
                wrong = Some(format!(
                    "{key:?} was touched at n{} {} ms ago, lives {lives} ms and is not at n{index}: {trails:?} {}",
                    incarnation.0,
                    (world.now - last.at) / 1000,
                    everywhere(world, Some(*session))
                ));
            }
        }
        if served == 0 {
            wrong = Some(format!(
                "{key:?} was touched at n{} in {:?} and is nowhere: {united:?} {}",
                incarnation.0,
                last.life,
                everywhere(world, Some(*session))
            ));
        }
    }
    if let Some(words) = wrong {
        world.fail("C7", words);
    }
}
