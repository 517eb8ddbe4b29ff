//! Reading one session.

use super::{CallerError, Service, ServiceError, Session};
use crate::base::id::SessionKey;
use crate::engine::sessions::Refused;

/// Whose copy of a session answers a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consistency {
    /// This node's, as it is; nobody is asked. In backup mode a session that others hold is not found.
    Local,
    /// That of a node that holds the session: this one, or else one that is asked. Where every node holds every
    /// session (delta mode) that is this node's.
    Holder,
}

impl Service {
    /// The session of `key`. An id that it had before a rename does not find it. A read is not a touch.
    ///
    /// # Errors
    /// [`CallerError::NoSuchSession`]; of the node's, all but `Full` and `TooManyListeners`.
    pub async fn read(&self, key: &SessionKey, consistency: Consistency) -> Result<Session, ServiceError> {
        if consistency == Consistency::Holder {
            self.node.make_local(std::slice::from_ref(key)).await?;
        }
        self.node.with(|engine, now| {
            engine.check_ready()?;
            let record = match engine.find(key, now) {
                Err(Refused::NotFound) if engine.may_be_cut_off_from(key, now) => {
                    return Err(Refused::Unreachable.into());
                }
                found => found?,
            };
            Session::of(key, record, engine.time_ms(now)).ok_or_else(|| CallerError::NoSuchSession.into())
        })
    }
}
