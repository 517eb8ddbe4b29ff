//! The operations of clients on a session: patch, read, touch, delete, rename. Each is noted in the history as the node
//! answered it. Which client does what and when is [`crate::client`]'s.

use limpet_core::engine::sessions::{Patch, Refused};
use limpet_core::session::Stamp;
use limpet_wire::report::IdleLimit;

use crate::check;
use crate::client::{current, held, wait};
use crate::fresh;
use crate::history::{Deletion, NAMES, Write};
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
    let values = patch.set.clone();
    let lifetime = patch.max_inactive;
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
    let (key, version) = (written.key, written.version);
    let session = world.history.named(&key);
    if let Some(idle) = lifetime {
        world.history.lifetime(session, idle);
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
            .insert((session, name, version), value.cloned());
        writes.push(world.history.writes.len());
        world.history.writes.push(Write {
            session,
            name,
            life: rank.0,
            stamp: version,
            at,
            holders: vec![incarnation],
            told: 1,
            known_at: known,
        });
        world.clients[index].seen.insert((session, name), rank);
        world.history.touched(session, incarnation, rank.0, at);
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
    let session = current(world, home, session);
    match world.call(home, |engine, now| engine.find(&key, now).cloned()) {
        Some(Ok(record)) => check::served(world, index, session, &record),
        Some(Err(Refused::Incomplete)) => world.reached.note(Rare::Incomplete),
        _ => check::gone(world, home, session),
    }
}

pub fn touch(world: &mut World, index: usize, session: usize) {
    let home = world.clients[index].home;
    let key = world.history.keys[session].clone();
    let session = current(world, home, session);
    match world.call(home, |engine, now| engine.touch(&key, now)) {
        Some(Ok(_)) => {
            let incarnation = world.hosts[home].incarnation();
            match held(world, home, session).life() {
                Some(life) => world.history.touched(session, incarnation, life, world.now),
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
    let (home, at) = (world.clients[index].home, world.now);
    let key = world.history.keys[session].clone();
    let session = current(world, home, session);
    match world.call(home, |engine, now| engine.delete(&key, now)) {
        Some(Ok(written)) => {
            check::stamp(world, home, written.version);
            let incarnation = world.hosts[home].incarnation();
            let end = world.history.deletions.len();
            world.history.deletions.push(Deletion {
                session,
                stamp: written.version,
                at,
                holders: vec![incarnation],
            });
            world.clients[index].over.insert(session, written.version);
            wait(world, index, written.write_set, Vec::new(), vec![end]);
        }
        Some(Err(Refused::NotFound)) => check::gone(world, home, session),
        Some(Err(Refused::Incomplete)) => world.reached.note(Rare::Incomplete),
        other => world.fail(
            "C8",
            format!("n{home} is ready and answers a delete with {other:?}"),
        ),
    }
}

pub fn rename(world: &mut World, index: usize, position: usize) {
    let (home, at) = (world.clients[index].home, world.now);
    let known = world.clients[index].sessions[position];
    let idle = world.plan.options.max_inactive;
    let to = world.history.session(idle);
    let (old, new) = (world.history.keys[known].clone(), world.history.keys[to].clone());
    let from = current(world, home, known);
    let written = match world.call(home, |engine, now| engine.rename(&old, &new, now)) {
        Some(Ok(written)) => written,
        Some(Err(Refused::NotFound)) => return check::gone(world, home, from),
        Some(Err(Refused::Incomplete)) => return world.reached.note(Rare::Incomplete),
        other => {
            return world.fail(
                "C8",
                format!("n{home} is ready and answers a rename with {other:?}"),
            );
        }
    };
    world.reached.note(Rare::Rename);
    check::stamp(world, home, written.version);
    let incarnation = world.hosts[home].incarnation();
    let moved = held(world, home, to);
    let over = view::deleted(&held(world, home, from));
    let line = world.history.lines[from].clone();
    world.history.lines[to].extend(line);
    world.history.shortest[to] = world.history.shortest[from];
    world.history.longest[to] = world.history.longest[from];
    world.history.renamed[from] = Some(at);
    world.clients[index].sessions[position] = to;
    let known = fresh::everybody_knows_everybody(world).then_some(u64::MAX);
    let mut writes = Vec::new();
    for (name, rank, value) in view::attributes(&moved) {
        let Some(name) = NAMES.iter().position(|known| *known == name) else {
            continue;
        };
        world.history.values.insert((to, name, rank.1), value.cloned());
        writes.push(world.history.writes.len());
        world.history.writes.push(Write {
            session: to,
            name,
            life: rank.0,
            stamp: rank.1,
            at,
            holders: vec![incarnation],
            told: 1,
            known_at: known,
        });
    }
    if let Some(life) = moved.life() {
        world.history.touched(to, incarnation, life, at);
    }
    let end = world.history.deletions.len();
    world.history.deletions.push(Deletion {
        session: from,
        stamp: over,
        at,
        holders: vec![incarnation],
    });
    world.clients[index].over.insert(from, over);
    wait(world, index, written.write_set, writes, vec![end]);
}
