//! The operations of clients on a session: patch, read, touch, delete, and changes that name the life they read. Each is noted in the history as the node
//! answered it. Which client does what and when is [`crate::client`]'s, renaming is [`crate::rename`]'s.

use limpet_core::engine::sessions::{Patch, Refused, Written};
use limpet_core::session::{Record, Stamp, Value};
use limpet_wire::report::IdleLimit;

use crate::check;
use crate::client::{held, wait};
use crate::fresh;
use crate::history::{Ending, NAMES, Write};
use crate::report::Rare;
use crate::view;
use crate::world::World;

pub fn patch(world: &mut World, index: usize, session: usize) {
    let (home, at) = (world.clients[index].home, world.now);
    let padding = world.plan.load.value_max as u64;
    let draw = &mut world.clients[index].draw;
    let mut patch = Patch::default();
    let mut names: Vec<usize> = (0..NAMES.len()).collect();
    draw.shuffle(&mut names);
    names.truncate(draw.between(1, 2) as usize);
    for name in &names {
        if draw.chance(0.15) {
            patch.remove.push(NAMES[*name].into());
        } else {
            let len = draw.below(padding) as usize;
            let value = world.history.value(session, *name, index, len);
            patch.set.push((NAMES[*name].into(), value));
        }
    }
    let draw = &mut world.clients[index].draw;
    if draw.chance(0.05) {
        let idle = draw.pick(&[
            IdleLimit::Millis(3_000),
            IdleLimit::Millis(30_000),
            IdleLimit::Forever,
        ]);
        patch.max_inactive = Some(idle);
    }
    patch.replace = world.clients[index].draw.chance(0.05);
    if world.clients[index].draw.chance(0.1) {
        patch.route = Some(format!("w{home}"));
    }
    // A client that changes a session has read it.
    fresh::known(world, index, session);
    write(world, index, session, patch, names, at);
}

/// Makes a change, and notes what the node made of it.
pub fn write(world: &mut World, index: usize, session: usize, patch: Patch, names: Vec<usize>, at: u64) {
    let home = world.clients[index].home;
    let key = world.history.keys[session].clone();
    let (values, lifetime) = (patch.set.clone(), patch.max_inactive);
    let written = match world.call(home, |engine, now| engine.patch(&key, patch, now)) {
        Some(Ok(written)) => written,
        Some(Err(Refused::TooLarge(_))) => return,
        Some(Err(Refused::Incomplete)) => return world.reached.note(Rare::Incomplete),
        other => {
            return world.fail(
                "C8",
                format!("n{home} is ready and answers a patch with {other:?}"),
            );
        }
    };
    if written.life == written.version {
        let known = held(world, home, session);
        world.history.lineage.created(written.life, session, &known);
    }
    noted(world, index, written, (values, lifetime), names, at);
}

/// The names and values that were set, and the idle lifetime.
pub type Change = (Vec<(String, Value)>, Option<IdleLimit>);

/// Notes a change that a node has made.
pub fn noted(world: &mut World, index: usize, written: Written, change: Change, names: Vec<usize>, at: u64) {
    let home = world.clients[index].home;
    let (values, lifetime) = change;
    let (key, version, first) = (written.key, written.version, written.life);
    world.tell(home, format_args!("changes {key:?} of {first:?} at {version:?}"));
    let session = world.history.named(&key);
    if let Some(idle) = lifetime {
        world.history.lifetime(first, idle);
    }
    check::stamp(world, home, version);
    let incarnation = world.hosts[home].incarnation();
    let known = fresh::everybody_knows_everybody(world).then_some(u64::MAX);
    let mut writes = Vec::new();
    let record = held(world, home, session);
    for name in names {
        let wanted = values
            .iter()
            .find(|(set, _)| set == NAMES[name])
            .map(|(_, value)| value);
        let there = view::attribute(&record, NAMES[name]);
        if there.is_none_or(|(rank, value)| rank.1 != version || value != wanted) {
            let words = format!(
                "{key:?} {} written at n{home} as {version:?} reads as {there:?}: {record:?}",
                NAMES[name]
            );
            return world.fail("C5", words);
        }
    }
    for (name, rank, value) in view::attributes(&record) {
        let Some(name) = NAMES.iter().position(|known| *known == name && rank.1 == version) else {
            continue;
        };
        if rank.0 == version && view::deleted(&record) > Stamp::ZERO {
            world.reached.note(Rare::Revival);
        }
        world
            .history
            .values
            .insert((name, version), (value.cloned(), first));
        writes.push(world.history.writes.len());
        world.history.writes.push(Write {
            session,
            name,
            life: rank.0,
            first,
            stamp: version,
            at,
            holders: vec![incarnation],
            told: 1,
            known_at: known,
        });
        world.clients[index].seen.insert((session, name), rank);
        world.history.touched(session, incarnation, rank.0, first, at);
    }
    if world.clients[index].moved && world.faults.cuts > 0 {
        world.reached.note(Rare::TakeoverInCut);
    }
    wait(world, index, written.write_set, writes, Vec::new());
}

