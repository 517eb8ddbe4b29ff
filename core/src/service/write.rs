//! Changes of one session. Each is made once, at this node, and told to the others; the answer waits for copies.

use super::{Ack, CallerError, Patch, Service, ServiceError, Version, leave_out};
use crate::base::clock::Now;
use crate::base::id::SessionKey;
use crate::engine::Engine;
use crate::engine::sessions::{Refused, Written};

/// A change that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The session, under the id it has now.
    pub key: SessionKey,
    /// Its version after the change; a touch leaves it where it was.
    pub version: Version,
    /// How many nodes, this one included, are known to hold the change.
    pub copies: usize,
    /// The attributes that were to be set and are not kept, because `replication.replicate` does not name them.
    pub ignored: Vec<String>,
}

impl Service {
    /// Sets and removes what `patch` names; creates the session where there is none. Counts as a touch.
    ///
    /// # Errors
    /// [`CallerError::BadName`], [`CallerError::TooLarge`]; of the node's, all but `TooManyListeners`.
    pub async fn patch(&self, key: &SessionKey, mut patch: Patch, ack: Ack) -> Result<Outcome, ServiceError> {
        let (settings, mut ignored) = (self.settings(), Vec::new());
        let change = |engine: &mut Engine, now| {
            ignored = leave_out(engine, &mut patch, &settings.replicate);
            engine.patch(key, patch, now)
        };
        let outcome = self.change(std::slice::from_ref(key), ack, change).await?;
        Ok(Outcome { ignored, ..outcome })
    }

    /// The same, and removes every attribute that `patch` does not set.
    ///
    /// # Errors
    /// [`CallerError::RemoveInReplacement`], and those of [`Self::patch`].
    pub async fn replace(&self, key: &SessionKey, patch: Patch, ack: Ack) -> Result<Outcome, ServiceError> {
        if !patch.remove.is_empty() {
            return Err(CallerError::RemoveInReplacement.into());
        }
        let replacement = Patch {
            replace: true,
            ..patch
        };
        self.patch(key, replacement, ack).await
    }

    /// The session is in use: its idle time starts over. Told to others once per `session.touch_interval`; a touch in
    /// between has one copy.
    ///
    /// # Errors
    /// [`CallerError::NoSuchSession`]; of the node's, all but `Full` and `TooManyListeners`.
    pub async fn touch(&self, key: &SessionKey, ack: Ack) -> Result<Outcome, ServiceError> {
        self.change(std::slice::from_ref(key), ack, |engine, now| {
            engine.touch(key, now)
        })
        .await
    }

    /// Gives the session of `key` the id of `to`, in the same app. Attributes, binding and lifetimes stay; a session
    /// that has the id already ends. The old id finds the session for `session.rename_forward`.
    ///
    /// # Errors
    /// [`CallerError::SameId`], and those of [`Self::touch`].
    pub async fn rename(&self, key: &SessionKey, to: &SessionKey, ack: Ack) -> Result<Outcome, ServiceError> {
        if key == to {
            return Err(CallerError::SameId.into());
        }
        let both = [key.clone(), to.clone()];
        self.change(&both, ack, |engine, now| engine.rename(key, to, now))
            .await
    }

    /// Ends the session everywhere, for good.
    ///
    /// # Errors
    /// Those of [`Self::touch`].
    pub async fn delete(&self, key: &SessionKey, ack: Ack) -> Result<Outcome, ServiceError> {
        self.change(std::slice::from_ref(key), ack, |engine, now| {
            engine.delete(key, now)
        })
        .await
    }

    /// Makes the sessions of `keys` local, then one change, and waits for its copies.
    pub(super) async fn change(
        &self,
        keys: &[SessionKey],
        ack: Ack,
        change: impl FnOnce(&mut Engine, Now) -> Result<Written, Refused>,
    ) -> Result<Outcome, ServiceError> {
        self.node.make_local(keys).await?;
        let Written {
            key,
            version,
            write_set,
        } = self.node.with(change)?;
        Ok(Outcome {
            key,
            version: version.into(),
            copies: self.node.copies(ack.level, ack.timeout, write_set).await,
            ignored: Vec::new(),
        })
    }
}
