//! The consequences that a change under one id has for other ids. A session is its life; ids are names it has had.
//!
//! ```text
//! a life was renamed      what belongs to it, here and in later changes, belongs to the session under the new id
//! two renames of a life   the later one holds; the id that the earlier one gave leads to the later one's
//! a life was deleted      so it is under every id it was renamed to
//!                         with it go earlier ones that had become one with it where that is heard
//! an id was taken twice   a session that was renamed to an id which another had is given its old id back
//! ```
//! A rename calls the life by the rename's own stamp under the new id ([`super::Renamed::at`]); writes keep their stamps. So
//! under one id registers of two sessions are never compared, and every node comes to the same result in whatever order
//! it hears of things.
//!
//! An id is given back to its old session where it turns out that a rename would have been refused, had its node known
//! all: a session that was here before is still here, or was when the other one came. Is the old id in use by then, the
//! session that cannot be anywhere is deleted. Sessions that are created under an id later than one that was renamed to
//! it are writes to it by nodes that had not heard of it, and become one with it, as sessions do that are created under
//! one id at the same time.
//!
//! Everything here is about two records of one id; carrying out the consequences is the engine's part.

use std::cmp::Reverse;
use std::sync::Arc;

use super::{Fate, Fates, Lifecycle, LifecycleBox, Name, Origin, Record, Register, Renamed, Stamp, Touch};

/// How many names of a session a rename carries on, beside those under the id it had last: the latest.
const NAMES_MAX: usize = 16;

/// See the module page.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Consequences {
    /// Fates that were decided here, to be joined with the change.
    pub decided: Fates,
    /// Lives that are now known to have been renamed and were not before, and the stamps of their renames.
    pub renamed: Vec<(Stamp, Stamp)>,
    /// Changes of other ids of the app, in the order in which to make them.
    pub others: Vec<ForOther>,
}

/// A change of another id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForOther {
    /// The id.
    pub id: Arc<str>,
    /// The change.
    pub change: Record,
}

impl Consequences {
    /// What `change`, about to be joined into `known`, the record of `id`, means for others.
    #[must_use]
    pub fn of(id: &str, known: &Record, change: &Record) -> Self {
        let mut fates = known.lifecycle.fates.clone();
        fates.join_all(&change.lifecycle.fates);
        let mut decided = taken_along(known, &change.lifecycle, &fates);
        fates.join_all(&decided);
        decided.join_all(&conflicts(id, known, change, &fates));
        fates.join_all(&decided);
        let mut found = Self {
            decided,
            ..Self::default()
        };
        // First, so that the old id's session has left it before it is given that back.
        if let Some(origin) = &change.lifecycle.renamed_from {
            let at = origin.life;
            for name in &origin.value.names {
                let here = || Renamed {
                    at,
                    to: id.into(),
                    from: origin.value.id.clone(),
                    first: origin.value.first,
                };
                let fate = Fate::Renamed(name.left.clone().unwrap_or_else(here));
                found.other(&name.id, Record::of_fates(Fates::from_iter([(name.life, fate)])));
            }
        }
        for (life, fate) in fates.iter() {
            found.follow(id, known, change, life, fate);
        }
        found
    }

    /// What it means that `fate` is that of `life`.
    fn follow(&mut self, id: &str, known: &Record, change: &Record, life: Stamp, fate: &Fate) {
        let before = known.lifecycle.fates.get(life);
        let told = change.lifecycle.fates.get(life);
        // Renames that do not hold: what they gave an id to has the fate that does.
        for lost in [before, told].into_iter().flatten().filter_map(Fate::renamed) {
            // One of the same stamp is the same rename: its session was given the id back that it had before.
            if fate.renamed().is_none_or(|holds| holds.at != lost.at) {
                let fates = Fates::from_iter([(lost.at, fate.clone())]);
                self.other(&lost.to, Record::of_fates(fates));
            }
        }
        let Fate::Renamed(renamed) = fate else { return };
        if before.is_none() {
            self.renamed.push((life, renamed.at));
            self.take_along(id, known, life, renamed);
        }
        self.take_along(id, change, life, renamed);
    }

