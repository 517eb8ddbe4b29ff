//! The history: what clients did and what nodes answered, one line per write, with the stamp the node gave it. It is written
//! beside the product, and never by asking the product to merge; [`crate::check`] compares the two.

use std::collections::{BTreeSet, HashMap};

use limpet_core::base::id::SessionKey;
use limpet_core::session::{Record, Shift, Stamp, Value};
use limpet_wire::report::IdleLimit;

use crate::view;

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
    pub stamp: Stamp,
    pub at: u64,
    /// Incarnations that are known to have held it.
    pub holders: Vec<Incarnation>,
    /// How many copies its writer was told of.
    pub told: usize,
    /// When, if every node knew every other then and when it was written.
    pub known_at: Option<u64>,
}

/// A deletion that a client asked for.
#[derive(Debug)]
pub struct Deletion {
    pub session: usize,
    pub stamp: Stamp,
    pub at: u64,
    pub holders: Vec<Incarnation>,
}

/// The last touch of a session in one incarnation.
#[derive(Debug, Clone, Copy)]
pub struct Touch {
    pub life: Stamp,
    pub at: u64,
}

/// See the module page.
#[derive(Debug, Default)]
pub struct History {
    pub keys: Vec<SessionKey>,
    by_key: HashMap<SessionKey, usize>,
    /// Ids of sessions whose values a session may hold: its own, and those it was renamed from.
    pub lines: Vec<BTreeSet<usize>>,
    /// The shortest idle lifetime a session was ever given.
    pub shortest: Vec<Option<u64>>,
    /// The longest one; `None` once it was for ever.
    pub longest: Vec<Option<u64>>,
    /// When a session was renamed last.
    pub renamed: Vec<Option<u64>>,
    pub writes: Vec<Write>,
    pub deletions: Vec<Deletion>,
    pub touches: HashMap<(usize, Incarnation), Touch>,
    /// When a session was last touched anywhere.
    pub last_touch: HashMap<usize, u64>,
    /// What was written, by session, attribute and stamp: the value, or nothing for a removal.
    pub values: HashMap<(usize, usize, Stamp), Option<Value>>,
    /// Which incarnations lost their memory, and when.
    pub lost: Vec<(Incarnation, u64)>,
    /// Which of them had handed off before what they held.
    handed_off: BTreeSet<Incarnation>,
    counter: u64,
}

impl History {
    /// A session with a new id.
    pub fn session(&mut self, idle: IdleLimit) -> usize {
        let index = self.keys.len();
        let key = SessionKey::parse("default", &format!("s{index}")).expect("an id");
        self.keys.push(key.clone());
        self.by_key.insert(key, index);
        self.lines.push(BTreeSet::from([index]));
        self.shortest.push(millis(idle));
        self.longest.push(millis(idle));
        self.renamed.push(None);
        index
    }

    /// Which session has this id.
    pub fn named(&self, key: &SessionKey) -> usize {
        self.by_key[key]
    }

    /// A session was given this idle lifetime.
    pub fn lifetime(&mut self, session: usize, idle: IdleLimit) {
        let (shortest, longest) = (&mut self.shortest[session], &mut self.longest[session]);
        *shortest = match (*shortest, millis(idle)) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        *longest = longest.zip(millis(idle)).map(|(a, b)| a.max(b));
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
            record.shift(shift);
            for (name, rank, value) in view::attributes(&record) {
                let Some(name) = NAMES.iter().position(|known| *known == name) else {
                    continue;
                };
                self.values.insert((session, name, rank.1), value.cloned());
                self.writes.push(Write {
                    session,
                    name,
                    life: rank.0,
                    stamp: rank.1,
                    at,
                    holders: vec![incarnation],
                    told: 1,
                    known_at: None,
                });
            }
            let stamp = view::deleted(&record);
            if stamp > Stamp::ZERO {
                self.deletions.push(Deletion {
                    session,
                    stamp,
                    at,
                    holders: vec![incarnation],
                });
            }
        }
    }

    /// A session was touched.
    pub fn touched(&mut self, session: usize, incarnation: Incarnation, life: Stamp, at: u64) {
        self.touches.insert((session, incarnation), Touch { life, at });
        self.last_touch.insert(session, at);
    }

    /// Whether a client deleted the session in `life` or later.
    pub fn was_deleted(&self, session: usize, life: Stamp) -> bool {
        self.deletions
            .iter()
            .any(|end| end.session == session && end.stamp >= life)
    }
}

impl Write {
    /// Whether a record holds this write, or something that rightly took its place.
    pub fn is_in(&self, record: Option<&Record>) -> bool {
        let Some(record) = record else { return false };
        view::is_over(record, self.life)
            || view::was_shed(record, self.life)
            || view::attribute(record, NAMES[self.name])
                .is_some_and(|(rank, _)| rank >= (self.life, self.stamp))
    }

    /// The same, whatever arrives later: an expiry may be refuted.
    pub fn is_kept_in(&self, record: Option<&Record>) -> bool {
        let attribute = record.and_then(|record| view::attribute(record, NAMES[self.name]));
        record.is_some_and(|record| record.lifecycle.deleted >= self.life)
            || attribute.is_some_and(|(rank, _)| rank >= (self.life, self.stamp))
    }

    /// Whether a record holds this very write.
    pub fn is_exactly_in(&self, record: Option<&Record>) -> bool {
        let attribute = record.and_then(|record| view::attribute(record, NAMES[self.name]));
        attribute.is_some_and(|(rank, _)| rank == (self.life, self.stamp))
    }
}

impl Deletion {
    /// Whether a record knows of this deletion.
    pub fn is_in(&self, record: Option<&Record>) -> bool {
        record.is_some_and(|record| view::deleted(record) >= self.stamp)
    }
}

fn millis(idle: IdleLimit) -> Option<u64> {
    match idle {
        IdleLimit::Millis(idle) => Some(idle),
        IdleLimit::Forever => None,
    }
}
