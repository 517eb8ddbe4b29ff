//! Claims about one session when the cluster is at rest: all nodes show the same, it is what was acknowledged, and what
//! ended is gone. What is found becomes what later answers are measured by.

use std::collections::BTreeMap;

use super::change::Outcome;
use super::reading::ATTRIBUTES;
use super::session::{Broken, Fate, Session, Values};
use super::weather::Weather;

/// What one node shows of a session: the values under every id of it that finds one.
pub type Shown = BTreeMap<String, Values>;

impl Session {
    /// Every node was asked for every id.
    ///
    /// # Errors
    /// The claim that does not hold.
    pub fn settle(&mut self, weather: &Weather, shown: &[Shown]) -> Result<(), Broken> {
        let first = shown.first().cloned().unwrap_or_default();
        if self.fate == Fate::Gone {
            return match shown.iter().any(|shown| !shown.is_empty()) {
                true => Err(Broken::new("C3", "it came back".to_owned())),
                false => Ok(()),
            };
        }
        for values in shown.iter().flat_map(|shown| shown.values()) {
            for attribute in ATTRIBUTES {
                self.seen(values, attribute)?;
            }
        }
        if self.fate == Fate::Open {
            if shown.iter().all(Shown::is_empty) {
                self.fate = Fate::Forgotten;
            }
            return Ok(());
        }
        let keys = |shown: &Shown| shown.keys().cloned().collect::<Vec<_>>();
        if let Some(other) = shown.iter().position(|other| ours(other) != ours(&first)) {
            let what = format!(
                "nodes differ: the first shows {:?} under {:?}, number {other} shows {:?} under {:?}",
                ours(&first),
                keys(&first),
                ours(&shown[other]),
                keys(&shown[other])
            );
            return Err(Broken::new("C1", what));
        }
        match first.iter().next() {
            None => self.settle_absent(weather),
            Some(_) if first.len() > 1 && self.life.is_some() => {
                let what = format!("it has {} ids: {:?}", first.len(), keys(&first));
                Err(Broken::new("rename", what))
            }
            Some(_) => {
                // Where old ids forward, several find it; the last of them is the one it has.
                let found = self.names.iter().rev().find(|name| first.contains_key(&name.id));
                let id = found.map(|name| name.id.clone()).unwrap_or_default();
                let values = first.get(&id).cloned().unwrap_or_default();
                self.settle_present(weather, &id, &values)
            }
        }
    }

    fn settle_absent(&mut self, weather: &Weather) -> Result<(), Broken> {
        let created = self.names.first().map(|name| name.change);
        let kept = |name: &super::session::Name| !name.dead && weather.is_safe(&name.change);
        let due = match created {
            Some(created) => weather.is_safe(&created) && self.names.iter().any(kept),
            None => false,
        };
        if due && self.end.is_none() {
            return Err(Broken::new(
                "C2",
                "it is gone, and was acknowledged by more nodes than lost it".to_owned(),
            ));
        }
        self.fate = Fate::Gone;
        self.writes.clear();
        Ok(())
    }

    fn settle_present(&mut self, weather: &Weather, id: &str, values: &Values) -> Result<(), Broken> {
        if let Some(end) = &self.end {
            let acknowledged = matches!(end.outcome, Outcome::Acked(_));
            if acknowledged && weather.is_safe(end) {
                return Err(Broken::new(
                    "C3",
                    format!("{id} answers at rest, and its end was acknowledged"),
                ));
            }
            if end.is_open() {
                self.fate = Fate::Open;
                return Ok(());
            }
            self.end = None; // lost with the nodes that knew it, or never made
        }
        self.settle_id(weather, id)?;
        for attribute in ATTRIBUTES {
            let seen = self.seen(values, attribute)?;
            let of_it = self
                .writes
                .iter()
                .filter(|(_, write)| write.attribute == attribute);
            let lost = of_it
                .filter(|(_, write)| weather.is_safe(&write.change))
                .find(|(number, _)| self.is_older(seen, **number))
                .map(|(number, write)| (*number, write.change));
            if let Some((number, change)) = lost {
                let seen = seen.map_or("absent".to_owned(), |seen| seen.to_string());
                let what = format!(
                    "{attribute} is {seen} at rest, and {number} was acknowledged ({:?}) by more nodes than lost it",
                    change.outcome
                );
                return Err(Broken::new("C2", what));
            }
            for (number, write) in &mut self.writes {
                if write.attribute == attribute {
                    write.change.settled = Some(*number) == seen;
                }
            }
        }
        Ok(())
    }

    /// The session was found under `id` alone: that is its id from now on.
    fn settle_id(&mut self, weather: &Weather, id: &str) -> Result<(), Broken> {
        let Some(at) = self.names.iter().position(|name| name.id == id) else {
            return Ok(());
        };
        let lost = (0..self.names.len()).find(|other| {
            let later = &self.names[*other];
            let follows = self.names[at]
                .change
                .precedes(&later.change, std::time::Duration::ZERO);
            follows && !later.dead && self.life.is_some() && weather.is_safe(&later.change)
        });
        if let Some(lost) = lost {
            let what = format!(
                "it is {id} at rest, and its rename to {} was acknowledged",
                self.names[lost].id
            );
            return Err(Broken::new("C2", what));
        }
        for name in &mut self.names {
            name.dead = name.id != id && !name.change.is_open();
            name.change.settled = name.id == id;
        }
        let current = self.names.remove(at);
        self.names.push(current);
        if let Some(created) = self.names.first_mut() {
            created.change.settled = true;
        }
        Ok(())
    }
}

/// The values that clients of the soak wrote.
fn ours(shown: &Shown) -> Vec<(&String, Vec<Option<&String>>)> {
    shown
        .iter()
        .map(|(id, values)| (id, ATTRIBUTES.iter().map(|name| values.get(*name)).collect()))
        .collect()
}
