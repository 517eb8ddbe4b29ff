//! Which write a value is of, and which of two writes of an attribute is the older one, as far as their clients can know.

use std::time::Duration;

use super::change::Outcome;
use super::session::{Broken, Fate, Session, Values};
use super::value::Value;

/// Two writes that are further apart than this are not at the same time: the later one is to win.
const APART: Duration = Duration::from_secs(2);
impl Session {
    /// Whether a node that shows the write `seen` lacks `than`: `seen` was read before `than` was written, or was over
    /// long before. Writes at the same time may stand in either order.
    #[must_use]
    pub(super) fn is_older(&self, seen: Option<u64>, than: u64) -> bool {
        let Some(seen) = seen else { return true };
        if seen == than {
            return false;
        }
        let mut at = self.writes.get(&than).and_then(|write| write.base);
        while let Some(number) = at.filter(|number| *number >= seen) {
            if number == seen {
                return true;
            }
            at = self.writes.get(&number).and_then(|write| write.base);
        }
        match (self.writes.get(&seen), self.writes.get(&than)) {
            (Some(one), Some(other)) => one.change.precedes(&other.change, APART),
            _ => false,
        }
    }

    /// The number of the write that is seen of an attribute.
    ///
    /// # Errors
    /// C11 or C4: a value that was never written there.
    pub(super) fn seen(&self, values: &Values, attribute: &str) -> Result<Option<u64>, Broken> {
        let Some(text) = values.get(attribute) else {
            return Ok(None);
        };
        let value = Value::parse(text)
            .ok_or_else(|| Broken::new("C11", format!("{attribute} is {text:?}, which nobody wrote")))?;
        if value.session != self.name {
            let what = format!(
                "{attribute} is {text:?}, a value of the session {}",
                value.session
            );
            return Err(Broken::new("C11", what));
        }
        match self.writes.get(&value.number) {
            Some(write) if write.attribute != attribute => {
                let what = format!("{attribute} is {text:?}, written as {}", write.attribute);
                Err(Broken::new("C11", what))
            }
            Some(write) if write.change.outcome == Outcome::Refused && self.fate == Fate::Known => {
                Err(Broken::new(
                    "C4",
                    format!("{attribute} is {text:?}, and that write was refused"),
                ))
            }
            Some(_) => Ok(Some(value.number)),
            None => Err(Broken::new(
                "C4",
                format!("{attribute} is {text:?}, which nobody wrote"),
            )),
        }
    }
}
