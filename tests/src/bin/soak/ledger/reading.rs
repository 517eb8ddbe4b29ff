//! Claims about one answer of one node: what it has to show, what it must not show.

use super::change::Change;
use super::session::{Broken, Fate, Session, Values};
use super::weather::{Due, Look, Weather};

/// Writes looked at, the last ones first: what is older is a base of those.
const WRITES_MAX: usize = 40;
/// Attributes that clients of the soak write.
pub const ATTRIBUTES: [&str; 3] = ["n", "p", "q"];

impl Session {
    /// A node answered for the session under `id`. `values` is what it showed; `None` where it showed none.
    ///
    /// # Errors
    /// The claim that does not hold.
    pub fn on_found(
        &self,
        weather: &Weather,
        id: &str,
        look: &Look,
        values: Option<&Values>,
    ) -> Result<(), Broken> {
        if self.fate == Fate::Gone {
            return Err(Broken::new("C3", format!("{id} came back")));
        }
        let mut seen = [None; ATTRIBUTES.len()];
        if let Some(values) = values {
            for (seen, attribute) in seen.iter_mut().zip(ATTRIBUTES) {
                *seen = self.seen(values, attribute)?;
            }
        }
        if self.fate != Fate::Known {
            return Ok(());
        }
        if let Some(due) = self.end.as_ref().and_then(|end| weather.due(end, look)) {
            return Err(Broken::new(
                "C3",
                format!("{id} answers after its end ({})", why(due)),
            ));
        }
        if let Some(later) = self.succeeded(weather, id, look) {
            let what = format!("{id} answers, and was renamed to {later}");
            return Err(Broken::new("rename", what));
        }
        if values.is_none() {
            return Ok(());
        }
        for (seen, attribute) in seen.into_iter().zip(ATTRIBUTES) {
            let writes = self
                .writes
                .iter()
                .rev()
                .filter(|(_, write)| write.attribute == attribute);
            for (number, write) in writes.take(WRITES_MAX) {
                let Some(due) = weather.due(&write.change, look) else {
                    continue;
                };
                if self.is_older(seen, *number) {
                    let claim = if due == Due::Settled { "C2" } else { "C5" };
                    let seen = seen.map_or("absent".to_owned(), |seen| seen.to_string());
                    let what = format!(
                        "{attribute} is {seen}, and {number} was acknowledged ({})",
                        why(due)
                    );
                    return Err(Broken::new(claim, what));
                }
            }
        }
        Ok(())
    }

    /// A node answered that there is no session `id`.
    ///
    /// # Errors
    /// The claim that does not hold.
    pub fn on_absent(&self, weather: &Weather, id: &str, look: &Look) -> Result<(), Broken> {
        if self.fate != Fate::Known || self.end.is_some() {
            return Ok(());
        }
        let Some(at) = self.names.iter().position(|name| name.id == id) else {
            return Ok(());
        };
        let contested = (0..self.names.len()).any(|other| other > at || self.compete(at, other));
        if contested || self.names[at].dead {
            return Ok(());
        }
        match weather.due(&self.names[at].change, look) {
            Some(due) => Err(Broken::new(
                "404",
                format!("there is no {id}, and it lives ({})", why(due)),
            )),
            None => Ok(()),
        }
    }

    /// The id that the session has at this node in place of `id`.
    fn succeeded(&self, weather: &Weather, id: &str, look: &Look) -> Option<&str> {
        self.life.as_ref()?; // without lives an old id forwards
        let at = self.names.iter().position(|name| name.id == id)?;
        let later = (0..self.names.len()).find(|other| {
            let (one, other_name) = (&self.names[at], &self.names[*other]);
            let follows = one.change.precedes(&other_name.change, std::time::Duration::ZERO);
            follows && !other_name.dead && weather.due(&other_name.change, look).is_some()
        });
        later.map(|later| self.names[later].id.as_str())
    }

    /// Whether two renames were under way at the same time, so that either may have won.
    pub(super) fn compete(&self, one: usize, other: usize) -> bool {
        let over = |a: &Change, b: &Change| a.precedes(b, std::time::Duration::ZERO);
        let (a, b) = (&self.names[one], &self.names[other]);
        one != other && !a.dead && !b.dead && !over(&a.change, &b.change) && !over(&b.change, &a.change)
    }
}

fn why(due: Due) -> &'static str {
    match due {
        Due::Settled => {
            "it was there when the cluster came to rest, and has been lost by fewer nodes than held it"
        }
        Due::Own => "by this node, which runs since",
        Due::Everywhere => "by every node",
        Due::Calm => "a while ago, and nothing disturbed the cluster since",
    }
}
