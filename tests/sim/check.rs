//! The claims that are checked while a cluster runs, each with its name in the table of `docs/TESTING.md`. They are about
//! what one client or one node just saw. What has to be true of a core at rest is [`crate::rest`]'s.

use limpet_core::base::id::SessionKey;
use limpet_core::engine::{Engine, Phase};
use limpet_core::replication::message::Message;
use limpet_core::session::{Record, Stamp};

use crate::clock::BEGIN_MS;
use crate::history::{History, NAMES};
use crate::report::Rare;
use crate::view;
use crate::world::World;

/// The error, beside the clocks' skew, of whatever depends on the time.
pub const EPSILON_MS: u64 = 200;
/// How far off a node may take the time of another to be.
const READING_MS: u64 = 2500;
/// For how long after it joined: it reads the time over a path whose delay it does not know yet.
const JOINED_LATELY_US: u64 = 10_000_000;

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
        (counters.renames_undone, Rare::Undone),
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

/// What every node holds of a session, as text.
pub fn everywhere(world: &World, session: Option<usize>) -> String {
    let Some(session) = session else {
        return String::new();
    };
    let key = &world.history.keys[session];
    let held = world.hosts.iter().filter_map(|host| {
        let table = host.engine.as_ref()?.table();
        let record = table.get(key);
        let ids = record.into_iter().flat_map(|record| {
            let renamed = record
                .lifecycle
                .fates
                .iter()
                .filter_map(|(_, fate)| fate.renamed());
            renamed.map(|renamed| SessionKey::new(key.app(), &renamed.to))
        });
        let later: Vec<_> = ids.map(|id| (table.get(&id).cloned(), id)).collect();
        Some(format!(
            "n{} holds {record:?}, and of its later ids {later:?}",
            host.index
        ))
    });
    held.collect::<Vec<_>>().join("; ")
}

/// C3, C4, C5, C7, C11: what a client reads.
pub fn served(world: &mut World, index: usize, session: usize, record: &Record) {
    let client = &world.clients[index];
    let home = client.home;
    let key = world.history.keys[session].clone();
    world.numbers.checked_reads += 1;
    if let Err((claim, words)) = sound(&world.history, record) {
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
        // What it had become one with may have taken its place before it left.
        let history = &world.history;
        let of = history.values.get(&(position, seen.1)).map(|(_, of)| *of);
        let left_with = |(life, first): (Stamp, Stamp)| {
            let met = |of| {
                history
                    .lineage
                    .may_have_met(of, &[vec![first], history.lineage.of(life)].concat())
            };
            life > seen.0 && of.is_some_and(met)
        };
        let was_over = view::has_left(record, seen.0)
            || view::departed(record).any(left_with)
            || view::expired(record) >= Some(seen.0)
            || world.plan.forgets() && life > seen.0;
        if now.is_none_or(|now| now < seen) && !was_over {
            let words = format!("{key:?} {name} at n{home} went from {seen:?} to {now:?}: {record:?}");
            return world.fail("C5", words);
        }
    }
    for (name, rank, _) in view::attributes(record) {
        if let Some(position) = NAMES.iter().position(|known| *known == name) {
            world.clients[index].seen.insert((session, position), rank);
        }
    }
    late(world, home, session, record);
}

/// The sessions whose values a record holds, by the lives they were created with.
pub fn sessions_in(history: &History, record: &Record) -> Vec<Stamp> {
    let written = view::attributes(record).filter_map(|(name, rank, _)| {
        let name = NAMES.iter().position(|known| *known == name)?;
        history.values.get(&(name, rank.1)).map(|(_, session)| *session)
    });
    let mut sessions: Vec<_> = written.collect();
    sessions.sort_unstable();
    sessions.dedup();
    sessions
}

/// C4 and C11: a value is one that was written, by the write whose stamp it has, and to this session.
pub fn sound(history: &History, record: &Record) -> Result<(), (&'static str, String)> {
    for (name, rank, value) in view::attributes(record) {
        let Some(position) = NAMES.iter().position(|known| *known == name) else {
            return Err(("C11", format!("has an attribute {name} that nobody wrote")));
        };
        if let Some(value) = value
            && History::belongs(value).is_none_or(|(_, attribute)| attribute != position)
        {
            return Err(("C11", format!("{name} holds a value of another attribute")));
        }
        match history.values.get(&(position, rank.1)) {
            Some((written, _)) if written.as_ref() == value => {}
            Some(_) => {
                return Err((
                    "C4",
                    format!("{name} holds another value than was written at {rank:?}"),
                ));
            }
            None => return Err(("C4", format!("{name} has the stamp {rank:?} of no write"))),
        }
    }
    let sessions = sessions_in(history, record);
    if history.lineage.may_be_one(&sessions) {
        return Ok(());
    }
    Err((
        "C11",
        format!("holds values of several sessions, {sessions:?}: {record:?}"),
    ))
}

/// C7: nothing is served for longer than its idle lifetime.
fn late(world: &mut World, home: usize, session: usize, record: &Record) {
    let history = &world.history;
    let first = record.first_life().unwrap_or_default();
    let (Some(longest), Some(last)) = (history.longest(first), history.last_touch.get(&first)) else {
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
    let table = engine.map(Engine::table);
    let record = table.and_then(|table| table.get(&history.keys[session]));
    if let Some(table) = table {
        let trails = history.trails(&[table], &history.keys[session], last.life, last.first);
        let is_elsewhere = trails.iter().any(|trail| trail.key != history.keys[session]);
        let is_over = trails.iter().any(|trail| trail.ended.is_some());
        let overtaken = record.is_some_and(|record| history.was_overtaken(record, last.life, last.first));
        let is_forgotten = world.plan.forgets()
            && (history.lineage.was_renamed_since(last.first, last.life)
                || history.was_deleted_elsewhere(last.first));
        if is_elsewhere || is_over || overtaken || is_forgotten {
            return; // should it have been renamed, whether it is there is asked when all is at rest
        }
    }
    let Some(shortest) = history.shortest(last.first) else {
        if !history.was_deleted(session, last.life, last.first) && !world.plan.options.end_on_leave {
            let words = format!("{:?} lives for ever and is not at n{home}", history.keys[session]);
            world.fail("C5", words);
        }
        return;
    };
    let until = last.at / 1000 + shortest;
    let mut joined = world.hosts.iter().filter(|host| host.was_ready);
    let reading_ms = match joined.any(|host| world.now - host.ready_at < JOINED_LATELY_US) {
        true => READING_MS,
        false => 0,
    };
    let now = world.now / 1000 + world.plan.clocks.apart_ms() + EPSILON_MS + reading_ms;
    if now < until && !history.was_deleted(session, last.life, last.first) && !world.plan.options.end_on_leave
    {
        let words = format!(
            "{:?} was touched at n{home} in {:?} {} ms ago, lives {shortest} ms and is not there: {record:?}",
            history.keys[session],
            last.life,
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
