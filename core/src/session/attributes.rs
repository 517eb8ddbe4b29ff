//! The attributes of one session: a map from names to registers, kept as a sorted list because a session has few
//! attributes and a node many sessions.
//!
//! Removed attributes stay as registers without a value until their life is over. How whole sessions merge is in
//! [`super::Record`].

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use smallvec::SmallVec;

use super::{Lifecycle, Register};

/// How many bytes of a value `Debug` shows.
const SHOWN: usize = 32;

/// The bytes of an attribute: one allocation, shared by the table and every outbox.
#[derive(Clone, PartialEq, Eq)]
pub struct Value(triomphe::Arc<[u8]>);

/// Its beginning and its length: a value may be long.
impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.get(..SHOWN).unwrap_or(self);
        write!(f, "\"{}\" of {} bytes", shown.escape_ascii(), self.len())
    }
}

impl Deref for Value {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Value {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        Self(triomphe::Arc::from_header_and_slice((), bytes).into())
    }
}

impl<const N: usize> From<[u8; N]> for Value {
    fn from(bytes: [u8; N]) -> Self {
        Self::from(&bytes[..])
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self::from(&*bytes)
    }
}

/// An attribute's value, or `None` once removed.
pub type Attribute = Option<Value>;

/// Attributes by name, removed ones included. A single one, as in most deltas, needs no allocation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Attributes(SmallVec<[(Arc<str>, Register<Attribute>); 1]>);

impl Attributes {
    /// How many there are, removed ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none, not even removed ones.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The attribute called `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Register<Attribute>> {
        let at = self.find(name).ok()?;
        self.0.get(at).map(|(_, register)| register)
    }

    /// Sets the attribute called `name`, whatever it was.
    pub fn insert(&mut self, name: Arc<str>, register: Register<Attribute>) {
        match self.find(&name) {
            Ok(at) => {
                if let Some((_, known)) = self.0.get_mut(at) {
                    *known = register;
                }
            }
            Err(at) => self.0.insert(at, (name, register)),
        }
    }

    /// Joins one attribute of a life that is not over; returns whether anything changed. Names that are new here are
    /// taken from `share`.
    pub(super) fn join(
        &mut self,
        name: &Arc<str>,
        theirs: &Register<Attribute>,
        share: &mut impl FnMut(&Arc<str>) -> Arc<str>,
    ) -> bool {
        match self.find(name) {
            Ok(at) => match self.0.get_mut(at) {
                Some((_, mine)) if theirs.beats(mine) => *mine = theirs.clone(),
                _ => return false,
            },
            Err(at) => {
                self.0.reserve_exact(usize::from(self.0.len() < 4)); // most sessions have one or two
                self.0.insert(at, (share(name), theirs.clone()));
            }
        }
        true
    }

    /// Removes what belongs to lives that are over.
    pub(super) fn remove_over(&mut self, lifecycle: &Lifecycle) {
        self.0.retain(|(_, register)| !lifecycle.is_over(register.life));
    }

    /// Takes the one with the last name.
    pub(super) fn pop(&mut self) -> Option<(Arc<str>, Register<Attribute>)> {
        self.0.pop()
    }

    /// The one with the last name.
    pub(super) fn last(&self) -> Option<(&Arc<str>, &Register<Attribute>)> {
        self.0.last().map(|(name, register)| (name, register))
    }

    /// All of them, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Register<Attribute>)> {
        self.0.iter().map(|(name, register)| (name, register))
    }

    /// The registers alone.
    pub fn registers(&self) -> impl Iterator<Item = &Register<Attribute>> {
        self.0.iter().map(|(_, register)| register)
    }

    fn find(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(known, _)| (**known).cmp(name))
    }
}

impl FromIterator<(Arc<str>, Register<Attribute>)> for Attributes {
    /// Of several with one name, the last is kept.
    fn from_iter<I: IntoIterator<Item = (Arc<str>, Register<Attribute>)>>(all: I) -> Self {
        let mut attributes = Self::default();
        for (name, register) in all {
            attributes.insert(name, register);
        }
        attributes
    }
}
