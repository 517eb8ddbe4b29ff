//! The reader of session deltas in response headers: four structured fields (RFC 9651) that a worker writes.
//!
//! ```text
//! limpet-session-set: cart=:YWJj:, user=:eA==:        dictionary of byte sequences
//! limpet-session-remove: "old", draft                 list of strings or tokens
//! limpet-session-max-inactive: 1800                   integer, seconds; 0 or less: never expires
//! limpet-session-invalidate: ?1                       boolean
//! ```
//! Several lines of one field are one field, joined by commas (RFC 9110 section 5.3). A field that is malformed or
//! exceeds a limit of the core is dropped as a whole and reported as an error; the others are applied. Which session
//! the delta belongs to is the binder's decision.

use limpet_wire::names::{SESSION_INVALIDATE, SESSION_MAX_INACTIVE, SESSION_REMOVE, SESSION_SET};
use limpet_wire::report::{ATTRIBUTES_MAX, IdleLimit, NAME_MAX, VALUE_MAX};
use sfv::{BareItem, Dictionary, Item, List, ListEntry, Parser};

/// The changes a worker asks for in the session of its response.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Delta {
    /// Attributes to set.
    pub set: Vec<(String, Vec<u8>)>,
    /// Attributes to remove.
    pub remove: Vec<String>,
    /// The idle lifetime from now on.
    pub max_inactive: Option<IdleLimit>,
    /// The session is deleted.
    pub invalidate: bool,
}

impl Delta {
    /// Whether it sets, removes or limits anything.
    #[must_use]
    pub fn changes(&self) -> bool {
        !self.set.is_empty() || !self.remove.is_empty() || self.max_inactive.is_some()
    }
}

/// Why a field was dropped; the application behind the worker must be corrected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// Not a structured field of its type.
    #[error("{field} is malformed: {problem}")]
    Malformed {
        /// The header.
        field: &'static str,
        /// The parser's message.
        problem: String,
    },
    /// It has a member of another type.
    #[error("{field} has a member that is no {expected}")]
    Type {
        /// The header.
        field: &'static str,
        /// The type it must have.
        expected: &'static str,
    },
    /// It has more members, or longer ones, than a core stores.
    #[error("{field} has more or longer members than a session may have")]
    Limit {
        /// The header.
        field: &'static str,
    },
}

/// The lines of the four fields of one response, collected header by header.
#[derive(Debug, Default)]
pub struct Lines {
    set: Vec<u8>,
    remove: Vec<u8>,
    max_inactive: Vec<u8>,
    invalidate: Vec<u8>,
    any: bool,
}

impl Lines {
    /// Adds a header line, if its field is one of the four.
    pub fn add(&mut self, name: &[u8], value: &[u8]) {
        let text = match () {
            () if name.eq_ignore_ascii_case(SESSION_SET.as_bytes()) => &mut self.set,
            () if name.eq_ignore_ascii_case(SESSION_REMOVE.as_bytes()) => &mut self.remove,
            () if name.eq_ignore_ascii_case(SESSION_MAX_INACTIVE.as_bytes()) => &mut self.max_inactive,
            () if name.eq_ignore_ascii_case(SESSION_INVALIDATE.as_bytes()) => &mut self.invalidate,
            () => return,
        };
        if !text.is_empty() {
            text.extend_from_slice(b", ");
        }
        text.extend_from_slice(value);
        self.any = true;
    }

    /// Parses the collected lines. `None` where there are none; otherwise the delta and the fields dropped from it.
    #[must_use]
    pub fn parse(&self) -> Option<(Delta, Vec<FieldError>)> {
        if !self.any {
            return None;
        }
        let mut errors = Vec::new();
        let mut delta = Delta::default();
        store(&mut delta.set, parse_set(&self.set), &mut errors);
        store(&mut delta.remove, parse_remove(&self.remove), &mut errors);
        store(
            &mut delta.max_inactive,
            parse_max_inactive(&self.max_inactive),
            &mut errors,
        );
        store(
            &mut delta.invalidate,
            parse_invalidate(&self.invalidate),
            &mut errors,
        );
        Some((delta, errors))
    }
}

fn store<T>(target: &mut T, parsed: Result<T, FieldError>, errors: &mut Vec<FieldError>) {
    match parsed {
        Ok(value) => *target = value,
        Err(error) => errors.push(error),
    }
}

fn parse_set(text: &[u8]) -> Result<Vec<(String, Vec<u8>)>, FieldError> {
    let field = SESSION_SET;
    let members: Dictionary = Parser::new(text)
        .parse()
        .map_err(|error| malformed(field, &error))?;
    if members.len() > ATTRIBUTES_MAX {
        return Err(FieldError::Limit { field });
    }
    let mut set = Vec::with_capacity(members.len());
    for (name, member) in members {
        let ListEntry::Item(Item {
            bare_item: BareItem::ByteSequence(value),
            ..
        }) = member
        else {
            return Err(FieldError::Type {
                field,
                expected: "byte sequence",
            });
        };
        if name.as_str().len() > NAME_MAX || value.len() > VALUE_MAX {
            return Err(FieldError::Limit { field });
        }
        set.push((name.as_str().to_owned(), value));
    }
    Ok(set)
}

