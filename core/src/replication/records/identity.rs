//! The encoding of what records say of other ids: the fates of lives, and the origin of a session that was renamed.
//!
//! All other parts of a record are in [`super`].

use std::sync::Arc;

use limpet_wire::report::ATTRIBUTES_MAX;

use super::super::message::PeerMisbehaved;
use super::super::primitives::{bytes, number};
use super::{RecordReader, Writer};
use crate::session::{Fate, Fates, Lifecycle, Name, Origin, Renamed, Stamp};

/// The most names that one renamed session has had: one for each life that an attribute has, and those it had before. A
/// record that announces more is refused, and its link closed.
pub(in crate::replication) const ORIGIN_NAMES_MAX: usize = 8 * ATTRIBUTES_MAX;

/// Kinds of fates: deleted at the record's tombstone; deleted at another moment; renamed.
const ENDED_AT_TOMBSTONE: u8 = 0;
const ENDED: u8 = 1;
const RENAMED: u8 = 2;

impl Writer<'_, '_> {
    pub(super) fn fates(&mut self, lifecycle: &Lifecycle) {
        number(lifecycle.fates.len() as u64, self.into);
        for (life, fate) in lifecycle.fates.iter() {
            self.stamps.write(life, false, self.into);
            match fate {
                Fate::Ended(at) if *at == lifecycle.deleted => self.into.push(ENDED_AT_TOMBSTONE),
                Fate::Ended(at) => {
                    self.into.push(ENDED);
                    self.stamps.write(*at, false, self.into);
                }
                Fate::Renamed(renamed) => {
                    self.into.push(RENAMED);
                    self.renamed(renamed);
                }
            }
        }
    }

    fn renamed(&mut self, renamed: &Renamed) {
        self.stamps.write(renamed.at, false, self.into);
        self.stamps.write(renamed.first, false, self.into);
        bytes(renamed.to.as_bytes(), self.into);
        bytes(renamed.from.as_bytes(), self.into);
    }

    pub(super) fn origin(&mut self, origin: &Origin) {
        bytes(origin.id.as_bytes(), self.into);
        self.stamps.write(origin.first, false, self.into);
        // Most sessions have had one id before, and were created with that.
        let plain = match &*origin.names {
            [only] => only.id == origin.id && only.life == origin.first && only.left.is_none(),
            _ => false,
        };
        number(if plain { 0 } else { origin.names.len() as u64 }, self.into);
        for name in origin.names.iter().filter(|_| !plain) {
            bytes(name.id.as_bytes(), self.into);
            self.stamps.write(name.life, false, self.into);
            self.into.push(u8::from(name.left.is_some()));
            if let Some(left) = &name.left {
                self.renamed(left);
            }
        }
    }
}

impl RecordReader<'_, '_> {
    pub(super) fn fates(&mut self, deleted: Stamp) -> Result<Fates, PeerMisbehaved> {
        let mut fates = Fates::NONE;
        for _ in 0..self.from.count()? {
            let life = self.stamps.read(false, self.from)?;
            let fate = match self.from.byte()? {
                ENDED_AT_TOMBSTONE => Fate::Ended(deleted),
                ENDED => Fate::Ended(self.stamps.read(false, self.from)?),
                RENAMED => Fate::Renamed(self.renamed()?),
                found => {
                    let expected = "0, 1 or 2";
                    return Err(PeerMisbehaved::BadByte { expected, found });
                }
            };
            fates.join(life, &fate);
        }
        Ok(fates)
    }

    fn renamed(&mut self) -> Result<Renamed, PeerMisbehaved> {
        Ok(Renamed {
            at: self.stamps.read(false, self.from)?,
            first: self.stamps.read(false, self.from)?,
            to: self.from.text()?.into(),
            from: self.from.text()?.into(),
        })
    }

    fn name(&mut self) -> Result<Name, PeerMisbehaved> {
        let id = self.from.text()?.into();
        let life = self.stamps.read(false, self.from)?;
        let left = match self.from.byte()? {
            0 => None,
            1 => Some(self.renamed()?),
            found => {
                let expected = "0 or 1";
                return Err(PeerMisbehaved::BadByte { expected, found });
            }
        };
        Ok(Name { id, life, left })
    }

    pub(super) fn origin(&mut self) -> Result<Origin, PeerMisbehaved> {
        let id: Arc<str> = self.from.text()?.into();
        let first = self.stamps.read(false, self.from)?;
        let mut names = Vec::new();
        match self.from.count()? {
            0 => names.push(Name {
                id: id.clone(),
                life: first,
                left: None,
            }),
            found if found > ORIGIN_NAMES_MAX => {
                let max = ORIGIN_NAMES_MAX;
                return Err(PeerMisbehaved::TooManyNames { found, max });
            }
            count => {
                for _ in 0..count {
                    names.push(self.name()?);
                }
            }
        }
        names.sort_unstable();
        names.dedup();
        Ok(Origin { id, names, first })
    }
}
