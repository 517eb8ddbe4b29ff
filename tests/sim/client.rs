//! Clients: each stays with one node while that serves it, and sends one request after the other. Each answer is compared
//! at once with what the client did. What a request does to a session is [`crate::operation`]'s.

use std::collections::{HashMap, HashSet};

use limpet_core::engine::sessions::{Patch, Refused};
use limpet_core::replication::acks::Level;
use limpet_core::replication::write_set::WriteSet;
use limpet_core::session::{Record, Stamp};

use crate::copies;
use crate::draw::Draw;
use crate::history::Incarnation;
use crate::report::Rare;
use crate::view::Rank;
use crate::world::{Event, World};
use crate::{operation, propose, rename};

/// A request that waits for copies.
#[derive(Debug)]
pub struct Pending {
    pub request: u64,
    pub writes: Vec<usize>,
    pub endings: Vec<usize>,
}

/// What a client asks for.
#[derive(Debug, Clone, Copy)]
pub enum Asked {
    Patch,
    Read,
    Touch,
    Delete,
    Rename,
    /// A change on a condition that one node decides.
    Propose,
    /// A change in the life that was read.
    Conditional,
    /// A deletion of the life that was read.
    DeleteConditional,
}

/// How many ids many clients want to rename their sessions to.
const WANTED: usize = 12;

/// How many sessions clients contend for, where a majority decides.
const CONTENDED: usize = 2;
/// How often a session is fetched, which may turn out to have another id.
const FETCH_ROUNDS: u32 = 2;

/// One client.
#[derive(Debug)]
pub struct Client {
    pub home: usize,
    /// The incarnation of its node that it spoke to last.
    pub incarnation: Incarnation,
    pub sessions: Vec<usize>,
    pub pending: Option<Pending>,
    /// The session its node fetches: incarnation, fetch, index among the client's sessions, the request, rounds left.
    pub fetching: Option<(Incarnation, u64, usize, Asked, u32)>,
    /// Whether it waits for a decision.
    pub proposing: bool,
    pub requests: u64,
    /// When it asked last.
    pub asked_at: u64,
    /// What it has seen of attributes in this incarnation: nothing earlier may show up again.
    pub seen: HashMap<(usize, usize), Rank>,
    /// Deletions it has seen.
    pub over: HashMap<usize, Stamp>,
    /// The life each session had when it was last read, as the session was created.
    pub read: HashMap<usize, Stamp>,
    /// Sessions it has seen deleted, by the life they were created with.
    pub ended: HashSet<Stamp>,
    /// Whether it had to leave its node.
    pub moved: bool,
    pub draw: Draw,
}

