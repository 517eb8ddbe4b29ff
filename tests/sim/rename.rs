//! Renames of clients: to an id that nobody has, to one of a few that many want, or to one that is in use.

use limpet_core::engine::sessions::{InUse, Refused};

use crate::check;
use crate::client::{held, wait};
use crate::history::Ending;
use crate::report::Rare;
use crate::view;
use crate::world::World;

pub fn rename(world: &mut World, index: usize, position: usize) {
    let (home, at) = (world.clients[index].home, world.now);
    let from = world.clients[index].sessions[position];
    let draw = &mut world.clients[index].draw;
    let to = match draw.below(10) {
        0..5 => world.history.session(),
        5..8 => draw.pick(&world.history.wanted),
        _ => draw.index(world.history.keys.len()),
    };
    let in_use = if world.clients[index].draw.chance(0.2) {
        InUse::Replace
    } else {
        InUse::Refuse
    };
    if from == to {
        return;
    }
    let (old, new) = (world.history.keys[from].clone(), world.history.keys[to].clone());
    let (before, other) = (held(world, home, from), held(world, home, to));
    let written = match world.call(home, |engine, now| engine.rename(&old, &new, in_use, now)) {
        Some(Ok(written)) => written,
        Some(Err(Refused::InUse)) if in_use == InUse::Refuse && other.is_alive() => {
            return world.reached.note(Rare::InUse);
        }
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
    world.tell(
        home,
        format_args!(
            "renames {old:?} of {:?} to {new:?} at {:?}",
            written.life, written.version
        ),
    );
    let (incarnation, first) = (world.hosts[home].incarnation(), written.life);
    let moved = held(world, home, to);
    if before.first_life() != Some(first) || moved.first_life() != Some(first) {
        let words = format!("{old:?} of life {first:?} was renamed at n{home}: {before:?} became {moved:?}");
        return world.fail("C5", words);
    }
    let sessions = check::sessions_in(&world.history, &moved);
    world
        .history
        .lineage
        .renamed(&[sessions, vec![first]].concat(), from, to, written.version);
    let replaced = moved.lifecycle.fates.iter().map(|(_, fate)| fate.at());
    world.history.deleted_at.extend(replaced);
    world.history.deleted_at.extend(view::left_at(&other));
    world.history.renamed[from] = Some(at);
    world.clients[index].sessions[position] = to;
    if let Some(life) = moved.life() {
        world.history.touched(to, incarnation, life, first, at);
    }
    // What the session holds are writes that were noted before.
    let mut ends = vec![(from, before.lives())];
    if other.is_alive() {
        world.history.replaced.extend(other.first_life());
        ends.push((to, other.lives()));
    }
    let endings = (world.history.endings.len()..).take(ends.len()).collect();
    for (session, lives) in ends {
        world.history.endings.push(Ending {
            session,
            lives,
            deleted: None,
            at,
            holders: vec![incarnation],
        });
    }
    wait(world, index, written.write_set, Vec::new(), endings);
}
