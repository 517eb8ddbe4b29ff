//! The claims that are checked while a cluster runs, each with its name in the table of `docs/TESTING.md`. They are about
//! what one client or one node just saw. What has to be true of a core at rest is [`crate::rest`]'s.

use limpet_core::engine::{Engine, Phase};
use limpet_core::replication::message::Message;
use limpet_core::session::{Record, Stamp};

use crate::client::Pending;
use crate::clock::BEGIN_MS;
use crate::history::{History, NAMES};
use crate::host::Host;
use crate::report::Rare;
use crate::view;
use crate::world::World;

/// The error, beside the clocks' skew, of whatever depends on the time.
pub const EPSILON_MS: u64 = 200;
/// How far off a node may take the time of another to be.
const READING_MS: u64 = 2500;

/// C9: what a node keeps for others is bounded.
pub fn bounds(world: &mut World, index: usize) {
    let Some(engine) = &world.hosts[index].engine else {
        return;
    };
    let most = engine.config().queue_bytes;
    for (peer, state) in engine.peers() {
        let bytes = state.outboxes().bytes();
        if bytes > most {
            return world.fail(
                "C9",
                format!("n{index} keeps {bytes} bytes for {peer} where {most} are allowed"),
            );
        }
    }
}

/// C6: stamps of a node rise, and stay near the true time.
pub fn stamp(world: &mut World, index: usize, stamp: Stamp) {
    let last = std::mem::replace(&mut world.hosts[index].last_stamp, stamp);
    if stamp <= last {
        return world.fail("C6", format!("n{index} stamped {stamp:?} after {last:?}"));
    }
    let most = BEGIN_MS + world.now / 1000 + world.latest_joining_ms.unsigned_abs() + READING_MS;
    if stamp.wall_ms() > most {
        world.fail(
            "C6",
            format!("n{index} stamped {} ms too far ahead", stamp.wall_ms() - most),
        );
    }
}

/// Prints a node's view of the members, whenever that changes.
fn show_members(world: &mut World, index: usize) {
    let host = &mut world.hosts[index];
    let Some(engine) = &host.engine else { return };
    let seen: Vec<String> = engine
        .roster()
        .iter()
        .map(|(node, m)| {
            let flags = [
                (m.active, "active"),
                (m.linked, "linked"),
                (m.ready, "ready"),
                (m.leaving, "leaving"),
            ];
            let flags: Vec<_> = flags
                .iter()
                .filter(|(is, _)| *is)
                .map(|(_, word)| *word)
                .collect();
            format!(
                "{node} incarnation {} {}",
                m.identity.incarnation % 10_000_000,
                flags.join(" ")
            )
        })
        .collect();
    if seen != host.shown {
        let own = engine.identity().incarnation % 10_000_000;
        println!(
            "  {:>11.6} n{index} incarnation {own} sees {seen:?}",
            world.now as f64 / 1e6
        );
        host.shown = seen;
    }
}

/// What is to be looked at when a node becomes ready, and what can be seen of rare branches from outside.
pub fn readiness(world: &mut World, index: usize) {
    if world.verbose {
        show_members(world, index);
    }
    let Some(engine) = &world.hosts[index].engine else {
        return;
    };
    let ready = *engine.phase() == Phase::Ready;
    let counters = *engine.counters();
    let donor = engine.not_ready_reason().and_then(|reason| {
        Some(
            reason
                .strip_prefix("receiving sessions from ")?
                .split(':')
                .next()?
                .to_owned(),
        )
    });
    let host = &mut world.hosts[index];
    if let Some(donor) = donor {
        if host.donor.as_ref().is_some_and(|before| *before != donor) {
            world.reached.note(Rare::DonorReplaced);
        }
        host.donor = Some(donor);
    }
    for (count, rare) in [
        (counters.behind, Rare::Overflow),
        (counters.repairs, Rare::Repaired),
        (counters.skew_refused, Rare::Refused),
        (counters.expired, Rare::Expired),
        (counters.revived, Rare::Contradicted),
    ] {
        if count > 0 {
            world.reached.note(rare);
        }
    }
    if counters.skew_refused > 0 && world.plan.clocks.are_near() {
        return world.fail(
            "C6",
            format!(
                "n{index} refused {} changes though all clocks are near enough",
                counters.skew_refused
            ),
        );
    }
    let host = &mut world.hosts[index];
    if ready && !host.was_ready {
        host.was_ready = true;
        host.ready_at = world.now;
        crate::joined::joined(world, index);
    }
}

