//! A report of the filters: what responses did to sessions, many operations at a time.

use limpet_wire::report::Operation;

use super::{Ack, CallerError, Patch, Service, ServiceError, leave_out};
use crate::base::clock::Now;
use crate::base::id::SessionKey;
use crate::engine::Engine;
use crate::session::AttributeFilter;

/// What became of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// How many nodes, this one included, are known to hold every change of it.
    pub copies: usize,
    /// The operations that were refused, by their index in the report, in order. All others were applied.
    pub refused: Vec<(u32, ServiceError)>,
}

impl Service {
    /// Applies `operations` in order, and waits for copies of all of them. An operation that is refused keeps no other
    /// from being applied.
    ///
    /// # Errors
    /// [`super::NodeError::NotReady`], [`super::NodeError::Unreachable`]: nothing was applied.
    pub async fn apply(&self, operations: Vec<Operation>, ack: Ack) -> Result<Applied, ServiceError> {
        let (mut refused, mut keys, mut valid) = (Vec::new(), Vec::new(), Vec::new());
        for (index, operation) in (0..).zip(operations) {
            match SessionKey::parse(&operation.app, &operation.id) {
                Ok(key) => {
                    keys.push(key);
                    valid.push((index, operation));
                }
                Err(error) => refused.push((index, CallerError::from(error).into())),
            }
        }
        self.node.make_local_with_later(&keys).await?;
        let settings = self.settings();
        let write_set = self.node.with(|engine, now| {
            engine.check_ready()?;
            Ok::<_, ServiceError>(engine.gather(|engine| {
                for (key, (index, operation)) in keys.iter().zip(valid) {
                    if let Err(error) = apply(engine, key, operation, &settings.replicate, now) {
                        refused.push((index, error));
                    }
                }
            }))
        })?;
        refused.sort_unstable_by_key(|(index, _)| *index);
        let copies = self.node.copies(ack.level, ack.timeout, write_set).await;
        Ok(Applied { copies, refused })
    }
}

/// Applies one operation.
fn apply(
    engine: &mut Engine,
    key: &SessionKey,
    operation: Operation,
    replicate: &AttributeFilter,
    now: Now,
) -> Result<(), ServiceError> {
    // What a request did that began before the session ended, it did to that session: a worker's answer on its way brings
    // nobody back in who has logged out. What began before the session was renamed follows.
    let key = &match operation.began_ms {
        Some(began_ms) => engine
            .locate_for_request(key, began_ms, now)
            .ok_or(CallerError::Ended)?,
        None => key.clone(),
    };
    if operation.invalidate {
        engine.delete(key, now)?;
        return Ok(());
    }
    let set = operation.set.into_iter();
    let mut patch = Patch {
        set: set.map(|(name, value)| (name, value.into())).collect(),
        remove: operation.remove,
        max_inactive: operation.max_inactive,
        route: operation.route,
        replace: false,
    };
    leave_out(engine, &mut patch, replicate);
    let exists = engine.session(key, now).is_some();
    let changes = !patch.remove.is_empty() || patch.max_inactive.is_some();
    if !patch.set.is_empty() || (exists && changes) {
        engine.patch(key, patch, now)?;
        return Ok(());
    }
    // A binding or a touch of a session that is not there creates none: the id may be the client's invention.
    if !exists {
        return Ok(());
    }
    if let Some(route) = &patch.route {
        engine.bind(key, route, now)?;
    }
    if operation.touch {
        engine.touch(key, now)?;
    }
    Ok(())
}