pub fn read(world: &mut World, index: usize, session: usize) {
    fresh::known(world, index, session);
    let home = world.clients[index].home;
    let key = world.history.keys[session].clone();
    match world.call(home, |engine, now| engine.find(&key, now).cloned()) {
        Some(Ok(record)) => {
            if let Some(first) = record.first_life() {
                world.clients[index].read.insert(session, first);
            }
            check::served(world, index, session, &record);
        }
        Some(Err(Refused::Incomplete)) => world.reached.note(Rare::Incomplete),
        _ => check::gone(world, home, session),
    }
}

pub fn touch(world: &mut World, index: usize, session: usize) {
    let home = world.clients[index].home;
    let key = world.history.keys[session].clone();
    match world.call(home, |engine, now| engine.touch(&key, now)) {
        Some(Ok(written)) => {
            let incarnation = world.hosts[home].incarnation();
            let at = world.now;
            match held(world, home, session).life() {
                Some(life) => world
                    .history
                    .touched(session, incarnation, life, written.life, at),
                None => world.fail("C5", format!("{key:?} was touched at n{home} and is not there")),
            }
        }
        Some(Err(Refused::NotFound)) => check::gone(world, home, session),
        Some(Err(Refused::Incomplete)) => world.reached.note(Rare::Incomplete),
        other => world.fail(
            "C8",
            format!("n{home} is ready and answers a touch with {other:?}"),
        ),
    }
}

pub fn delete(world: &mut World, index: usize, session: usize) {
    let home = world.clients[index].home;
    let key = world.history.keys[session].clone();
    let before = held(world, home, session);
    match world.call(home, |engine, now| engine.delete(&key, now)) {
        Some(Ok(written)) => deleted(world, index, session, written, &before),
        Some(Err(Refused::NotFound)) => check::gone(world, home, session),
        Some(Err(Refused::Incomplete)) => world.reached.note(Rare::Incomplete),
        other => world.fail(
            "C8",
            format!("n{home} is ready and answers a delete with {other:?}"),
        ),
    }
}

/// Notes a deletion that a node has made of a session that was `before`.
fn deleted(world: &mut World, index: usize, session: usize, written: Written, before: &Record) {
    let (home, at) = (world.clients[index].home, world.now);
    check::stamp(world, home, written.version);
    world.tell(
        home,
        format_args!(
            "deletes {:?} of {:?} at {:?}",
            written.key, written.life, written.version
        ),
    );
    let incarnation = world.hosts[home].incarnation();
    let end = world.history.endings.len();
    world.history.deleted_at.insert(written.version);
    world.history.deleted_at.extend(view::left_at(before));
    world.history.endings.push(Ending {
        session,
        lives: before.lives(),
        deleted: Some((written.life, written.version)),
        at,
        holders: vec![incarnation],
    });
    world.clients[index].over.insert(session, written.version);
    world.clients[index].ended.insert(written.life);
    wait(world, index, written.write_set, Vec::new(), vec![end]);
}

/// A change that names the life its client has read, under the id it read it under.
pub fn conditional(world: &mut World, index: usize, session: usize, deletes: bool) {
    let (home, at) = (world.clients[index].home, world.now);
    let key = world.history.keys[session].clone();
    let Some(first) = world.clients[index].read.get(&session).copied() else {
        return read(world, index, session);
    };
    let located = match world.call(home, |engine, now| engine.locate(&key, first, now)) {
        Some(Ok(located)) => located,
        Some(Err(Refused::Unmet)) => {
            world.clients[index].read.remove(&session);
            return;
        }
        Some(Err(Refused::Incomplete)) => return world.reached.note(Rare::Incomplete),
        other => {
            let words = format!("n{home} is ready and answers a conditional change with {other:?}");
            return world.fail("C8", words);
        }
    };
    if located != key {
        world.reached.note(Rare::Followed);
    }
    if world.clients[index].ended.contains(&first) {
        let words = format!("{key:?} is changed at n{home} in a life that was seen to end there");
        return world.fail("C3", words);
    }
    let session = world.history.named(&located);
    if deletes {
        let before = held(world, home, session);
        if let Some(Ok(written)) = world.call(home, |engine, now| engine.delete(&located, now)) {
            deleted(world, index, session, written, &before);
        }
        return;
    }
    let name = world.clients[index].draw.index(NAMES.len());
    let value = world.history.value(session, name, index, 0);
    let set = vec![(NAMES[name].to_owned(), value)];
    let patch = Patch {
        set: set.clone(),
        ..Patch::default()
    };
    if let Some(Ok(written)) = world.call(home, |engine, now| engine.patch(&located, patch, now)) {
        noted(world, index, written, (set, None), vec![name], at);
    }
}