/// C2: the count never exceeds the truth.
pub fn copies(world: &mut World, index: usize, pending: &Pending, copies: usize) {
    let holds = |world: &World, engine: &Engine| {
        let table = engine.table();
        let history = &world.history;
        pending.writes.iter().all(|write| {
            let write = &history.writes[*write];
            write.is_in(table.get(&history.keys[write.session]))
        }) && pending.deletions.iter().all(|end| {
            let end = &history.deletions[*end];
            end.is_in(table.get(&history.keys[end.session]))
        })
    };
    let holders: Vec<_> = world
        .hosts
        .iter()
        .filter(|host| host.engine.as_ref().is_some_and(|engine| holds(world, engine)))
        .map(Host::incarnation)
        .collect();
    crate::fresh::note_told(world, &pending.writes);
    let history = &mut world.history;
    let since = pending
        .writes
        .iter()
        .map(|write| history.writes[*write].at)
        .chain(pending.deletions.iter().map(|end| history.deletions[*end].at))
        .min()
        .unwrap_or(world.now);
    let lost = history.losses_since(since);
    for write in &pending.writes {
        let write = &mut history.writes[*write];
        let key = &history.keys[write.session];
        let keeps = |engine: &Engine| write.is_kept_in(engine.table().get(key));
        let keepers = world
            .hosts
            .iter()
            .filter(|host| host.engine.as_ref().is_some_and(keeps));
        write.holders = keepers.map(Host::incarnation).collect();
        write.told = copies;
    }
    for end in &pending.deletions {
        history.deletions[*end].holders.clone_from(&holders);
    }
    // In `backup` mode a node hands over what it is not to hold, and may have by now.
    let home = world.clients[index].home;
    let handed_off = !world.plan.everywhere() && !holders.iter().any(|incarnation| incarnation.0 == home);
    let forgotten = if world.plan.options.tombstone_life <= world.plan.safety {
        forgotten(world, home, pending)
    } else {
        0
    };
    if copies > holders.len() + lost + usize::from(handed_off) + forgotten {
        let writes: Vec<_> = pending
            .writes
            .iter()
            .map(|write| &world.history.writes[*write])
            .collect();
        let deletions: Vec<_> = pending
            .deletions
            .iter()
            .map(|end| &world.history.deletions[*end])
            .collect();
        let words = format!(
            "client {index} was told of {copies} copies; {holders:?} hold it and {lost} lost their memory since: \
             {writes:?} {deletions:?}; {}",
            everywhere(
                world,
                writes
                    .first()
                    .map(|write| write.session)
                    .or(deletions.first().map(|end| end.session))
            )
        );
        world.fail("C2", words);
    }
}

/// How many nodes know nothing of a session that `home` by now knows to have been deleted when it was written: they held
/// the write, in that they held the tombstone, which they may have forgotten since.
fn forgotten(world: &World, home: usize, pending: &Pending) -> usize {
    let record = |engine: Option<&Engine>, write: usize| {
        let key = &world.history.keys[world.history.writes[write].session];
        engine.and_then(|engine| engine.table().get(key).cloned())
    };
    let engine = world.hosts[home].engine.as_ref();
    let over = |write: &usize| {
        let life = world.history.writes[*write].life;
        record(engine, *write).is_some_and(|record| view::deleted(&record) >= life)
    };
    if pending.writes.is_empty() || !pending.writes.iter().all(over) {
        return 0;
    }
    let knows = |host: &&Host| {
        let mut writes = pending.writes.iter();
        writes.any(|write| record(host.engine.as_ref(), *write).is_some())
    };
    world.hosts.iter().filter(|host| !knows(host)).count()
}

/// What every node holds of a session, as text.
pub fn everywhere(world: &World, session: Option<usize>) -> String {
    let Some(session) = session else {
        return String::new();
    };
    let key = &world.history.keys[session];
    let held = world.hosts.iter().filter_map(|host| {
        let record = host.engine.as_ref()?.table().get(key);
        Some(format!("n{} holds {record:?}", host.index))
    });
    held.collect::<Vec<_>>().join("; ")
}

