//! Changes of one session. Each is made once, at this node, and told to the others; the answer waits for copies.

use super::{Ack, CallerError, Condition, InUse, Life, Patch, Service, ServiceError, Version};
use crate::base::clock::Now;
use crate::base::id::SessionKey;
use crate::engine::Engine;
use crate::engine::sessions::{Refused, Written};
use crate::session::{self, Change};

/// A change that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The session, under the id the caller knows: the one it named, and after a rename the new one.
    pub key: SessionKey,
    /// Its version after the change; a touch leaves it where it was.
    pub version: Version,
    /// Its life.
    pub life: Life,
    /// How many nodes, this one included, are known to hold the change.
    pub copies: usize,
    /// The attributes that were to be set and are not kept, because `replication.replicate` does not name them.
    pub ignored: Vec<String>,
}

impl Service {
    /// Sets and removes what `patch` names; creates the session where there is none and no condition forbids it.
    /// Counts as a touch.
    ///
    /// # Errors
    /// [`CallerError::BadName`], [`CallerError::TooLarge`], [`CallerError::Unmet`]; of the node's, all but
    /// `TooManyListeners`.
    pub async fn patch(
        &self,
        key: &SessionKey,
        mut patch: Patch,
        condition: Option<Condition>,
        ack: Ack,
    ) -> Result<Outcome, ServiceError> {
        let ignored = patch.keep(&self.settings().replicate);
        if !ignored.is_empty() {
            self.node.with(|engine, _| engine.note_ignored(ignored.len()));
        }
        let written = self.change(key, Change::Patch(patch), condition).await?;
        let outcome = self.outcome(key, written, ack).await;
        Ok(Outcome { ignored, ..outcome })
    }

    /// The same, and removes every attribute that `patch` does not set.
    ///
    /// # Errors
    /// [`CallerError::RemoveInReplacement`], and those of [`Self::patch`].
    pub async fn replace(
        &self,
        key: &SessionKey,
        patch: Patch,
        condition: Option<Condition>,
        ack: Ack,
    ) -> Result<Outcome, ServiceError> {
        if !patch.remove.is_empty() {
            return Err(CallerError::RemoveInReplacement.into());
        }
        let replacement = Patch {
            replace: true,
            ..patch
        };
        self.patch(key, replacement, condition, ack).await
    }

    /// The session is in use: its idle time starts over. Told to others once per `session.touch_interval`; a touch in
    /// between has one copy.
    ///
    /// # Errors
    /// [`CallerError::NoSuchSession`]; of the node's, all but `Full` and `TooManyListeners`.
    pub async fn touch(&self, key: &SessionKey, ack: Ack) -> Result<Outcome, ServiceError> {
        let written = self
            .make(std::slice::from_ref(key), |engine, now| engine.touch(key, now))
            .await?;
        Ok(self.outcome(key, written, ack).await)
    }

    /// Gives the session of `key` the id of `to`, in the same app. Attributes, binding, lifetimes and life stay. The old
    /// id does not find the session any more.
    ///
    /// # Errors
    /// [`CallerError::SameId`], [`CallerError::IdInUse`], and those of [`Self::touch`].
    pub async fn rename(
        &self,
        key: &SessionKey,
        to: &SessionKey,
        in_use: InUse,
        ack: Ack,
    ) -> Result<Outcome, ServiceError> {
        if key == to {
            return Err(CallerError::SameId.into());
        }
        let both = [key.clone(), to.clone()];
        let written = self
            .make(&both, |engine, now| engine.rename(key, to, in_use, now))
            .await?;
        Ok(self.outcome(to, written, ack).await)
    }

    /// Ends the session everywhere, for good.
    ///
    /// # Errors
    /// [`CallerError::Unmet`], and those of [`Self::touch`].
    pub async fn delete(
        &self,
        key: &SessionKey,
        condition: Option<Condition>,
        ack: Ack,
    ) -> Result<Outcome, ServiceError> {
        let written = self.change(key, Change::Delete, condition).await?;
        Ok(self.outcome(key, written, ack).await)
    }

    /// Makes the session of `key` local, then one change of it. On condition of a life the change follows a rename, which
    /// the outcome does not tell.
    async fn change(
        &self,
        key: &SessionKey,
        change: Change,
        condition: Option<Condition>,
    ) -> Result<Written, ServiceError> {
        let keys = std::slice::from_ref(key);
        let decided = match condition {
            None => {
                return self
                    .make(keys, |engine, now| engine.change(key, change, now))
                    .await;
            }
            Some(Condition::Life(life)) => {
                self.node.make_local_with_later(keys).await?;
                let written = self.node.with(|engine, now| {
                    let key = engine.locate(key, life.stamp(), now)?;
                    engine.change(&key, change, now)
                })?;
                return Ok(written);
            }
            Some(Condition::Absent) => session::Condition::Absent,
            Some(Condition::Present) => session::Condition::Present,
            Some(Condition::Version(version)) => session::Condition::Version(version.stamp()),
        };
        self.node.make_local(keys).await?;
        Ok(self.node.decide(key, decided, change).await?)
    }

    /// Makes the sessions of `keys` local, then one change.
    async fn make(
        &self,
        keys: &[SessionKey],
        change: impl FnOnce(&mut Engine, Now) -> Result<Written, Refused>,
    ) -> Result<Written, ServiceError> {
        self.node.make_local(keys).await?;
        let made = self.node.with(|engine, now| match change(engine, now) {
            Err(Refused::NotFound) if keys.iter().any(|key| engine.may_be_cut_off_from(key, now)) => {
                Err(Refused::Unreachable)
            }
            made => made,
        });
        Ok(made?)
    }

    /// Waits for copies of a change of the session that the caller knows as `key`.
    async fn outcome(&self, key: &SessionKey, written: Written, ack: Ack) -> Outcome {
        let copies = self.node.copies(ack.level, ack.timeout, written.write_set);
        Outcome {
            key: key.clone(),
            version: written.version.into(),
            life: written.life.into(),
            copies: copies.await,
            ignored: Vec::new(),
        }
    }
}
