//! The history: what clients did and what nodes answered, one line per write, with the stamp the node gave it. It is written
//! beside the product, and never by asking the product to merge; [`crate::check`] compares the two.

use std::collections::{BTreeSet, HashMap, HashSet};

use limpet_core::base::id::SessionKey;
use limpet_core::session::{Record, Shift, Stamp, Value};
use limpet_core::store::Memory;
use limpet_wire::report::IdleLimit;

use crate::lineage::Lineage;
use crate::view::{self, Trail};

/// An incarnation of a node, as one memory: what it holds it holds until it dies or starts over.
pub type Incarnation = (usize, u32);

/// Attributes sessions have.
pub const NAMES: [&str; 4] = ["a0", "a1", "a2", "a3"];

/// A write of one attribute.
#[derive(Debug)]
pub struct Write {
    pub session: usize,
    pub name: usize,
    pub life: Stamp,
    /// The life its session was created with.
    pub first: Stamp,
    pub stamp: Stamp,
    pub at: u64,
    /// Incarnations that are known to have held it.
    pub holders: Vec<Incarnation>,
    /// How many copies its writer was told of.
    pub told: usize,
    /// When, if every node knew every other then and when it was written.
    pub known_at: Option<u64>,
}

/// The end of an id's session that a client asked for: a deletion, or a rename from it or to it.
#[derive(Debug)]
pub struct Ending {
    pub session: usize,
    /// The lives that left the id.
    pub lives: Vec<Stamp>,
    /// Of a deletion, the life its session was created with, and its stamp.
    pub deleted: Option<(Stamp, Stamp)>,
    pub at: u64,
    pub holders: Vec<Incarnation>,
}

/// The last touch of a session in one incarnation.
#[derive(Debug, Clone, Copy)]
pub struct Touch {
    pub life: Stamp,
    /// The life the session was created with.
    pub first: Stamp,
    pub at: u64,
}

/// See the module page.
#[derive(Debug, Default)]
pub struct History {
    pub keys: Vec<SessionKey>,
    by_key: HashMap<SessionKey, usize>,
    /// Ids that many clients want.
    pub wanted: Vec<usize>,
    /// Which sessions may have become one.
    pub lineage: Lineage,
    /// The idle lifetime that sessions begin with.
    pub begins_with: Option<u64>,
    /// The shortest and the longest idle lifetime that the session of a life was given; nothing for ever.
    lifetimes: HashMap<Stamp, (Option<u64>, Option<u64>)>,
    /// When a session was renamed last.
    pub renamed: Vec<Option<u64>>,
    pub writes: Vec<Write>,
    pub endings: Vec<Ending>,
    /// Sessions that ended because another one was given their id.
    pub replaced: Vec<Stamp>,
    /// Stamps of deletions, those of sessions that a rename replaced included, and when deleted sessions left earlier ids.
    pub deleted_at: HashSet<Stamp>,
    pub touches: HashMap<(usize, Incarnation), Touch>,
    /// When the session of a life was last touched anywhere.
    pub last_touch: HashMap<Stamp, u64>,
    /// What was written, by attribute and stamp: the value, or nothing for a removal, and the session.
    pub values: HashMap<(usize, Stamp), (Option<Value>, Stamp)>,
    /// Whether sessions also end because nodes leave.
    pub ends_on_leave: bool,
    /// Which incarnations lost their memory, and when.
    pub lost: Vec<(Incarnation, u64)>,
    /// Which of them had handed off before what they held.
    handed_off: BTreeSet<Incarnation>,
    counter: u64,
}

impl History {
    /// A session with a new id.
    pub fn session(&mut self) -> usize {
        let index = self.keys.len();
        let key = SessionKey::parse("default", &format!("s{index}")).expect("an id");
        self.keys.push(key.clone());
        self.by_key.insert(key, index);
        self.renamed.push(None);
        index
    }

    /// Sessions begin with this idle lifetime.
    pub fn begin_with(&mut self, idle: IdleLimit) {
        self.begins_with = millis(idle);
    }

    /// Which session has this id.
    pub fn named(&self, key: &SessionKey) -> usize {
        self.by_key[key]
    }

