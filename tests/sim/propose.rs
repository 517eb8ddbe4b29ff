//! Conditional changes that one node decides, and the claim about them (C13). What was decided is noted where and when it
//! is decided: a caller need not hear of it.
//!
//! While nodes agree on who decides, and it lives, one caller has its way. Each value is written once, so it is known
//! whose change a node has made.

use limpet_core::base::id::SessionKey;
use limpet_core::engine::sessions::{Patch, Refused, Written};
use limpet_core::session::{Change, Condition, Record, Stamp, Value};

use crate::check;
use crate::client::{held, wait};
use crate::history::{Incarnation, NAMES, Write};
use crate::report::Rare;
use crate::view::{self, Rank};
use crate::world::World;

/// A proposal that is under way, or whose caller was not told what became of it.
#[derive(Debug)]
pub struct Proposal {
    /// Who waits; nobody where its node is gone.
    waits: Option<(usize, Incarnation, u64)>,
    session: usize,
    /// The life that the session had at the caller's node.
    known_life: Option<Stamp>,
    name: usize,
    value: Value,
    condition: Condition,
    /// When it was proposed.
    at: u64,
    /// The write, once it was made.
    made: Option<usize>,
}

/// A client proposes a change.
pub fn propose(world: &mut World, index: usize, session: usize) {
    let home = world.clients[index].home;
    let key = world.history.keys[session].clone();
    let known = held(world, home, session);
    let name = world.clients[index].draw.index(NAMES.len());
    let value = world.history.value(session, name, index, 0);
    let draw = &mut world.clients[index].draw;
    let condition = match draw.below(3) {
        0 if known.is_alive() => Condition::Present,
        1 if known.is_alive() => Condition::Version(known.version()),
        _ => Condition::Absent,
    };
    let patch = Patch {
        set: vec![(NAMES[name].to_owned(), value.clone())],
        ..Patch::default()
    };
    // Noted before the call, in which it may be made.
    world.proposals.push(Proposal {
        waits: None,
        session,
        known_life: known.life().filter(|_| known.is_alive()),
        name,
        value: value.clone(),
        condition,
        at: world.now,
        made: None,
    });
    let change = Change::Patch(patch);
    let asked = world.engine(home, |engine, now| engine.propose(&key, condition, change, now));
    let Some((asked, outputs)) = asked else { return };
    match asked {
        Ok(id) => {
            let incarnation = world.hosts[home].incarnation();
            if let Some(proposal) = world.proposals.iter_mut().find(|open| open.value == value) {
                proposal.waits = Some((index, incarnation, id));
            }
            world.clients[index].proposing = true;
        }
        Err(_) => world.proposals.retain(|open| open.value != value),
    }
    world.carry_out_all(home, outputs);
}

/// A call of a node has ended: has it made a change that was proposed?
pub fn observe(world: &mut World, index: usize) {
    crate::majority::observe(world);
    if world.proposals.is_empty() {
        return;
    }
    let found = |open: &Proposal| {
        if open.made.is_some() {
            return None;
        }
        let table = world.hosts[index].engine.as_ref()?.table();
        let key = &world.history.keys[open.session];
        let there = |key: &SessionKey| {
            let record = table.get(key)?;
            let (rank, value) = view::attribute(record, NAMES[open.name])?;
            // Others may have begun a session of this id while it was decided.
            let first = if rank.0 == rank.1 || record.life() != Some(rank.0) {
                rank.0
            } else {
                record.first_life()?
            };
            (value == Some(&open.value)).then_some((rank, first))
        };
        // The session may have been renamed while it was decided.
        let later = |life| view::follow(table, key, life).key;
        let later = world
            .plan
            .options
            .quorum
            .then_some(open.known_life)
            .flatten()
            .map(later);
        let later = || {
            let session = world
                .history
                .keys
                .iter()
                .position(|other| Some(other) == later.as_ref())?;
            Some((session, there(&world.history.keys[session])?))
        };
        there(key).map(|made| (open.session, made)).or_else(later)
    };
    let all = world.proposals.iter().enumerate();
    let made = all.filter_map(|(position, open)| Some((position, found(open)?)));
    let mut made: Vec<_> = made.collect();
    made.sort_unstable_by_key(|(_, (_, ((_, stamp), _)))| *stamp);
    for (position, (session, (rank, first))) in made {
        world.proposals[position].session = session;
        note(world, index, position, rank, first);
    }
    world
        .proposals
        .retain(|open| open.waits.is_some() || open.made.is_none());
}