fn parse_remove(text: &[u8]) -> Result<Vec<String>, FieldError> {
    let field = SESSION_REMOVE;
    let members: List = Parser::new(text)
        .parse()
        .map_err(|error| malformed(field, &error))?;
    if members.len() > ATTRIBUTES_MAX {
        return Err(FieldError::Limit { field });
    }
    let mut remove = Vec::with_capacity(members.len());
    for member in members {
        let name = match member {
            ListEntry::Item(Item {
                bare_item: BareItem::String(name),
                ..
            }) => name.as_str().to_owned(),
            ListEntry::Item(Item {
                bare_item: BareItem::Token(name),
                ..
            }) => name.as_str().to_owned(),
            _ => {
                return Err(FieldError::Type {
                    field,
                    expected: "string or token",
                });
            }
        };
        if name.is_empty() || name.len() > NAME_MAX {
            return Err(FieldError::Limit { field });
        }
        remove.push(name);
    }
    Ok(remove)
}

fn parse_max_inactive(text: &[u8]) -> Result<Option<IdleLimit>, FieldError> {
    if text.is_empty() {
        return Ok(None);
    }
    let field = SESSION_MAX_INACTIVE;
    let item: Item = Parser::new(text)
        .parse()
        .map_err(|error| malformed(field, &error))?;
    let BareItem::Integer(seconds) = item.bare_item else {
        return Err(FieldError::Type {
            field,
            expected: "integer",
        });
    };
    Ok(Some(match u64::try_from(i64::from(seconds)) {
        Ok(seconds @ 1..) => IdleLimit::Millis(seconds.saturating_mul(1_000)),
        _ => IdleLimit::Forever,
    }))
}

fn parse_invalidate(text: &[u8]) -> Result<bool, FieldError> {
    if text.is_empty() {
        return Ok(false);
    }
    let field = SESSION_INVALIDATE;
    let item: Item = Parser::new(text)
        .parse()
        .map_err(|error| malformed(field, &error))?;
    match item.bare_item {
        BareItem::Boolean(ends) => Ok(ends),
        _ => Err(FieldError::Type {
            field,
            expected: "boolean",
        }),
    }
}

fn malformed(field: &'static str, error: &sfv::Error) -> FieldError {
    FieldError::Malformed {
        field,
        problem: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(lines: &[(&str, &[u8])]) -> (Delta, Vec<FieldError>) {
        let mut collected = Lines::default();
        for (name, value) in lines {
            collected.add(name.as_bytes(), value);
        }
        collected.parse().expect("a line was added")
    }

    #[test]
    fn all_four_fields() {
        let (delta, errors) = read(&[
            ("limpet-session-set", b"cart=:YWJj:"),
            ("Limpet-Session-Set", b"user=:eA==:"),
            ("limpet-session-remove", b"\"Old One\", draft"),
            ("limpet-session-max-inactive", b"1800"),
            ("limpet-session-invalidate", b"?0"),
        ]);
        assert_eq!(errors, []);
        assert_eq!(
            delta.set,
            [("cart".into(), b"abc".to_vec()), ("user".into(), b"x".to_vec())]
        );
        assert_eq!(delta.remove, ["Old One", "draft"]);
        assert_eq!(delta.max_inactive, Some(IdleLimit::Millis(1_800_000)));
        assert!(!delta.invalidate);
    }

    #[test]
    fn zero_and_less_mean_no_idle_limit() {
        for text in [&b"0"[..], b"-1"] {
            assert_eq!(
                read(&[(SESSION_MAX_INACTIVE, text)]).0.max_inactive,
                Some(IdleLimit::Forever)
            );
        }
    }

    #[test]
    fn a_bad_field_is_dropped_and_the_others_are_applied() {
        let (delta, errors) = read(&[
            (SESSION_SET, b"cart=\"text\""),
            (SESSION_REMOVE, b"gone"),
            (SESSION_MAX_INACTIVE, b"soon"),
            (SESSION_INVALIDATE, b"1"),
        ]);
        assert_eq!(errors.len(), 3, "{errors:?}");
        assert_eq!(
            delta,
            Delta {
                remove: vec!["gone".into()],
                ..Delta::default()
            }
        );
    }

    #[test]
    fn limits_of_the_core() {
        let many: String = (0..=ATTRIBUTES_MAX).map(|n| format!("a{n}=:eA==:,")).collect();
        let (_, errors) = read(&[(SESSION_SET, many.trim_end_matches(',').as_bytes())]);
        assert_eq!(errors, [FieldError::Limit { field: SESSION_SET }]);
        let long = format!("{}=:eA==:", "a".repeat(NAME_MAX + 1));
        assert_eq!(
            read(&[(SESSION_SET, long.as_bytes())]).1,
            [FieldError::Limit { field: SESSION_SET }]
        );
    }

    proptest! {
        #[test]
        fn survives_any_bytes(text: Vec<u8>) {
            for name in [SESSION_SET, SESSION_REMOVE, SESSION_MAX_INACTIVE, SESSION_INVALIDATE] {
                let _ = read(&[(name, &text)]);
            }
        }

        #[test]
        fn any_value_comes_through(value: Vec<u8>) {
            let mut text = sfv::DictSerializer::new();
            text.bare_item(sfv::KeyRef::from_str("a").unwrap(), value.as_slice());
            let (delta, errors) = read(&[(SESSION_SET, text.finish().unwrap().as_bytes())]);
            prop_assert_eq!(errors, vec![]);
            prop_assert_eq!(delta.set, vec![("a".to_owned(), value)]);
        }
    }
}
