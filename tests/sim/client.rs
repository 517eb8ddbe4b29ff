//! Clients: each keeps to one node while that serves it and asks one thing after the other. What they are told is
//! compared with what they did, at once.

use std::collections::HashMap;

use limpet_core::drivers::engine::sessions::{Patch, Refused};
use limpet_core::replication::acks::Level;
use limpet_core::replication::slots::Slots;
use limpet_core::session::{Record, Stamp};
use limpet_wire::report::IdleLimit;

use crate::check;
use crate::draw::Draw;
use crate::history::{End, NAMES, Run, Write};
use crate::report::Rare;
use crate::view::{self, Rank};
use crate::world::{Event, World};

/// A request that waits for copies.
#[derive(Debug)]
pub struct Pending {
    pub request: u64,
    pub writes: Vec<usize>,
    pub ends: Vec<usize>,
}

/// What a client asks for.
#[derive(Debug, Clone, Copy)]
pub enum Asked {
    Patch,
    Read,
    Touch,
    Delete,
    Rename,
}

/// How often a session is asked for, which may turn out to have another id.
const FETCH_ROUNDS: u32 = 2;

/// One client.
#[derive(Debug)]
pub struct Client {
    pub home: usize,
    /// Which run of its node it spoke to last.
    pub run: Run,
    pub sessions: Vec<usize>,
    pub pending: Option<Pending>,
    /// The session its node asks others for: run, fetch, place among its sessions, what it wants, rounds left.
    pub fetching: Option<(Run, u64, usize, Asked, u32)>,
    pub requests: u64,
    /// What it has seen of attributes in this run: nothing earlier may show up again.
    pub seen: HashMap<(usize, usize), Rank>,
    /// Ends it has seen.
    pub over: HashMap<usize, Stamp>,
    /// Whether it had to leave its node.
    pub moved: bool,
    pub draw: Draw,
}

/// Clients as the plan says.
pub fn arrive(world: &mut World) {
    let load = world.plan.load;
    let idle = world.plan.options.max_inactive;
    let sessions: Vec<usize> = (0..load.sessions).map(|_| world.history.session(idle)).collect();
    for index in 0..load.clients {
        let mut draw = Draw::of(world.plan.seed, &format!("client {index}"));
        let own = draw.between(1, 5);
        let client = Client {
            home: draw.index(world.plan.nodes),
            run: (0, 0),
            sessions: (0..own).map(|_| draw.pick(&sessions)).collect(),
            pending: None,
            fetching: None,
            requests: 0,
            seen: HashMap::new(),
            over: HashMap::new(),
            moved: false,
            draw,
        };
        world.clients.push(client);
        world.after(1_000_000 + index as u64 * 10_000, Event::Request(index));
    }
}

/// A client's next request.
pub fn request(world: &mut World, index: usize) {
    if world.closed.is_some() {
        return;
    }
    let think = world.plan.load.think.as_micros() as u64;
    let client = &mut world.clients[index];
    let next = client.draw.between(think / 5, think * 9 / 5);
    let wander = client.draw.chance(world.plan.load.wander);
    world.after(next, Event::Request(index));
    let client = &mut world.clients[index];
    if client.pending.is_some() || client.fetching.is_some() {
        return;
    }
    let host = &world.hosts[client.home];
    let (home, served) = (client.home, host.is_ready());
    if host.awake().is_some() && !served {
        check_not_served(world, home);
    }
    if !served || wander || !world.core.contains(&home) {
        let client = &mut world.clients[index];
        client.home = client.draw.pick(&world.core);
        client.moved = !served;
        return;
    }
    let client = &mut world.clients[index];
    let run = world.hosts[home].run();
    if client.run != run {
        client.run = run;
        client.seen.clear();
        client.over.clear();
    }
    let place = client.draw.index(client.sessions.len());
    let session = client.sessions[place];
    let parallel = world.history.renamed[session].is_some_and(|at| world.now - at < 2_000_000);
    if parallel {
        world.reached.note(Rare::ParallelRename);
    }
    world.numbers.requests += 1;
    let asked = match world.clients[index].draw.below(100) {
        0..45 => Asked::Patch,
        45..75 => Asked::Read,
        75..88 => Asked::Touch,
        88..94 => Asked::Delete,
        _ => Asked::Rename,
    };
    bring(world, index, place, asked, FETCH_ROUNDS);
}