/// `first` is the life that the session was created with which was changed.
fn note(world: &mut World, index: usize, position: usize, (life, stamp): Rank, first: Stamp) {
    let open = &world.proposals[position];
    let (session, name, condition, known_life) = (open.session, open.name, open.condition, open.known_life);
    // A majority takes its time: the session was touched when it was decided, at an unknown moment since it was proposed.
    let by_majority = world.plan.options.quorum;
    let touched_at = if by_majority { open.at } else { world.now };
    let (value, at) = (open.value.clone(), world.now);
    if !by_majority {
        check::stamp(world, index, stamp);
    }
    let by = world.hosts[index].incarnation();
    if life == stamp {
        // What the owner knew when it decided may be less than what is known where that is carried out.
        let known = if by_majority {
            Record::default()
        } else {
            held(world, index, session)
        };
        world.history.lineage.created(first, session, &known);
    }
    world.history.values.insert((name, stamp), (Some(value), first));
    world.proposals[position].made = Some(world.history.writes.len());
    let known = crate::fresh::everybody_knows_everybody(world).then_some(u64::MAX);
    world.history.writes.push(Write {
        session,
        name,
        life,
        first,
        stamp,
        at,
        holders: vec![by],
        told: 1,
        known_at: known,
    });
    world.history.touched(session, by, life, first, touched_at);
    let unsound = if by_majority {
        crate::majority::made(world, index, session, condition, (life, stamp))
    } else {
        unsound(world, index, session, condition, (life, stamp), known_life)
    };
    if let Some(words) = unsound {
        let key = &world.history.keys[session];
        let words =
            format!("n{index} made a change of {key:?} in {life:?} at {stamp:?}, on {condition:?}: {words}");
        return world.fail("C13", words);
    }
    if let Condition::Version(version) = condition {
        world.granted.insert((by, session, (life, version)));
    }
}

/// Why a change that a node has just made on `condition` should not have been made, if so.
fn unsound(
    world: &World,
    index: usize,
    session: usize,
    condition: Condition,
    (life, stamp): Rank,
    known_life: Option<Stamp>,
) -> Option<String> {
    let record = held(world, index, session);
    let mut others = view::attributes(&record).filter(|(_, rank, _)| rank.1 != stamp);
    match condition {
        Condition::Absent => {
            let lives_on = known_life.filter(|known| !is_over(&record, *known));
            let earlier = others.find(|(_, rank, _)| rank.0 < life && rank.1 < stamp);
            lives_on
                .map(|known| {
                    format!("its caller knew the session of {known:?}, which has not ended: {record:?}")
                })
                .or_else(|| earlier.map(|earlier| format!("there was {earlier:?}")))
        }
        Condition::Present => (life == stamp).then(|| "it created the session".into()),
        Condition::Version(version) => {
            let by = world.hosts[index].incarnation();
            let later = others.find(|(_, rank, _)| rank.1 > version && rank.1 < stamp);
            let twice = world.granted.contains(&(by, session, (life, version)));
            let later = later.map(|later| format!("{later:?} was later"));
            later.or_else(|| twice.then(|| "it had changed this version before".into()))
        }
    }
}

/// Whether a life is over under the id it had: deleted, expired or renamed.
pub fn is_over(record: &Record, life: Stamp) -> bool {
    view::is_over(record, life) || view::has_left(record, life)
}