    /// What `record`, of `id`, has of `life` belongs to the session under its new id.
    fn take_along(&mut self, id: &str, record: &Record, life: Stamp, renamed: &Renamed) {
        let mut part = record.part(life, renamed.at);
        if part == Record::default() {
            return;
        }
        if !part.is_touch_only() {
            // So that nobody takes it for a part of another session that has the id, nor goes on with the session under an
            // id that it left long ago.
            let id = Arc::from(id);
            let origin = record.lifecycle.renamed_from.as_ref();
            let mut names = match origin.filter(|origin| origin.life == life) {
                Some(_) => record.latest_names(&id),
                None => Vec::new(),
            };
            names.push(Name { id, life, left: None });
            names.sort_unstable();
            names.dedup();
            part.lifecycle = came_from(renamed.from.clone(), names, renamed.first, renamed.at);
        }
        self.other(&renamed.to, part);
    }

    fn other(&mut self, id: &Arc<str>, change: Record) {
        let id = id.clone();
        self.others.push(ForOther { id, change });
    }
}

impl Record {
    /// What there is of `life`, as parts of the life `at`. An expiry is left out: every node finds out for itself how
    /// long a session has been idle under its new id.
    fn part(&self, life: Stamp, at: Stamp) -> Self {
        let attributes = self.attributes.iter();
        let attributes = attributes.filter_map(|(name, r)| Some((name.clone(), in_life(Some(r), life, at)?)));
        Self {
            lifecycle: LifecycleBox::default(),
            last_touch: self
                .last_touch
                .filter(|touch| touch.life == life)
                .map(|touch| Touch {
                    life: at,
                    at_ms: touch.at_ms,
                }),
            max_inactive: in_life(self.max_inactive.as_ref(), life, at),
            route: in_life(self.route.as_ref(), life, at),
            attributes: attributes.collect(),
        }
    }

    /// Whether, with `later` joined, it would no longer say all that matters under other ids: which id the session had
    /// before, or what a session held that was renamed since.
    #[must_use]
    pub fn loses_by(&self, later: &Self) -> bool {
        let origin = self.lifecycle.renamed_from.as_ref();
        let loses_origin = origin.is_some_and(|origin| later.lifecycle.is_over(origin.life));
        let is_renamed = |life| {
            later
                .lifecycle
                .fates
                .get(life)
                .is_some_and(|fate| fate.renamed().is_some())
        };
        loses_origin || self.lives().into_iter().any(is_renamed)
    }

    /// Whether, as a change, it is a mere part of a session that began later than the one `known` has, and of which nothing
    /// is in `known`: whether that had the id before is told by its beginning alone.
    #[must_use]
    pub fn is_stray_beside(&self, known: &Self) -> bool {
        let Some(life) = self.lives_of_registers().max() else {
            return false;
        };
        let begins = self.max_inactive.as_ref().is_some_and(|r| r.life == life)
            || self
                .lifecycle
                .renamed_from
                .as_ref()
                .is_some_and(|r| r.life == life);
        let is_other = known.is_alive() && known.life() < Some(life);
        !begins && is_other && !known.lifecycle.is_over(life)
    }

    /// How the session of `life` began: which lives had left the id by then, whether it had another id before, and its
    /// idle lifetime.
    #[must_use]
    pub fn beginning(&self, life: Stamp) -> Self {
        let mut beginning = self.ends();
        let origin = self.lifecycle.renamed_from.as_ref();
        let origin = origin.filter(|origin| origin.life == life).cloned();
        beginning
            .lifecycle
            .change(|lifecycle| lifecycle.renamed_from = origin);
        beginning.max_inactive = self.max_inactive.clone().filter(|r| r.life == life);
        beginning
    }

