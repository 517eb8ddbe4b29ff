//! Lineage: which sessions there were, by the life each was created with, and which of them may rightly have become one.
//! Noted beside the product, from what nodes answered.
//!
//! Two sessions may become one if they were created under one id by nodes that did not know of each other's, or if one
//! was created under an id to which the other had just been renamed. In no other case may a record hold values of both.

use std::collections::{HashMap, HashSet};

use limpet_core::session::{Record, Stamp};

use crate::view;

/// See the module page. Sessions are called by the life they were created with, ids by their number in the history.
#[derive(Debug, Default)]
pub struct Lineage {
    /// The id each session was created under, and the last deletion that its creator knew of there.
    born: HashMap<Stamp, (usize, Stamp)>,
    /// The sessions that were created under each id.
    born_at: HashMap<usize, Vec<Stamp>>,
    /// Pairs of sessions of which the creator of the first knew that the second had had the same id before.
    apart: HashSet<(Stamp, Stamp)>,
    /// The ids that each session was given, and when.
    given: HashMap<Stamp, Vec<(usize, Stamp)>>,
    /// The sessions that were given each id, and when.
    given_to: HashMap<usize, Vec<(Stamp, Stamp)>>,
    /// The sessions that one rename was about, by its stamp.
    at: HashMap<Stamp, Vec<Stamp>>,
    /// The id that each rename took its session from, by its stamp.
    from: HashMap<Stamp, usize>,
    /// What a session was called before and after its stamps were moved, both ways.
    moved: HashMap<Stamp, Vec<Stamp>>,
    /// Sessions that may have become one by way of any others, and the number of each one's group.
    groups: Vec<Vec<Stamp>>,
    group: HashMap<Stamp, usize>,
}

impl Lineage {
    /// `session` was created under the id `id` by a node that then knew `known` of that id.
    pub fn created(&mut self, session: Stamp, id: usize, known: &Record) {
        if self.born.contains_key(&session) {
            return;
        }
        self.born.insert(session, (id, view::deleted(known)));
        self.born_at.entry(id).or_default().push(session);
        for (life, first) in view::departed(known) {
            self.apart.insert((session, life));
            self.apart.insert((session, first));
        }
        self.unite_near(session);
    }

    /// The sessions `all`, which are one, had the id `from` and were given the id `to` at `at`.
    pub fn renamed(&mut self, all: &[Stamp], from: usize, to: usize, at: Stamp) {
        self.from.insert(at, from);
        for session in all {
            self.given.entry(*session).or_default().push((to, at));
            self.given_to.entry(to).or_default().push((*session, at));
            self.at.entry(at).or_default().push(*session);
        }
        for session in all {
            self.unite_near(*session);
        }
    }

    /// The session of the id `id` is called otherwise, since its stamps were moved.
    pub fn stamped_anew(&mut self, before: &Record, after: &Record, id: usize) {
        let (Some(was), Some(is)) = (before.first_life(), after.first_life()) else {
            return;
        };
        // Of a part of a session, where the beginning is missing, no more is known than its life under this id.
        for was in [self.of(was), vec![was]].concat() {
            if was != is {
                self.moved.entry(was).or_default().push(is);
                self.moved.entry(is).or_default().push(was);
                self.unite(was, is);
            }
        }
        match view::renamed_at(before).zip(view::renamed_at(after)) {
            Some((earlier, later)) if earlier != later => {
                let sessions = [self.of(earlier), vec![is]].concat();
                let from = self.from.get(&earlier).copied().unwrap_or(id);
                self.renamed(&sessions, from, id, later);
            }
            Some(_) => {}
            None => self.created(is, id, &Record::default()),
        }
    }

    /// Whether a session was ever renamed.
    pub fn was_renamed(&self, session: Stamp) -> bool {
        self.given.contains_key(&session)
    }

    /// Whether a session was given another id later than the one it had in `life`.
    pub fn was_renamed_since(&self, session: Stamp, life: Stamp) -> bool {
        let mut given = self.given.get(&session).into_iter().flatten();
        given.any(|(_, at)| *at > life)
    }

    /// Whether a session was created later under an id that a rename at `at` gave to `session`, and may have overwritten
    /// what that had, be the rename undone since or not.
    pub fn may_have_been_overwritten(&self, session: Stamp, at: Stamp) -> bool {
        let given = self.given.get(&session).into_iter().flatten();
        let mut to = given.filter(|(_, given_at)| *given_at == at);
        to.any(|(to, _)| {
            let mut born = self.born_at.get(to).into_iter().flatten();
            born.any(|created| *created > at)
        })
    }

