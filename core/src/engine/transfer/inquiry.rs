//! The inquiry: whom a joining node was told to ask for the table, and what they answered. It decides whether the node
//! may start without a table.
//!
//! ```text
//! told    seeds, the DNS name, hints ──► addresses ─┐
//! dialled nodes that dialled this one ──► addresses ─┴─► each answers, refuses, or is silent
//! ```
//! A node may start without a table where it was told of nobody; else only when every address has certainly no table to
//! give, and it has listened for as long as peers pause between two dials, since they may know a node that it was not told
//! of. Silence, a look-up that failed and an attempt that still runs are no answers. That the node's id is the first among
//! those that join is checked by [`super::joining`], with what the members announced; dialling is the link keeper's.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use crate::base::id::NodeId;
use crate::base::limits::{MEMBERS_MAX, REDIAL_PAUSE_MAX};

/// How long a node listens before it starts without a table: the longest pause of a peer between two dials, and time for
/// a handshake.
pub(in crate::engine) const LISTEN: Duration = REDIAL_PAUSE_MAX.saturating_add(Duration::from_millis(500));
/// For how long it counts that a node said it has no table: it may get one, and a link on which nothing arrives any more
/// does not say so.
const SAID_LATELY: Duration = Duration::from_millis(2500);
/// How many addresses or names a sentence lists.
const NAMED_MAX: usize = 3;

/// What an address answered last. One that has no answer is silent, or is being asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// This node of the cluster is there. What it has, its announcement says.
    Node(NodeId),
    /// The connection was refused: no process listens there.
    Refused,
    /// A node with other sessions, of another domain; or this node itself.
    NotOurs,
}

/// Where addresses come from.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    /// A seed or the DNS name, with what it resolved to last; `None` before it did, and after it did not.
    Name(Option<Vec<SocketAddr>>),
    /// Hints, which arrive one by one; whether they were listened to for long enough.
    Hints(bool),
    /// Any member that has the sessions: there was one, and nothing else will do.
    AnyMember,
}

/// A node that dialled this one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Dialler {
    addr: SocketAddr,
    /// Whether it has a table, where it said so.
    has_table: Option<bool>,
}

/// What keeps a node from starting without a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::engine) enum Obstacle {
    /// The table is known to exist.
    AnyMember,
    /// Names that do not resolve.
    Unresolved(Vec<String>),
    /// Addresses that gave no answer, or whose answer does not tell that there is no table.
    Unanswered(Vec<SocketAddr>),
    /// Hints or dials of others may still come.
    Listening,
}

impl std::fmt::Display for Obstacle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let list = |names: Vec<String>| {
            let more = names.len().saturating_sub(NAMED_MAX);
            let shown = names.into_iter().take(NAMED_MAX).collect::<Vec<_>>().join(", ");
            if more > 0 {
                format!("{shown} and {more} more")
            } else {
                shown
            }
        };
        match self {
            Self::AnyMember => f.write_str("waiting for any member that has the sessions"),
            Self::Unresolved(names) => {
                write!(f, "waiting for the addresses of {}", list(names.clone()))
            }
            Self::Unanswered(addrs) => {
                let addrs = list(addrs.iter().map(ToString::to_string).collect());
                write!(f, "waiting for an answer from {addrs}, where the sessions may be")
            }
            Self::Listening => f.write_str("waiting for nodes that may be about to dial this one"),
        }
    }
}

/// See the module page.
#[derive(Debug)]
pub(in crate::engine) struct Inquiry {
    began: Duration,
    sources: BTreeMap<String, Source>,
    /// At most [`MEMBERS_MAX`]. Those of further hints are dialled, and their answers are not waited for.
    hinted: BTreeSet<SocketAddr>,
    /// At most [`MEMBERS_MAX`], which is how many nodes there can be.
    diallers: BTreeMap<NodeId, Dialler>,
    answers: BTreeMap<SocketAddr, Answer>,
    /// When nodes last said that they have no table. As many as there are nodes.
    joining: BTreeMap<NodeId, Duration>,
}

impl Inquiry {
    /// Nobody was asked yet. `names` are the seeds and the DNS name; `hints` whether hints are listened to.
    pub(in crate::engine) fn new(
        names: impl IntoIterator<Item = String>,
        hints: bool,
        now: Duration,
    ) -> Self {
        let names = names.into_iter().map(|name| (name, Source::Name(None)));
        let hints = hints.then(|| (String::from("hints"), Source::Hints(false)));
        Self {
            began: now,
            sources: names.chain(hints).collect(),
            hinted: BTreeSet::new(),
            diallers: BTreeMap::new(),
            answers: BTreeMap::new(),
            joining: BTreeMap::new(),
        }
    }

    /// That of a node that had the table and dropped it: it never starts without.
    pub(in crate::engine) fn of_any_member(now: Duration) -> Self {
        let mut inquiry = Self::new([], false, now);
        inquiry
            .sources
            .insert(String::from("any member"), Source::AnyMember);
        inquiry
    }

    /// Whether this node was told of nobody.
    pub(in crate::engine) fn is_alone(&self) -> bool {
        self.sources.is_empty() && self.hinted.is_empty()
    }

    /// For how long this node has been listening.
    pub(in crate::engine) fn has_listened(&self, now: Duration) -> bool {
        now.saturating_sub(self.began) >= LISTEN
    }