    /// A session was given this idle lifetime.
    pub fn lifetime(&mut self, first: Stamp, idle: IdleLimit) {
        let begins_with = (self.begins_with, self.begins_with);
        let (shortest, longest) = self.lifetimes.entry(first).or_insert(begins_with);
        *shortest = match (*shortest, millis(idle)) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        *longest = longest.zip(millis(idle)).map(|(a, b)| a.max(b));
    }

    /// The shortest idle lifetime the session was ever given; `None` for ever.
    pub fn shortest(&self, first: Stamp) -> Option<u64> {
        self.lifetimes
            .get(&first)
            .map_or(self.begins_with, |(shortest, _)| *shortest)
    }

    /// The same, of the sessions that it may be one with where trails lead.
    pub fn shortest_on(&self, trails: &[Trail], first: Stamp) -> Option<u64> {
        let on = trails.iter().flat_map(|trail| self.lineage.of(trail.life));
        let all = on.chain([first]).filter_map(|session| self.shortest(session));
        all.min()
    }

    /// The longest one; `None` once it was for ever.
    pub fn longest(&self, first: Stamp) -> Option<u64> {
        self.lifetimes
            .get(&first)
            .map_or(self.begins_with, |(_, longest)| *longest)
    }

    /// A value that says where it belongs.
    pub fn value(&mut self, session: usize, name: usize, writer: usize, padding: usize) -> Value {
        self.counter += 1;
        let mut text = format!("{session}.{name}.{writer}.{}.", self.counter);
        text.extend(std::iter::repeat_n('x', padding));
        Value::from(text.into_bytes())
    }

    /// The session and the attribute a value says it belongs to.
    pub fn belongs(value: &[u8]) -> Option<(usize, usize)> {
        let text = std::str::from_utf8(value).ok()?;
        let mut parts = text.split('.');
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    }

    /// An incarnation lost what it held.
    pub fn lost_memory(&mut self, incarnation: Incarnation, at: u64) {
        self.lost.push((incarnation, at));
    }

    /// How many incarnations lost what they held since `at`.
    pub fn losses_since(&self, at: u64) -> usize {
        self.lost.iter().filter(|(_, when)| *when >= at).count()
    }

    /// An incarnation that leaves has handed off what it holds.
    pub fn handed_off(&mut self, incarnation: Incarnation) {
        self.handed_off.insert(incarnation);
    }

    /// How many copies may be gone of what was written at `at`, in `backup` mode, if `leaving` nodes are about to go. Of
    /// nodes that hand off before they leave, each leaves one copy at least; more are not made before it is gone.
    pub fn copies_gone_since(&self, at: u64, leaving: usize) -> usize {
        let mut lost = self.lost.iter().filter(|(_, when)| *when >= at);
        if lost.all(|(incarnation, _)| self.handed_off.contains(incarnation)) {
            0
        } else {
            self.losses_since(at) + leaving
        }
    }

    /// `incarnation` stamps anew what it held: as writes, and ends, of its own.
    pub fn stamped_anew(
        &mut self,
        incarnation: Incarnation,
        kept: Vec<(SessionKey, Record)>,
        shift: &Shift,
        at: u64,
    ) {
        for (key, mut record) in kept.into_iter().filter(|(key, _)| !key.is_reserved()) {
            let session = self.named(&key);
            let before = record.clone();
            record.shift(shift);
            let first = record.first_life().unwrap_or_default();
            self.lineage.stamped_anew(&before, &record, session);
            if let Some(was) = before.first_life().filter(|was| *was != first) {
                let lifetimes = self.lifetimes.get(&was).copied();
                self.lifetimes.extend(lifetimes.map(|known| (first, known)));
                let last = self.last_touch.get(&was).copied();
                self.last_touch.extend(last.map(|last| (first, last)));
            }
            for (name, rank, value) in view::attributes(&record) {
                let Some(name) = NAMES.iter().position(|known| *known == name) else {
                    continue;
                };
                self.values.insert((name, rank.1), (value.cloned(), first));
                self.writes.push(Write {
                    session,
                    name,
                    life: rank.0,
                    first,
                    stamp: rank.1,
                    at,
                    holders: vec![incarnation],
                    told: 1,
                    known_at: None,
                });
            }
            let fates = record.lifecycle.fates.iter().map(|(_, fate)| fate.at());
            self.deleted_at.extend(fates);
            let stamp = view::deleted(&record);
            if stamp > Stamp::ZERO {
                self.endings.push(Ending {
                    session,
                    lives: Vec::new(),
                    deleted: Some((Stamp::ZERO, stamp)),
                    at,
                    holders: vec![incarnation],
                });
            }
        }
    }