    /// Whether a session that ended at `at` may have been given its old id back, because of a rename of that stamp, and
    /// have found that another one has it.
    pub fn may_have_found_its_id_taken(&self, at: Stamp) -> bool {
        let Some(id) = self.from.get(&at) else {
            return false;
        };
        let born = self.born_at.get(id).into_iter().flatten().copied();
        let given = self.given_to.get(id).into_iter().flatten();
        let sessions: HashSet<_> = born.chain(given.map(|(session, _)| *session)).collect();
        sessions.len() > 1
    }

    /// The sessions that a life of an id may be of: those that a rename made it of, or the one it created.
    pub fn of(&self, life: Stamp) -> Vec<Stamp> {
        self.at.get(&life).cloned().unwrap_or_else(|| vec![life])
    }

    /// Whether the sessions `all` may be one: each with the next, or both with a third one, nothing of which need be left.
    pub fn may_be_one(&self, all: &[Stamp]) -> bool {
        let Some((first, rest)) = all.split_first() else {
            return true;
        };
        let may_meet = |a: Stamp, b: Stamp| {
            self.may_join(a, b) || self.near(a).into_iter().any(|third| self.may_join(third, b))
        };
        let (mut reached, mut left) = (vec![*first], rest.to_vec());
        while let Some(from) = reached.pop() {
            let (near, far): (Vec<_>, Vec<_>) = left.into_iter().partition(|to| may_meet(from, *to));
            reached.extend(near);
            left = far;
        }
        left.is_empty()
    }

    /// Whether `a` and one of `others` may have become one, by way of any others.
    pub fn may_have_met(&self, a: Stamp, others: &[Stamp]) -> bool {
        let group = self.group.get(&a);
        let is_near = |other: &Stamp| group.is_some() && self.group.get(other) == group;
        others.iter().any(|other| *other == a || is_near(other))
    }

    /// Notes whom `session` may have become one with. What may have been one may have been so ever after.
    fn unite_near(&mut self, session: Stamp) {
        for other in self.near(session) {
            self.unite(session, other);
        }
    }

    fn unite(&mut self, a: Stamp, b: Stamp) {
        let (a, b) = (self.group_of(a), self.group_of(b));
        if a == b {
            return;
        }
        let (small, large) = if self.groups[a].len() < self.groups[b].len() {
            (a, b)
        } else {
            (b, a)
        };
        let moved = std::mem::take(&mut self.groups[small]);
        self.group.extend(moved.iter().map(|session| (*session, large)));
        self.groups[large].extend(moved);
    }

    fn group_of(&mut self, session: Stamp) -> usize {
        *self.group.entry(session).or_insert_with(|| {
            self.groups.push(vec![session]);
            self.groups.len() - 1
        })
    }

    /// The sessions that `from` may have become one with.
    fn near(&self, from: Stamp) -> Vec<Stamp> {
        let born = self.born.get(&from).into_iter();
        let same_id = born.flat_map(|(id, _)| {
            let born = self.born_at.get(id).into_iter().flatten().copied();
            let given = self.given_to.get(id).into_iter().flatten();
            born.chain(given.map(|(session, _)| *session))
        });
        let given = self.given.get(&from).into_iter().flatten();
        let created = given.flat_map(|(to, _)| self.born_at.get(to).into_iter().flatten().copied());
        let moved = self.moved.get(&from).into_iter().flatten().copied();
        let near = same_id.chain(created).chain(moved);
        near.filter(|to| self.may_join(from, *to)).collect()
    }

    fn may_join(&self, a: Stamp, b: Stamp) -> bool {
        if a == b || self.moved.get(&a).is_some_and(|moved| moved.contains(&b)) {
            return true;
        }
        let created_after = |renamed: Stamp, created: Stamp| {
            self.born.get(&created).is_some_and(|(id, deleted)| {
                let mut given = self.given.get(&renamed).into_iter().flatten();
                given.any(|(to, at)| to == id && *at < created && at > deleted)
            })
        };
        let apart = self.apart.contains(&(a, b)) || self.apart.contains(&(b, a));
        let one_id = match (self.born.get(&a), self.born.get(&b)) {
            (Some((id, before_a)), Some((other, before_b))) => {
                !apart && id == other && a > *before_b && b > *before_a
            }
            _ => false,
        };
        one_id || created_after(a, b) || created_after(b, a)
    }
}