    /// The whole session, as one that was given the id it has now at `at` and had `id` before.
    #[must_use]
    pub fn renamed_from(&self, id: Arc<str>, at: Stamp) -> Self {
        let lives = self.lives();
        let mut moved = Self::default();
        for life in &lives {
            moved.join(&self.part(*life, at));
        }
        let first = self.first_life().unwrap_or(at);
        // A node that has missed earlier renames has to know as well that those ids are over.
        let mut names = self.latest_names(&id);
        let name = |life| Name {
            id: id.clone(),
            life,
            left: None,
        };
        names.extend(lives.into_iter().map(name));
        names.sort_unstable();
        names.dedup();
        moved.lifecycle = came_from(id, names, first, at);
        moved
    }
}

impl Record {
    /// The ends under the ids its session had before, where `change` deletes that. A node that has not heard of the renames
    /// has it under one of those. It left each when it was renamed, not when it was deleted: who had the id afterwards did
    /// not find it in use.
    #[must_use]
    pub fn earlier_ends(&self, id: &str, change: &Self) -> Vec<ForOther> {
        let origin = self.lifecycle.renamed_from.as_ref();
        let is_deleted = |life| matches!(change.lifecycle.fates.get(life), Some(Fate::Ended(_)));
        let Some(origin) = origin.filter(|origin| is_deleted(origin.life)) else {
            return Vec::new();
        };
        let mut ends: Vec<(Arc<str>, Fates)> = Vec::new();
        for name in origin.value.names.iter().filter(|name| *name.id != *id) {
            let end = Fate::Ended(name.left.as_ref().map_or(origin.life, |left| left.at));
            match ends.last_mut().filter(|(id, _)| *id == name.id) {
                Some((_, fates)) => drop(fates.join(name.life, &end)),
                None => ends.push((name.id.clone(), Fates::from_iter([(name.life, end)]))),
            }
        }
        let ends = ends.into_iter().map(|(id, fates)| ForOther {
            id,
            change: Self::of_fates(fates),
        });
        ends.collect()
    }

    /// The latest names its session had before it had `id`, each with where it went from there.
    fn latest_names(&self, id: &Arc<str>) -> Vec<Name> {
        let Some(origin) = &self.lifecycle.renamed_from else {
            return Vec::new();
        };
        let here = Renamed {
            at: origin.life,
            to: id.clone(),
            from: origin.value.id.clone(),
            first: origin.value.first,
        };
        let names = origin.value.names.iter().cloned();
        let gone = names.map(|name| Name {
            left: name.left.or_else(|| Some(here.clone())),
            ..name
        });
        let mut gone: Vec<_> = gone.collect();
        gone.sort_unstable_by_key(|name| Reverse(name.life));
        gone.truncate(NAMES_MAX);
        gone
    }
}

fn in_life<T: Clone>(register: Option<&Register<T>>, life: Stamp, at: Stamp) -> Option<Register<T>> {
    let register = register.filter(|r| r.life == life)?;
    Some(Register {
        life: at,
        ..register.clone()
    })
}

/// The lifecycle of a session that was renamed at `at` and had `id` before, and `names` in all. A session that is given its
/// old id back keeps the life it has, so that is one of those in `names`.
fn came_from(id: Arc<str>, names: Vec<Name>, first: Stamp, at: Stamp) -> LifecycleBox {
    LifecycleBox::from(Lifecycle {
        renamed_from: Some(Box::new(Register {
            life: at,
            stamp: at,
            value: Origin { id, names, first },
        })),
        ..Lifecycle::default()
    })
}