/// Sees to it that the session is at the client's node, as the daemon does before it answers; then asks.
fn bring(world: &mut World, index: usize, place: usize, asked: Asked, rounds: u32) {
    let (home, session) = (world.clients[index].home, world.clients[index].sessions[place]);
    let key = world.history.keys[session].clone();
    let missing = world.call(home, |engine, now| {
        engine.must_fetch(&key, now).then(|| engine.fetch(&key, now))
    });
    match missing.flatten().filter(|_| rounds > 0) {
        Some(Ok(Some(id))) => {
            world.reached.note(Rare::Fetched);
            let run = world.hosts[home].run();
            world.clients[index].fetching = Some((run, id, place, asked, rounds - 1));
            let requests = world.clients[index].requests;
            world.after(3_000_000, Event::GiveUp(index, requests));
        }
        Some(Err(_)) if world.call(home, |engine, now| engine.session(&key, now).is_none()) == Some(true) => {
        }
        _ => perform(world, index, place, asked),
    }
}

/// A node has asked the others for a session.
pub fn fetched(world: &mut World, home: usize, id: u64, answered: bool) {
    let run = world.hosts[home].run();
    let waits = |client: &Client| {
        client
            .fetching
            .is_some_and(|(at, waits_for, ..)| (at, waits_for) == (run, id))
    };
    let Some(index) = world.clients.iter().position(waits) else {
        return;
    };
    let Some((_, _, place, asked, rounds)) = world.clients[index].fetching.take() else {
        return;
    };
    let session = world.clients[index].sessions[place];
    let key = world.history.keys[session].clone();
    let there = world.call(home, |engine, now| engine.session(&key, now).is_some()) == Some(true);
    if answered || there {
        // What turned out to have another id by now is asked for under that one.
        let renamed = current(world, home, session) != session;
        bring(world, index, place, asked, if renamed { rounds } else { 0 });
    }
}

fn perform(world: &mut World, index: usize, place: usize, asked: Asked) {
    let session = world.clients[index].sessions[place];
    if !world.hosts[world.clients[index].home].is_ready() {
        return;
    }
    match asked {
        Asked::Patch => patch(world, index, session),
        Asked::Read => read(world, index, session),
        Asked::Touch => touch(world, index, session),
        Asked::Delete => delete(world, index, session),
        Asked::Rename => rename(world, index, place),
    }
}

fn check_not_served(world: &mut World, home: usize) {
    world.reached.note(Rare::NotReady);
    let key = world.history.keys[0].clone();
    let answer = world.call(home, |engine, now| engine.patch(&key, Patch::default(), now));
    if !matches!(answer, Some(Err(Refused::NotReady(_)))) {
        world.fail("C8", format!("n{home} is not ready and answers {answer:?}"));
    }
}

fn patch(world: &mut World, index: usize, session: usize) {
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
    let run = world.hosts[home].run();
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
        if rank.0 == version && view::ended(&record) > Stamp::ZERO {
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
            holders: vec![run],
            told: 1,
        });
        world.clients[index].seen.insert((session, name), rank);
        world.history.used(session, run, rank.0, at);
    }
    if world.clients[index].moved && world.faults.cuts > 0 {
        world.reached.note(Rare::TakeoverInCut);
    }
    wait(world, index, written.slots, writes, Vec::new());
}

/// What a node holds of a session.
fn held(world: &World, home: usize, session: usize) -> Record {
    let engine = world.hosts[home].engine.as_ref();
    let record = engine.and_then(|engine| engine.table().get(&world.history.keys[session]));
    record.cloned().unwrap_or_default()
}

/// The session a node finds by the id of `session`.
fn current(world: &World, home: usize, session: usize) -> usize {
    let host = &world.hosts[home];
    let key = &world.history.keys[session];
    let current = host
        .engine
        .as_ref()
        .map(|engine| engine.current_key(key, host.now(world.now)));
    current.map_or(session, |key| world.history.named(&key))
}

fn wait(world: &mut World, index: usize, slots: Slots, writes: Vec<usize>, ends: Vec<usize>) {
    let client = &mut world.clients[index];
    let home = client.home;
    let level = client.draw.pick(&[
        Level::None,
        Level::None,
        Level::None,
        Level::One,
        Level::Quorum,
        Level::All,
    ]);
    let timeout = client.draw.time(100, 3_000);
    client.requests += 1;
    let request = client.requests;
    client.pending = Some(Pending {
        request,
        writes,
        ends,
    });
    let epoch = world.hosts[home].epoch;
    match world.call(home, |engine, now| engine.wait_for(level, timeout, slots, now)) {
        Some(Err(copies)) => answered(world, index, request, copies),
        Some(Ok(waiter)) => {
            world.waiters.insert((home, epoch, waiter), (index, request));
            let patience = timeout.as_micros() as u64 + 1_000_000;
            world.after(patience, Event::GiveUp(index, request));
        }
        None => world.clients[index].pending = None,
    }
}