    /// A session was touched.
    pub fn touched(&mut self, session: usize, incarnation: Incarnation, life: Stamp, first: Stamp, at: u64) {
        self.touches
            .insert((session, incarnation), Touch { life, first, at });
        self.last_touch.insert(first, at);
    }

    /// Whether a client deleted the session that was created as `first`, or the one that had the id in `life` or later.
    pub fn was_deleted(&self, session: usize, life: Stamp, first: Stamp) -> bool {
        self.endings.iter().any(|end| {
            end.deleted
                .is_some_and(|(of, stamp)| of == first || end.session == session && stamp >= life)
        })
    }

    /// Whether the session that was created as `first` may have been deleted under another id, or with another session
    /// that it was one with.
    pub fn was_deleted_elsewhere(&self, first: Stamp) -> bool {
        let deleted = self.endings.iter().filter_map(|end| end.deleted);
        let mut ended = deleted.map(|(of, _)| of).chain(self.replaced.iter().copied());
        ended.any(|of| self.lineage.may_have_met(first, &[of]))
    }

    /// Whether a trail ends where nobody deleted anything: in a deletion that no client asked for, and that was not the
    /// end of a session that got its old id back and found that another one had it.
    pub fn ends_by_itself(&self, trail: &Trail) -> bool {
        trail.ended.is_some_and(|at| {
            !self.ends_on_leave
                && !self.deleted_at.contains(&at)
                && !self.lineage.may_have_found_its_id_taken(at)
        })
    }

    /// Where the session that was created as `first`, and was `life` of `key`, may be, as tables say together. Where it
    /// became one with sessions that were created there later, and nothing of it is left beside theirs, it is where
    /// those are.
    pub fn trails(&self, tables: &[&Memory], key: &SessionKey, life: Stamp, first: Stamp) -> Vec<Trail> {
        let mut found = vec![view::follow_in(tables, key, life)];
        let mut next = 0;
        while let Some(trail) = found.get(next).cloned() {
            let known = tables.iter().filter_map(|table| table.get(&trail.key));
            for (later, of) in known.flat_map(view::departed) {
                let may_be = || {
                    self.lineage
                        .may_have_met(first, &[vec![of], self.lineage.of(later)].concat())
                };
                let on = view::follow_in(tables, &trail.key, later);
                if later > trail.life && !found.contains(&on) && may_be() {
                    found.push(on);
                }
            }
            next += 1;
        }
        found
    }

    /// Whether the session that has an id in a table is one that the session created as `first` may be a part of, and
    /// came later than `life`: lives are joined, and the last touch of the later one counts.
    pub fn was_overtaken(&self, record: &Record, life: Stamp, first: Stamp) -> bool {
        let later = [record.life(), view::expired(record)].into_iter().flatten();
        let mut later = later.filter(|later| *later > life);
        later.any(|later| {
            let known = record.first_life().filter(|_| record.life() == Some(later));
            let of = [self.lineage.of(later), known.into_iter().collect()].concat();
            self.lineage.may_have_met(first, &of)
        })
    }
}

impl Write {
    /// Whether a table holds this write, or something that rightly took its place.
    pub fn is_in(&self, history: &History, table: &Memory) -> bool {
        let trails = history.trails(&[table], &history.keys[self.session], self.life, self.first);
        let mut trails = trails.iter();
        let ended = |trail: &Trail| trail.ended.is_some() && !history.ends_by_itself(trail);
        trails.any(|trail| {
            ended(trail)
                || table.get(&trail.key).is_some_and(|record| {
                    view::is_over(record, trail.life)
                        || view::was_shed(record, trail.life)
                        || self.is_held_by(history, record, trail.life)
                })
                || trail.back && history.lineage.may_have_been_overwritten(self.first, trail.life)
        }) || self.is_elsewhere(table)
    }