/// C3, C4, C5, C7, C11: what a client reads.
pub fn served(world: &mut World, index: usize, session: usize, record: &Record) {
    let client = &world.clients[index];
    let home = client.home;
    let key = world.history.keys[session].clone();
    world.numbers.checked_reads += 1;
    if let Err((claim, words)) = sound(&world.history, session, record) {
        return world.fail(claim, format!("{key:?} at n{home}: {words}"));
    }
    let life = record.life().unwrap_or_default();
    if client.over.get(&session).is_some_and(|over| life <= *over) {
        return world.fail(
            "C3",
            format!("{key:?} is served at n{home} after its deletion was seen there"),
        );
    }
    for (position, name) in NAMES.iter().enumerate() {
        let Some(seen) = world.clients[index].seen.get(&(session, position)).copied() else {
            continue;
        };
        let now = view::attribute(record, name).map(|(rank, _)| rank);
        if !world.plan.everywhere() {
            break; // a node that holds no copy asks others, who may know less
        }
        if now.is_none_or(|now| now < seen) && view::deleted(record) < seen.0 && life <= seen.0 {
            let words = format!("{key:?} {name} at n{home} went from {seen:?} to {now:?}");
            return world.fail("C5", words);
        }
    }
    for (name, rank, _) in view::attributes(record) {
        if let Some(position) = NAMES.iter().position(|known| *known == name) {
            world.clients[index].seen.insert((session, position), rank);
        }
    }
    late(world, home, session);
}

/// C4 and C11: a value is one that was written there, by the write whose stamp it has.
pub fn sound(history: &History, session: usize, record: &Record) -> Result<(), (&'static str, String)> {
    for (name, rank, value) in view::attributes(record) {
        let Some(position) = NAMES.iter().position(|known| *known == name) else {
            return Err(("C11", format!("has an attribute {name} that nobody wrote")));
        };
        if let Some(value) = value {
            let belongs = History::belongs(value);
            let fits = belongs.is_some_and(|(line, attribute)| {
                attribute == position && history.lines[session].contains(&line)
            });
            if !fits {
                return Err(("C11", format!("{name} holds what belongs to {belongs:?}")));
            }
        }
        match history.values.get(&(session, position, rank.1)) {
            Some(written) if written.as_ref() == value => {}
            Some(_) => {
                return Err((
                    "C4",
                    format!("{name} holds another value than was written at {rank:?}"),
                ));
            }
            None => return Err(("C4", format!("{name} has the stamp {rank:?} of no write"))),
        }
    }
    Ok(())
}

/// C7: nothing is served for longer than its idle lifetime.
fn late(world: &mut World, home: usize, session: usize) {
    let history = &world.history;
    let (Some(longest), Some(last)) = (history.longest[session], history.last_touch.get(&session)) else {
        return;
    };
    let most = last / 1000 + longest + world.plan.clocks.apart_ms() + EPSILON_MS;
    if world.now / 1000 > most {
        let words = format!(
            "{:?} is served at n{home} {} ms after its time",
            history.keys[session],
            world.now / 1000 - most
        );
        world.fail("C7", words);
    }
}

/// C5 and C7: a session that is not there was deleted, or has expired.
pub fn gone(world: &mut World, home: usize, session: usize) {
    world.numbers.checked_reads += 1;
    if !world.plan.everywhere() {
        return; // in `backup` mode a node need not hold what was touched there
    }
    let history = &world.history;
    let incarnation = world.hosts[home].incarnation();
    let Some(last) = history.touches.get(&(session, incarnation)) else {
        return;
    };
    let engine = world.hosts[home].engine.as_ref();
    let record = engine.and_then(|engine| engine.table().get(&history.keys[session]));
    if record.is_some_and(|record| view::was_overtaken(record, last.life)) {
        return;
    }
    let Some(shortest) = history.shortest[session] else {
        if !history.was_deleted(session, last.life) && !world.plan.options.end_on_leave {
            let words = format!("{:?} lives for ever and is not at n{home}", history.keys[session]);
            world.fail("C5", words);
        }
        return;
    };
    let until = last.at / 1000 + shortest;
    let now = world.now / 1000 + world.plan.clocks.apart_ms() + EPSILON_MS;
    if now < until && !history.was_deleted(session, last.life) && !world.plan.options.end_on_leave {
        let words = format!(
            "{:?} was touched at n{home} {} ms ago, lives {shortest} ms and is not there",
            history.keys[session],
            (world.now - last.at) / 1000
        );
        world.fail("C7", words);
    }
}

/// What a message will change at a node, for the report.
pub fn before_message(world: &mut World, index: usize, message: &Message) {
    let Message::Chunk { records, .. } = message else {
        return;
    };
    let Some(engine) = world.hosts[index].engine.as_ref() else {
        return;
    };
    if *engine.phase() != Phase::Ready {
        return;
    }
    for (key, record) in records {
        world.numbers.repaired += 1;
        let learned = match engine.table().get(key) {
            Some(mine) => mine.clone().join(record),
            None => true,
        };
        world.numbers.needless += u64::from(!learned);
    }
}