/// A client learns how many copies there are.
pub fn answered(world: &mut World, index: usize, request: u64, copies: usize) {
    let client = &mut world.clients[index];
    let Some(pending) = client.pending.take_if(|pending| pending.request == request) else {
        return;
    };
    world.numbers.answers += 1;
    world.numbers.copies += copies as u64;
    check::copies(world, index, &pending, copies);
}

/// A client does not wait any longer: its node is stopped, or gone.
pub fn give_up(world: &mut World, index: usize, request: u64) {
    let client = &mut world.clients[index];
    client.fetching.take_if(|_| client.requests == request);
    if client
        .pending
        .take_if(|pending| pending.request == request)
        .is_some()
    {
        client.moved = true;
        client.home = client.draw.pick(&world.core);
    }
}

/// The process at `host` is gone, and every connection to it.
pub fn disconnected(world: &mut World, host: usize) {
    let waiting: Vec<_> = world
        .waiters
        .keys()
        .filter(|(index, ..)| *index == host)
        .copied()
        .collect();
    for client in &mut world.clients {
        client.fetching.take_if(|(run, ..)| run.0 == host);
    }
    for waiter in waiting {
        if let Some((client, request)) = world.waiters.remove(&waiter) {
            world.clients[client]
                .pending
                .take_if(|pending| pending.request == request);
        }
    }
}

fn read(world: &mut World, index: usize, session: usize) {
    let home = world.clients[index].home;
    let key = world.history.keys[session].clone();
    let session = current(world, home, session);
    match world.call(home, |engine, now| engine.find(&key, now).cloned()) {
        Some(Ok(record)) => check::served(world, index, session, &record),
        Some(Err(Refused::Incomplete)) => world.reached.note(Rare::Incomplete),
        _ => check::gone(world, home, session),
    }
}

fn touch(world: &mut World, index: usize, session: usize) {
    let home = world.clients[index].home;
    let key = world.history.keys[session].clone();
    let session = current(world, home, session);
    match world.call(home, |engine, now| engine.touch(&key, now)) {
        Some(Ok(_)) => {
            let run = world.hosts[home].run();
            match held(world, home, session).life() {
                Some(life) => world.history.used(session, run, life, world.now),
                None => world.fail("C5", format!("{key:?} was used at n{home} and is not there")),
            }
        }
        Some(Err(Refused::NotFound)) => check::gone(world, home, session),
        Some(Err(Refused::Incomplete)) => world.reached.note(Rare::Incomplete),
        other => world.fail("C8", format!("n{home} is ready and answers a use with {other:?}")),
    }
}

fn delete(world: &mut World, index: usize, session: usize) {
    let (home, at) = (world.clients[index].home, world.now);
    let key = world.history.keys[session].clone();
    let session = current(world, home, session);
    match world.call(home, |engine, now| engine.delete(&key, now)) {
        Some(Ok(written)) => {
            check::stamp(world, home, written.version);
            let run = world.hosts[home].run();
            let end = world.history.ends.len();
            world.history.ends.push(End {
                session,
                stamp: written.version,
                at,
                holders: vec![run],
            });
            world.clients[index].over.insert(session, written.version);
            wait(world, index, written.slots, Vec::new(), vec![end]);
        }
        Some(Err(Refused::NotFound)) => check::gone(world, home, session),
        Some(Err(Refused::Incomplete)) => world.reached.note(Rare::Incomplete),
        other => world.fail(
            "C8",
            format!("n{home} is ready and answers a delete with {other:?}"),
        ),
    }
}

fn rename(world: &mut World, index: usize, place: usize) {
    let (home, at) = (world.clients[index].home, world.now);
    let known = world.clients[index].sessions[place];
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
    let run = world.hosts[home].run();
    let moved = held(world, home, to);
    let over = view::ended(&held(world, home, from));
    let line = world.history.lines[from].clone();
    world.history.lines[to].extend(line);
    world.history.shortest[to] = world.history.shortest[from];
    world.history.longest[to] = world.history.longest[from];
    world.history.renamed[from] = Some(at);
    world.clients[index].sessions[place] = to;
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
            holders: vec![run],
            told: 1,
        });
    }
    if let Some(life) = moved.life() {
        world.history.used(to, run, life, at);
    }
    let end = world.history.ends.len();
    world.history.ends.push(End {
        session: from,
        stamp: over,
        at,
        holders: vec![run],
    });
    world.clients[index].over.insert(from, over);
    wait(world, index, written.slots, writes, vec![end]);
}