    /// The same, whatever arrives later: an expiry may be refuted.
    pub fn is_kept_in(&self, history: &History, table: &Memory) -> bool {
        let trail = view::follow(table, &history.keys[self.session], self.life);
        let record = table.get(&trail.key);
        trail.ended.is_some()
            || record.is_some_and(|record| {
                view::deleted(record) >= trail.life || self.is_held_by(history, record, trail.life)
            })
            || self.is_elsewhere(table)
    }

    /// Where a table holds this very write in a living session.
    pub fn is_exactly_in(&self, history: &History, table: &Memory) -> Option<SessionKey> {
        let trail = view::follow(table, &history.keys[self.session], self.life);
        let record = table.get(&trail.key).filter(|record| record.is_alive())?;
        let (rank, _) = view::attribute(record, NAMES[self.name])?;
        (rank == (trail.life, self.stamp)).then_some(trail.key)
    }

    /// Whether it is in a record that has `life`, or a write that took its place: a later one of its session, or one of a
    /// session that was created later and became one with it, which wins however early it was made.
    fn is_held_by(&self, history: &History, record: &Record, life: Stamp) -> bool {
        view::attribute(record, NAMES[self.name]).is_some_and(|(rank, _)| {
            let of = history.values.get(&(self.name, rank.1)).map(|(_, of)| *of);
            let met = || of.is_some_and(|of| history.lineage.may_have_met(self.first, &[of]));
            if rank >= (life, self.stamp) {
                rank.0 == life || met()
            } else {
                of.is_some_and(|of| of != self.first && of > self.life) && met()
            }
        })
    }

    /// Whether the session has an id that the node does not know to be one of this session's.
    fn is_elsewhere(&self, table: &Memory) -> bool {
        table.iter().any(|(_, record)| {
            let attribute = view::attribute(record, NAMES[self.name]);
            record.is_alive()
                && record.first_life() == Some(self.first)
                && attribute.is_some_and(|(rank, _)| rank.1 >= self.stamp)
        })
    }
}

impl Ending {
    /// Whether a table knows of it.
    pub fn is_in(&self, history: &History, table: &Memory) -> bool {
        let record = table.get(&history.keys[self.session]);
        record.is_some_and(|record| match self.deleted {
            // A later deletion under this id need not have been of this session: it may have had another one by then.
            Some((_, stamp)) => {
                let went_on = self.lives.iter().any(|life| view::went_on(record, *life));
                view::deleted(record) >= stamp && !went_on
            }
            None => self.lives.iter().all(|life| view::has_left(record, *life)),
        })
    }

    /// Whether a table shows what it ended: under the id it had, or, after a deletion, under any.
    pub fn is_undone_in(&self, history: &History, table: &Memory) -> bool {
        // An expired session is kept for a while by nodes that have no tombstone of it, and not served.
        let record = table
            .get(&history.keys[self.session])
            .filter(|record| record.is_alive());
        let here = record.is_some_and(|record| {
            let is_over = |life: Stamp| {
                self.lives.contains(&life) || self.deleted.is_some_and(|(_, stamp)| life <= stamp)
            };
            view::attributes(record).any(|(_, rank, _)| is_over(rank.0)) || record.life().is_some_and(is_over)
        });
        here || self.goes_on_in(table).is_some()
    }

    /// The session that a deletion ended, where a table shows it under any id.
    pub fn goes_on_in<'a>(&self, table: &'a Memory) -> Option<(&'a SessionKey, &'a Record)> {
        let (first, _) = self.deleted?;
        let is_it = |known: Stamp| known == first || self.lives.contains(&known);
        let mut records = table.iter();
        records.find(|(_, record)| record.is_alive() && record.first_life().is_some_and(is_it))
    }
}

fn millis(idle: IdleLimit) -> Option<u64> {
    match idle {
        IdleLimit::Millis(idle) => Some(idle),
        IdleLimit::Forever => None,
    }
}