/// Clients as the plan says.
pub fn arrive(world: &mut World) {
    let load = world.plan.load;
    world.history.begin_with(world.plan.options.max_inactive);
    world.history.ends_on_leave = world.plan.options.end_on_leave;
    let sessions: Vec<usize> = (0..load.sessions).map(|_| world.history.session()).collect();
    world.history.wanted = (0..WANTED).map(|_| world.history.session()).collect();
    for index in 0..load.clients {
        let mut draw = Draw::of(world.plan.seed, &format!("client {index}"));
        let own = draw.between(1, 5);
        let client = Client {
            home: draw.index(world.plan.nodes),
            incarnation: (0, 0),
            sessions: (0..own).map(|_| draw.pick(&sessions)).collect(),
            pending: None,
            fetching: None,
            proposing: false,
            requests: 0,
            asked_at: 0,
            seen: HashMap::new(),
            over: HashMap::new(),
            read: HashMap::new(),
            ended: HashSet::new(),
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
    if client.pending.is_some() || client.fetching.is_some() || client.proposing {
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
    let incarnation = world.hosts[home].incarnation();
    if client.incarnation != incarnation {
        client.incarnation = incarnation;
        client.seen.clear();
        client.over.clear();
        client.ended.clear();
    }
    let position = client.draw.index(client.sessions.len());
    let session = client.sessions[position];
    let parallel = world.history.renamed[session].is_some_and(|at| world.now - at < 2_000_000);
    if parallel {
        world.reached.note(Rare::ParallelRename);
    }
    world.numbers.requests += 1;
    world.clients[index].asked_at = world.now;
    let asked = match world.clients[index].draw.below(100) {
        0..23 => Asked::Patch,
        23..32 => Asked::Conditional,
        32..46 => Asked::Read,
        46..54 => Asked::Propose,
        54..62 => Asked::Touch,
        62..66 => Asked::Delete,
        66..68 => Asked::DeleteConditional,
        _ => Asked::Rename,
    };
    // Where a majority decides, clients contend for a few sessions, or there would be nothing to decide.
    let contends = world.plan.options.quorum && world.clients[index].draw.chance(0.5);
    let (position, asked) = if contends {
        (position % CONTENDED, Asked::Propose)
    } else {
        (position, asked)
    };
    make_local(world, index, position, asked, FETCH_ROUNDS);
}

/// Has the client's node fetch the session, as the daemon does before it answers; then sends the request.
fn make_local(world: &mut World, index: usize, position: usize, asked: Asked, rounds: u32) {
    let (home, session) = (world.clients[index].home, world.clients[index].sessions[position]);
    let key = world.history.keys[session].clone();
    let follows = matches!(asked, Asked::Conditional | Asked::DeleteConditional);
    let missing = world.call(home, |engine, now| {
        let mut keys = vec![key.clone()];
        if follows {
            keys.extend(engine.later_keys(&key, now));
        }
        let missing = keys.into_iter().find(|key| engine.must_fetch(key, now))?;
        Some(engine.fetch(&missing, now))
    });
    match missing.flatten().filter(|_| rounds > 0) {
        Some(Ok(Some(id))) => {
            world.reached.note(Rare::Fetched);
            let incarnation = world.hosts[home].incarnation();
            world.clients[index].fetching = Some((incarnation, id, position, asked, rounds - 1));
            let requests = world.clients[index].requests;
            world.after(3_000_000, Event::GiveUp(index, requests));
        }
        Some(Err(_)) if world.call(home, |engine, now| engine.may_answer_alone(&key, now)) != Some(true) => {}
        _ => perform(world, index, position, asked),
    }
}

/// A node's fetch of a session is over.
pub fn fetched(world: &mut World, home: usize, id: u64, answered: bool) {
    let incarnation = world.hosts[home].incarnation();
    let waits = |client: &Client| {
        client
            .fetching
            .is_some_and(|(at, waits_for, ..)| (at, waits_for) == (incarnation, id))
    };
    let Some(index) = world.clients.iter().position(waits) else {
        return;
    };
    let Some((_, _, position, asked, rounds)) = world.clients[index].fetching.take() else {
        return;
    };
    let session = world.clients[index].sessions[position];
    let key = world.history.keys[session].clone();
    let there = world.call(home, |engine, now| engine.may_answer_alone(&key, now)) == Some(true);
    if answered || there {
        // What turned out to have another id by now is asked for under that one.
        let follows = matches!(asked, Asked::Conditional | Asked::DeleteConditional);
        make_local(world, index, position, asked, if follows { rounds } else { 0 });
    }
}

fn perform(world: &mut World, index: usize, position: usize, asked: Asked) {
    let session = world.clients[index].sessions[position];
    if !world.hosts[world.clients[index].home].is_ready() {
        return;
    }
    match asked {
        Asked::Patch => operation::patch(world, index, session),
        Asked::Read => operation::read(world, index, session),
        Asked::Touch => operation::touch(world, index, session),
        Asked::Delete => operation::delete(world, index, session),
        Asked::Rename => rename::rename(world, index, position),
        Asked::Propose => propose::propose(world, index, session),
        Asked::Conditional => operation::conditional(world, index, session, false),
        Asked::DeleteConditional => operation::conditional(world, index, session, true),
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

/// What a node holds of a session.
pub fn held(world: &World, home: usize, session: usize) -> Record {
    let engine = world.hosts[home].engine.as_ref();
    let record = engine.and_then(|engine| engine.table().get(&world.history.keys[session]));
    record.cloned().unwrap_or_default()
}

pub fn wait(world: &mut World, index: usize, write_set: WriteSet, writes: Vec<usize>, endings: Vec<usize>) {
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
        endings,
    });
    let epoch = world.hosts[home].epoch;
    match world.call(home, |engine, now| {
        engine.wait_for(level, timeout, write_set, now)
    }) {
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
pub fn answered(world: &mut World, index: usize, request: u64, count: usize) {
    let client = &mut world.clients[index];
    let Some(pending) = client.pending.take_if(|pending| pending.request == request) else {
        return;
    };
    world.numbers.answers += 1;
    world.numbers.copies += count as u64;
    copies::check(world, index, &pending, count);
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
    propose::disconnected(world, host);
    for client in &mut world.clients {
        client.fetching.take_if(|(incarnation, ..)| incarnation.0 == host);
    }
    for waiter in waiting {
        if let Some((client, request)) = world.waiters.remove(&waiter) {
            world.clients[client]
                .pending
                .take_if(|pending| pending.request == request);
        }
    }
}
