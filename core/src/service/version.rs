//! Versions and lives of sessions, with their textual forms: `<time>-<node>`, both in lower-case hexadecimal without
//! leading zeros. Callers compare them for equality and hand them back; what they are made of is this node's affair.

use std::fmt;
use std::str::FromStr;

use crate::session::Stamp;

/// Which state of a session: of two writes anywhere in the cluster, each leaves it at another version. Touches leave it
/// where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Version(Stamp);

/// Which incarnation of a session: a session that was ended and created again under its id has another life, and one
/// that was renamed has the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Life(Stamp);

/// A text that is no version or no life. The caller hands back what it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a {what}: two hexadecimal numbers with a hyphen between them are expected, as in an answer")]
pub struct BadStamp {
    what: &'static str,
}

impl Version {
    /// The stamp of the last write.
    pub(super) const fn stamp(self) -> Stamp {
        self.0
    }
}

impl Life {
    /// When it began, in milliseconds since 1970.
    #[must_use]
    pub const fn began_ms(self) -> u64 {
        self.0.wall_ms()
    }

    /// The stamp of its creation.
    pub(super) const fn stamp(self) -> Stamp {
        self.0
    }
}

impl From<Stamp> for Version {
    fn from(stamp: Stamp) -> Self {
        Self(stamp)
    }
}

impl From<Stamp> for Life {
    fn from(stamp: Stamp) -> Self {
        Self(stamp)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(self.0, f)
    }
}

impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(self.0, f)
    }
}

impl FromStr for Version {
    type Err = BadStamp;

    fn from_str(text: &str) -> Result<Self, BadStamp> {
        read(text).map(Self).ok_or(BadStamp { what: "version" })
    }
}

impl FromStr for Life {
    type Err = BadStamp;

    fn from_str(text: &str) -> Result<Self, BadStamp> {
        read(text).map(Self).ok_or(BadStamp { what: "life" })
    }
}

fn write(stamp: Stamp, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "{:x}-{:x}", stamp.time, stamp.node)
}

/// Reads exactly what [`write`] writes, so that no stamp has two texts.
fn read(text: &str) -> Option<Stamp> {
    let number = |digits: &str| {
        let canonical = digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
            && (digits == "0" || !digits.starts_with('0'));
        let digits = canonical.then_some(digits)?;
        u64::from_str_radix(digits, 16).ok()
    };
    let (time, node) = text.split_once('-')?;
    Some(Stamp {
        time: number(time)?,
        node: number(node)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_as_it_was_written() {
        let greatest = Stamp {
            time: u64::MAX,
            node: 0,
        };
        let known = Stamp {
            time: 0x1a1_fe34_5cf7_0000,
            node: 0xaf63_dc4c_8601_ec8c,
        };
        for (stamp, text) in [
            (known, "1a1fe345cf70000-af63dc4c8601ec8c"),
            (greatest, "ffffffffffffffff-0"),
        ] {
            assert_eq!(Version(stamp).to_string(), text);
            assert_eq!(text.parse(), Ok(Version(stamp)));
            assert_eq!(text.parse(), Ok(Life(stamp)));
        }
    }

    #[test]
    fn what_no_answer_contained_is_no_version() {
        for bad in [
            "",
            "-",
            "1",
            "1-",
            "-1",
            "+1-2",
            "1-+2",
            "01-2",
            "A-b",
            "1-2-3",
            " 1-2",
            "11111111111111111-1",
        ] {
            assert_eq!(
                bad.parse::<Version>(),
                Err(BadStamp { what: "version" }),
                "{bad:?}"
            );
            assert_eq!(bad.parse::<Life>(), Err(BadStamp { what: "life" }), "{bad:?}");
        }
    }
}
