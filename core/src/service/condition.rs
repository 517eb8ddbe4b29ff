//! Conditions of changes, with their textual forms.
//!
//! A change whose condition does not hold is refused, and nothing is changed. Who decides is the engine's affair.

use std::str::FromStr;

use super::{Life, Version};

/// What has to hold for a change to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// There is no such session; `absent`.
    Absent,
    /// There is one; `present`.
    Present,
    /// There is one, at this version; `version:<version>`.
    Version(Version),
    /// The session is still the one that had this life when the caller read it; `life:<life>`. Holds under an id that the
    /// session had until lately as well (`session.rename_forward`).
    Life(Life),
}

/// A text that is no condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a condition: absent, present, version:<version> or life:<life> is expected, as an answer gave them"
)]
pub struct BadCondition;

impl FromStr for Condition {
    type Err = BadCondition;

    fn from_str(text: &str) -> Result<Self, BadCondition> {
        match text.split_once(':') {
            None if text == "absent" => Ok(Self::Absent),
            None if text == "present" => Ok(Self::Present),
            Some(("version", version)) => version.parse().map(Self::Version).map_err(|_| BadCondition),
            Some(("life", life)) => life.parse().map(Self::Life).map_err(|_| BadCondition),
            _ => Err(BadCondition),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_read_as_documented_and_nothing_else_is() {
        let (life, version) = ("1a-2b".parse().unwrap(), "1a-2b".parse().unwrap());
        assert_eq!("life:1a-2b".parse(), Ok(Condition::Life(life)));
        assert_eq!("version:1a-2b".parse(), Ok(Condition::Version(version)));
        assert_eq!("absent".parse(), Ok(Condition::Absent));
        assert_eq!("present".parse(), Ok(Condition::Present));
        for bad in [
            "",
            "life",
            "life:",
            "life:x",
            "1a-2b",
            "Life:1a-2b",
            "life: 1a-2b",
            "version",
            "version:",
            "absent:",
            "absent:1a-2b",
            "present ",
        ] {
            assert_eq!(bad.parse::<Condition>(), Err(BadCondition), "{bad:?}");
        }
    }
}
