//! The ledger: everything that was asked of the cluster and what was answered, and the claims about the answers.
//!
//! It is pure: answers and times come in, broken claims come out. What it lets a node show follows from what was
//! acknowledged by how many nodes, from which nodes lost their memory since, and from what one client can know of the
//! order of its own writes. Where an outcome is not known, either is right.

mod change;
mod order;
mod reading;
mod session;
mod settling;
#[cfg(test)]
mod tests;
mod value;
mod weather;

use std::collections::BTreeMap;

pub use change::{At, Instance, Outcome};
pub use session::{Broken, Fate, Session, Values};
pub use settling::Shown;
pub use value::Value;
pub use weather::{Look, Mode, Weather};

/// See the module page.
#[derive(Debug)]
pub struct Ledger {
    /// What happened to the cluster.
    pub weather: Weather,
    sessions: BTreeMap<String, Session>,
    /// Which session has, or had, an id.
    ids: BTreeMap<String, String>,
}

impl Ledger {
    /// A ledger without sessions.
    #[must_use]
    pub fn new(weather: Weather) -> Self {
        Self {
            weather,
            sessions: BTreeMap::new(),
            ids: BTreeMap::new(),
        }
    }

    /// A session that is about to be created.
    pub fn begin(&mut self, name: &str, id: &str, instance: Instance, at: At) {
        self.ids.insert(id.to_owned(), name.to_owned());
        self.sessions
            .insert(name.to_owned(), Session::begin(name, id, instance, at));
    }

    /// A session is about to get another id.
    pub fn rename(&mut self, name: &str, id: &str, instance: Instance, at: At) {
        self.ids.insert(id.to_owned(), name.to_owned());
        self.session(name).rename(id, instance, at);
    }

    /// A session by its name.
    ///
    /// # Panics
    /// When it was never begun.
    pub fn session(&mut self, name: &str) -> &mut Session {
        self.sessions
            .get_mut(name)
            .unwrap_or_else(|| panic!("no session {name} was begun"))
    }

    /// The name of the session that has, or had, an id.
    #[must_use]
    pub fn name_of(&self, id: &str) -> Option<&str> {
        self.ids.get(id).map(String::as_str)
    }

    /// The sessions that may be there: name and ids.
    #[must_use]
    pub fn present(&self) -> Vec<(String, Vec<String>)> {
        let there = self
            .sessions
            .iter()
            .filter(|(_, session)| matches!(session.fate(), Fate::Known | Fate::Open));
        there
            .map(|(name, session)| (name.clone(), session.ids()))
            .collect()
    }

    /// How many sessions there are, and how many of them are gone.
    #[must_use]
    pub fn count(&self) -> (usize, usize) {
        let gone = self
            .sessions
            .values()
            .filter(|session| matches!(session.fate(), Fate::Gone | Fate::Forgotten));
        (self.sessions.len(), gone.count())
    }

    /// A node answered for `id`; `values` where it showed any.
    ///
    /// # Errors
    /// The claim that does not hold.
    pub fn on_found(&self, name: &str, id: &str, look: &Look, values: Option<&Values>) -> Result<(), Broken> {
        match self.sessions.get(name) {
            Some(session) => session.on_found(&self.weather, id, look, values),
            None => Ok(()),
        }
    }

    /// A node has no session `id`.
    ///
    /// # Errors
    /// The claim that does not hold.
    pub fn on_absent(&self, name: &str, id: &str, look: &Look) -> Result<(), Broken> {
        match self.sessions.get(name) {
            Some(session) => session.on_absent(&self.weather, id, look),
            None => Ok(()),
        }
    }

    /// Every node was asked for every id of a session, at rest.
    ///
    /// # Errors
    /// The claim that does not hold.
    pub fn settle(&mut self, name: &str, shown: &[Shown]) -> Result<(), Broken> {
        match self.sessions.get_mut(name) {
            Some(session) => session.settle(&self.weather, shown),
            None => Ok(()),
        }
    }

    /// The number of the write that values show of an attribute, where they are of this session.
    #[must_use]
    pub fn number_of(values: &Values, attribute: &str) -> Option<u64> {
        Some(Value::parse(values.get(attribute)?)?.number)
    }

    /// An id that a node lists at rest.
    ///
    /// # Errors
    /// When it is of a session that is gone.
    pub fn on_listed(&self, id: &str) -> Result<(), Broken> {
        let gone = |name: &&String| {
            self.sessions
                .get(*name)
                .is_some_and(|session| session.fate() == Fate::Gone)
        };
        match self.ids.get(id).filter(gone) {
            Some(name) => Err(Broken::new(
                "C3",
                format!("{id} of {name} is listed, and was gone"),
            )),
            None => Ok(()),
        }
    }
}