/// What is decided about sessions that had become one here with one that `change` tells was renamed, or deleted where it
/// had another id: created under the same id at the same time, and earlier. They go with it. What was here before a
/// session that was renamed to this id never became one with that.
fn taken_along(known: &Record, change: &Lifecycle, fates: &Fates) -> Fates {
    let came_renamed = |life: Stamp, fate: &Fate| fate.renamed().is_some_and(|renamed| renamed.first != life);
    let came = known.lifecycle.renamed_from.as_ref().map(|origin| origin.life);
    let began = known.max_inactive.as_ref().map(|idle| idle.life);
    let was_created_here = |life: Stamp| came != Some(life) && began == Some(life);
    let gone = change.fates.iter().filter(|(life, fate)| {
        let is_here = known.lives_of_registers().any(|here| here == *life);
        is_here && (fate.renamed().is_some() || was_created_here(*life))
    });
    let mut taken = Fates::NONE;
    for (life, fate) in gone {
        for earlier in known.lives_of_registers().filter(|earlier| *earlier < life) {
            let mut between = fates
                .iter()
                .filter(|(other, _)| *other > earlier && *other <= life);
            let was_apart = between.any(|(other, fate)| came_renamed(other, fate));
            if !was_apart && fates.get(earlier).is_none() && earlier > change.deleted {
                taken.join(earlier, fate);
            }
        }
    }
    taken
}

/// What is decided about sessions that were renamed to `id` while another session had it. `fates` is what the two
/// records say together.
fn conflicts(id: &str, known: &Record, change: &Record, fates: &Fates) -> Fates {
    let origins = [known, change].map(|record| record.lifecycle.renamed_from.as_deref());
    let mut decided = Fates::NONE;
    for newcomer in origins.into_iter().flatten() {
        if fates.get(newcomer.life).is_some() {
            continue;
        }
        let mut others = origins.into_iter().flatten();
        let again =
            others.find(|other| other.life != newcomer.life && is_same(&other.value, &newcomer.value));
        if let Some(again) = again.filter(|again| again.life > newcomer.life) {
            // Two nodes gave one session this id.
            let renamed = Renamed {
                at: again.life,
                to: id.into(),
                from: again.value.id.clone(),
                first: again.value.first,
            };
            decided.join(newcomer.life, &Fate::Renamed(renamed));
        } else if is_in_use(id, newcomer, again.map(|again| again.life), known, change, fates) {
            let fate = if is_back(newcomer) {
                Fate::Ended(newcomer.life)
            } else {
                Fate::Renamed(Renamed {
                    at: newcomer.life,
                    to: newcomer.value.id.clone(),
                    from: id.into(),
                    first: newcomer.value.first,
                })
            };
            decided.join(newcomer.life, &fate);
        }
    }
    decided
}

/// Whether a session that was renamed here was given this id because another one refused it.
fn is_back(session: &Register<Origin>) -> bool {
    let mut names = session.value.names.iter();
    names.any(|name| name.left.is_none() && name.life == session.life)
}

/// Whether two sessions that were renamed to one id are the same.
fn is_same(a: &Origin, b: &Origin) -> bool {
    let had = |name: &Name| {
        b.names
            .iter()
            .any(|other| (&other.id, other.life) == (&name.id, name.life))
    };
    a.first == b.first || a.names.iter().any(had)
}

/// Whether another session had the id when `newcomer` was renamed to it, or, where it came back, has it now. `itself` is
/// another life that it has under this id.
fn is_in_use(
    id: &str,
    newcomer: &Register<Origin>,
    itself: Option<Stamp>,
    known: &Record,
    change: &Record,
    fates: &Fates,
) -> bool {
    let deleted = known.lifecycle.deleted.max(change.lifecycle.deleted);
    let is_itself = |life: Stamp| {
        let mut names = newcomer.value.names.iter();
        Some(life) == itself || names.any(|name| *name.id == *id && name.life == life)
    };
    let is_other = |life: Stamp| {
        let earlier = life < newcomer.life || is_back(newcomer) && life > newcomer.life;
        earlier && !is_itself(life)
    };
    let known_lives = known.lives_of_registers().filter(|_| known.is_alive());
    let mut lives = known_lives.chain(change.lives_of_registers());
    let is_living = |life: Stamp| life > deleted && fates.get(life).is_none();
    lives.any(|life| is_other(life) && is_living(life))
        || fates.iter().any(|(life, fate)| {
            let left_later = life < newcomer.life && fate.at() > newcomer.life;
            let is_it = fate
                .renamed()
                .is_some_and(|renamed| renamed.first == newcomer.value.first);
            left_later && !is_it && !is_itself(life)
        })
}

#[cfg(test)]
mod tests;