    /// `name` resolved to `addrs`; to none where it does not resolve. Returns the addresses that are new.
    pub(in crate::engine) fn on_resolved(&mut self, name: &str, addrs: &[SocketAddr]) -> Vec<SocketAddr> {
        let known = self.addresses();
        let Some(Source::Name(resolved)) = self.sources.get_mut(name) else {
            return Vec::new();
        };
        *resolved = (!addrs.is_empty()).then(|| addrs.iter().copied().take(MEMBERS_MAX).collect());
        self.forget_answers();
        let new = addrs.iter().take(MEMBERS_MAX);
        new.filter(|addr| !known.contains(addr)).copied().collect()
    }

    /// A genuine hint led to `addr`.
    pub(in crate::engine) fn on_hint(&mut self, addr: SocketAddr) {
        if self.hinted.len() < MEMBERS_MAX {
            self.hinted.insert(addr);
        }
    }

    /// Hints were listened to for long enough for every node that sends them to have sent one.
    pub(in crate::engine) fn on_hints_heard(&mut self) {
        for source in self.sources.values_mut() {
            if let Source::Hints(heard) = source {
                *heard = true;
            }
        }
    }

    /// `node`, which listens at `addr`, dialled this one. Until it says that it has no table, it has to be asked.
    pub(in crate::engine) fn on_dialled(&mut self, node: &NodeId, addr: SocketAddr) {
        if self.answers.get(&addr) == Some(&Answer::Refused) {
            self.answers.remove(&addr); // it is there now
        }
        if self.diallers.len() < MEMBERS_MAX || self.diallers.contains_key(node) {
            let has_table = None;
            self.diallers.insert(node.clone(), Dialler { addr, has_table });
        }
    }

    /// `node` said whether it has a table.
    pub(in crate::engine) fn on_announced(&mut self, node: &NodeId, has_table: bool, now: Duration) {
        if has_table {
            self.joining.remove(node);
        } else if self.joining.len() < MEMBERS_MAX || self.joining.contains_key(node) {
            self.joining.insert(node.clone(), now);
        }
        if let Some(dialler) = self.diallers.get_mut(node) {
            dialler.has_table = Some(has_table);
        }
    }

    /// Whether `node` said lately that it has no table. It says so every second while that is so.
    pub(in crate::engine) fn said_lately_to_join(&self, node: &NodeId, now: Duration) -> bool {
        let said = self.joining.get(node);
        said.is_some_and(|said| now.saturating_sub(*said) <= SAID_LATELY)
    }

    /// What `addr` answered; `None` for silence.
    pub(in crate::engine) fn on_answer(&mut self, addr: SocketAddr, answer: Option<Answer>) {
        match answer {
            Some(answer) if self.addresses().contains(&addr) => drop(self.answers.insert(addr, answer)),
            _ => drop(self.answers.remove(&addr)),
        }
    }

    /// Every address that has to answer.
    pub(in crate::engine) fn addresses(&self) -> BTreeSet<SocketAddr> {
        let resolved = self.sources.values().filter_map(|source| match source {
            Source::Name(addrs) => addrs.as_ref(),
            Source::Hints(_) | Source::AnyMember => None,
        });
        let diallers = self.diallers.values();
        let diallers = diallers.filter(|dialler| dialler.has_table != Some(false));
        resolved
            .flatten()
            .copied()
            .chain(self.hinted.iter().copied())
            .chain(diallers.map(|dialler| dialler.addr))
            .collect()
    }

    /// Drops the answers of addresses that need not answer any more.
    fn forget_answers(&mut self) {
        let addrs = self.addresses();
        self.answers.retain(|addr, _| addrs.contains(addr));
    }

    /// What keeps the node that listens at `own` from starting without a table, where `is_joining` says of a node whether
    /// it is linked and has said that it has none.
    pub(in crate::engine) fn obstacle(
        &self,
        own: SocketAddr,
        is_joining: impl Fn(&NodeId) -> bool,
        now: Duration,
    ) -> Option<Obstacle> {
        if self.is_alone() {
            return None;
        }
        if self.sources.values().any(|source| *source == Source::AnyMember) {
            return Some(Obstacle::AnyMember);
        }
        let unresolved = self.sources.iter();
        let unresolved = unresolved.filter(|(_, source)| **source == Source::Name(None));
        let unresolved: Vec<_> = unresolved.map(|(name, _)| name.clone()).collect();
        if !unresolved.is_empty() {
            return Some(Obstacle::Unresolved(unresolved));
        }
        let has_none = |addr: &SocketAddr| match self.answers.get(addr) {
            Some(Answer::Refused | Answer::NotOurs) => true,
            Some(Answer::Node(node)) => is_joining(node),
            None => *addr == own,
        };
        let addrs = self.addresses().into_iter();
        let unanswered: Vec<_> = addrs.filter(|addr| !has_none(addr)).collect();
        if !unanswered.is_empty() {
            return Some(Obstacle::Unanswered(unanswered));
        }
        let hears_hints = self
            .sources
            .values()
            .any(|source| *source == Source::Hints(false));
        (hears_hints || !self.has_listened(now)).then_some(Obstacle::Listening)
    }
}

#[cfg(test)]
mod tests;
