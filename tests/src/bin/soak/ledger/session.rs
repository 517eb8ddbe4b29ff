//! What was asked of one session, and what was answered: its ids, the writes of its attributes, its end. Which
//! of two writes is the older one is decided in `order`, whether an answer was right in `reading` and `settling`.

use std::collections::BTreeMap;

use super::change::{At, Change, Instance, Outcome};
use super::value::Value;

/// How much of a session's story is kept; the oldest lines go first.
const STORY_MAX: usize = 400;

/// A claim that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Its name in the table of `docs/TESTING.md`.
    pub claim: &'static str,
    /// What was seen instead.
    pub what: String,
}

impl Broken {
    pub(super) fn new(claim: &'static str, what: String) -> Self {
        Self { claim, what }
    }
}

/// One id of a session.
#[derive(Debug, Clone)]
pub(super) struct Name {
    pub(super) id: String,
    /// The creation, or the rename that gave it.
    pub(super) change: Change,
    /// It was no id of the session when the cluster came to rest after the rename.
    pub(super) dead: bool,
}

/// One write of one attribute.
#[derive(Debug, Clone)]
pub(super) struct Write {
    pub(super) attribute: &'static str,
    /// The write that its writer had read before, at the same node.
    pub(super) base: Option<u64>,
    pub(super) change: Change,
}

/// Whether what is known of a session decides anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It does.
    Known,
    /// It was gone when the cluster came to rest, and must not come back.
    Gone,
    /// Something may yet happen to it that nobody waits for: only mix-ups are looked for.
    Open,
    /// It was open, and was gone when the cluster came to rest: nobody asks for it any more.
    Forgotten,
}

/// Attributes that were seen, by name.
pub type Values = BTreeMap<String, String>;

/// See the module page.
#[derive(Debug, Clone)]
pub struct Session {
    pub(super) name: String,
    /// Its life, where the core tells it; then an old id finds nothing.
    pub(super) life: Option<String>,
    pub(super) names: Vec<Name>,
    pub(super) writes: BTreeMap<u64, Write>,
    pub(super) end: Option<Change>,
    pub(super) fate: Fate,
    story: Vec<(At, String)>,
    next: u64,
    next_id: u64,
}

impl Session {
    /// A session that is about to be created at a node.
    #[must_use]
    pub fn begin(name: &str, id: &str, instance: Instance, at: At) -> Self {
        Self {
            name: name.to_owned(),
            life: None,
            names: vec![Name {
                id: id.to_owned(),
                change: Change::begin(instance, at),
                dead: false,
            }],
            writes: BTreeMap::new(),
            end: None,
            fate: Fate::Known,
            story: Vec::new(),
            next: 1,
            next_id: 0,
        }
    }

    /// Its life, where one is known.
    #[must_use]
    pub fn life(&self) -> Option<&str> {
        self.life.as_deref()
    }

    /// What the core says its life is.
    pub fn learn_life(&mut self, life: Option<&str>) {
        if self.life.is_none() {
            self.life = life.map(str::to_owned);
        }
    }

    /// The id it was given last.
    #[must_use]
    pub fn id(&self) -> &str {
        self.names.last().map_or("", |name| name.id.as_str())
    }

    /// An id that it never had.
    #[must_use]
    pub fn fresh_id(&mut self) -> String {
        self.next_id += 1;
        format!("{}-{}", self.name, self.next_id)
    }

    /// Every id it had, in order.
    #[must_use]
    pub fn ids(&self) -> Vec<String> {
        self.names.iter().map(|name| name.id.clone()).collect()
    }

    /// See [`Fate`].
    #[must_use]
    pub fn fate(&self) -> Fate {
        self.fate
    }

    /// Nothing is known of it any more but whose values it may hold.
    pub fn give_up(&mut self) {
        self.fate = Fate::Open;
    }

    /// Notes a line of its story.
    pub fn tell(&mut self, at: At, line: String) {
        if self.story.len() == STORY_MAX {
            self.story.remove(0);
        }
        self.story.push((at, line));
    }

    /// Its story, oldest line first.
    #[must_use]
    pub fn story(&self) -> &[(At, String)] {
        &self.story
    }

    /// The answer to its creation.
    pub fn created(&mut self, outcome: Outcome, at: At) {
        if let Some(name) = self.names.first_mut() {
            name.change.end(outcome, at);
        }
        self.after(outcome);
    }

    /// A write is about to be asked for; the value to write.
    pub fn write(
        &mut self,
        attribute: &'static str,
        base: Option<u64>,
        writer: &str,
        instance: Instance,
        at: At,
    ) -> Value {
        let number = self.next;
        self.next += 1;
        let change = Change::begin(instance, at);
        self.writes.insert(
            number,
            Write {
                attribute,
                base,
                change,
            },
        );
        Value {
            session: self.name.clone(),
            number,
            writer: writer.to_owned(),
        }
    }

    /// The answer to a write.
    pub fn written(&mut self, number: u64, outcome: Outcome, at: At) {
        if let Some(write) = self.writes.get_mut(&number) {
            write.change.end(outcome, at);
        }
        self.after(outcome);
    }

    /// Who made a write, where only the answer tells it, and what had been read there before.
    pub fn located(&mut self, number: u64, instance: Instance, base: Option<u64>) {
        if let Some(write) = self.writes.get_mut(&number) {
            write.change.instance = instance;
            write.base = base;
        }
    }

    /// A rename is about to be asked for.
    pub fn rename(&mut self, id: &str, instance: Instance, at: At) {
        self.names.push(Name {
            id: id.to_owned(),
            change: Change::begin(instance, at),
            dead: false,
        });
    }

    /// The answer to the rename to `id`.
    pub fn renamed(&mut self, id: &str, outcome: Outcome, at: At) {
        if outcome == Outcome::Refused {
            self.names.retain(|name| name.id != id);
        } else if let Some(name) = self.names.iter_mut().find(|name| name.id == id) {
            name.change.end(outcome, at);
        }
        self.after(outcome);
    }

    /// Its end is about to be asked for.
    pub fn finish(&mut self, instance: Instance, at: At) {
        self.end = Some(Change::begin(instance, at));
    }

    /// The answer to its end.
    pub fn finished(&mut self, outcome: Outcome, at: At) {
        if outcome == Outcome::Refused {
            self.end = None;
        } else if let Some(end) = &mut self.end {
            end.end(outcome, at);
        }
        self.after(outcome);
    }

    fn after(&mut self, outcome: Outcome) {
        if outcome == Outcome::Loose {
            self.fate = Fate::Open;
        }
    }

    /// Whether its client may go on with it; `None` where it has to wait until the next rest tells what is so.
    #[must_use]
    pub fn is_usable(&self) -> Option<bool> {
        match self.end {
            _ if self.fate != Fate::Known => return Some(false),
            Some(end) if matches!(end.outcome, Outcome::Acked(_)) => return Some(false),
            Some(_) => return None,
            None => {}
        }
        let known = |name: &Name| name.change.settled || matches!(name.change.outcome, Outcome::Acked(_));
        self.names
            .iter()
            .filter(|name| !name.dead)
            .all(known)
            .then_some(true)
    }
}