/// A node tells its client what became of a proposal.
pub fn decided(world: &mut World, home: usize, id: u64, result: Result<Written, Refused>) {
    let incarnation = world.hosts[home].incarnation();
    let waits = |open: &Proposal| {
        let waits = open
            .waits
            .filter(|(_, at, number)| (*at, *number) == (incarnation, id));
        waits.is_some()
    };
    let Some(position) = world.proposals.iter().position(waits) else {
        return;
    };
    let Some((index, ..)) = world.proposals[position].waits.take() else {
        return;
    };
    world.clients[index].proposing = false;
    let open = &world.proposals[position];
    let (session, name, made) = (open.session, open.name, open.made);
    let condition = open.condition;
    let key = world.history.keys[session].clone();
    match result {
        Ok(written) => {
            world.proposals.remove(position);
            world.reached.note(if world.plan.options.quorum {
                Rare::ByMajority
            } else {
                Rare::Decided
            });
            let Some(made) = made else {
                if world.plan.options.quorum && is_overtaken(world, home, session, name, &written) {
                    let rank = (written.life, written.version);
                    if let Some(words) = crate::majority::made(world, home, session, condition, rank) {
                        world.fail("C13", format!("{written:?} was made on {condition:?}: {words}"));
                    }
                    return;
                }
                let words = format!("{key:?}: n{home} says that {written:?} was made, and nobody made it");
                return world.fail("C13", words);
            };
            if key == written.key {
                confirmed(world, index, &key, written, made);
            }
        }
        Err(Refused::Unmet) => {
            world.proposals.remove(position);
            world.reached.note(Rare::Unmet);
            if made.is_some() {
                let words =
                    format!("{key:?}: n{home} says that {condition:?} did not hold, and the change was made");
                world.fail("C13", words);
            }
        }
        Err(Refused::Undecided) if made.is_none() => {} // it may yet be
        Err(Refused::Undecided) => drop(world.proposals.remove(position)),
        Err(refused) => {
            world.proposals.remove(position);
            if refused == Refused::NoQuorum {
                world.reached.note(Rare::NoQuorum);
            }
            if made.is_some() {
                let words = format!(
                    "{key:?}: n{home} refused {} with {refused:?}, and it was made",
                    NAMES[name]
                );
                world.fail("C13", words);
            }
        }
    }
}

/// Whether a change that a majority decided was followed by another one before any node had carried it out.
fn is_overtaken(world: &World, home: usize, session: usize, name: usize, written: &Written) -> bool {
    let record = held(world, home, session);
    let later = view::attribute(&record, NAMES[name]).is_some_and(|(rank, _)| rank.1 > written.version);
    later || is_over(&record, written.life) || record.life() > Some(written.life)
}

/// The caller's own node has what was decided.
fn confirmed(world: &mut World, index: usize, key: &SessionKey, written: Written, made: usize) {
    let home = world.clients[index].home;
    let write = &world.history.writes[made];
    let (session, name, life, first, at) = (write.session, write.name, write.life, write.first, write.at);
    let rank = (life, write.stamp);
    let is_of_life = world.plan.options.quorum || written.life == first;
    if written.version != write.stamp || !is_of_life {
        let words = format!("{key:?}: {written:?} at n{home} was made as {write:?}");
        return world.fail("C13", words);
    }
    let record = held(world, home, session);
    let is_there = view::attribute(&record, NAMES[name]).is_some_and(|(there, _)| there >= rank);
    if !is_there && !is_over(&record, life) {
        let words = format!("{key:?} at n{home} lacks {written:?}, which was decided: {record:?}");
        return world.fail("C5", words);
    }
    let incarnation = world.hosts[home].incarnation();
    if is_there && record.life() == Some(life) {
        world.clients[index].seen.insert((session, name), rank);
        if !world.plan.options.quorum {
            world.history.touched(session, incarnation, life, first, at);
        }
    }
    wait(world, index, written.write_set, vec![made], Vec::new());
}

/// A node is gone, and every connection to it.
pub fn disconnected(world: &mut World, host: usize) {
    for open in &mut world.proposals {
        if let Some((client, ..)) = open.waits.take_if(|(_, incarnation, _)| incarnation.0 == host) {
            world.clients[client].proposing = false;
        }
    }
}
