//! What clients did and were told, in a form that checks need little memory for: one line a write, with the stamp
//! the node gave it. Written beside the product and never by asking it to merge.

use std::collections::{BTreeSet, HashMap};

use limpet_core::base::id::SessionKey;
use limpet_core::session::{Record, Stamp, Value};
use limpet_wire::report::IdleLimit;

use crate::view;

/// A run of a node: what it holds it holds until the run ends.
pub type Run = (usize, u32);

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
    /// Runs that are known to have held it.
    pub holders: Vec<Run>,
    /// How many copies its writer was told of.
    pub told: usize,
}

/// An end somebody asked for.
#[derive(Debug)]
pub struct End {
    pub session: usize,
    pub stamp: Stamp,
    pub at: u64,
    pub holders: Vec<Run>,
}

/// The last use of a session in one run.
#[derive(Debug, Clone, Copy)]
pub struct Use {
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
    pub deadlines: Vec<End>,
    pub uses: HashMap<(usize, Run), Use>,
    /// When a session was last used anywhere.
    pub last_use: HashMap<usize, u64>,
    /// What was written, by where and when: the value's own words, or nothing for a removal.
    pub values: HashMap<(usize, usize, Stamp), Option<Value>>,
    /// Which runs lost their memory, and when.
    pub lost: Vec<(Run, u64)>,
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

    /// A run lost what it held.
    pub fn lost_memory(&mut self, run: Run, at: u64) {
        self.lost.push((run, at));
    }

    /// How many runs lost what they held since `at`.
    pub fn losses_since(&self, at: u64) -> usize {
        self.lost.iter().filter(|(_, when)| *when >= at).count()
    }

    /// A session was used.
    pub fn last_touch(&mut self, session: usize, run: Run, life: Stamp, at: u64) {
        self.uses.insert((session, run), Use { life, at });
        self.last_use.insert(session, at);
    }

    /// Whether anybody asked for an end of the session that covers `life`.
    pub fn was_ended(&self, session: usize, life: Stamp) -> bool {
        self.deadlines
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

    /// The same, whatever is heard later: that a session was found idle may turn out wrong.
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

impl End {
    /// Whether a record knows of this end.
    pub fn is_in(&self, record: Option<&Record>) -> bool {
        record.is_some_and(|record| view::ended(record) >= self.stamp)
    }
}

fn millis(idle: IdleLimit) -> Option<u64> {
    match idle {
        IdleLimit::Millis(idle) => Some(idle),
        IdleLimit::Forever => None,
    }
}
