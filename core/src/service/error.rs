//! Why an operation was refused, by who can put it right. Nothing was changed, but where the error says that it may have
//! been.

use crate::base::id::BadName;
use crate::base::limits::EVENT_LISTENERS_MAX;
use crate::engine::conditional::quorum::NotForgotten;
use crate::engine::sessions::Refused;

/// See the module page.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServiceError {
    /// The caller asked for what cannot be: the same call fails again.
    #[error(transparent)]
    Caller(#[from] CallerError),
    /// The node cannot do it now: the same call may succeed later, or at another node.
    #[error(transparent)]
    Node(#[from] NodeError),
}

/// What the caller can put right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallerError {
    /// There is no such session; a change that creates it is the way to have one.
    #[error("there is no such session")]
    NoSuchSession,
    /// The session was deleted after the request began that the operation belongs to, or renamed so long ago that nothing
    /// follows any more. What it changed is gone with it.
    #[error("the session left this id after the request of this operation had begun")]
    Ended,
    /// No node declares a worker with this route.
    #[error("no node declares a worker with the route {0:?}; the list of workers names those there are")]
    NoSuchWorker(String),
    /// A name of an app, a session, an attribute or a route that cannot be one.
    #[error("{0}")]
    BadName(String),
    /// The session would be too large; keep less in it.
    #[error("{0}")]
    TooLarge(String),
    /// The condition of the change does not hold; read the session again.
    #[error("the condition does not hold")]
    Unmet,
    /// Another session has the id that was to be given.
    #[error("another session has this id; take another one, or ask for that session to be replaced")]
    IdInUse,
    /// A rename to the id the session has.
    #[error("this is the id the session already has")]
    SameId,
    /// No member of this name counts towards the majority.
    #[error("no member of this name counts towards the majority; `limpet-core status` names those that do")]
    NoSuchMember,
    /// A member that is alive is not forgotten.
    #[error("this member is alive; stop it first")]
    MemberAlive,
    /// Nothing is decided by majority, so no member that is gone counts.
    #[error(
        "session_server.conditional is \"available\": a member that is gone does not count, and need not be forgotten"
    )]
    NothingToForget,
    /// A replacement that also names attributes to remove.
    #[error("a replacement removes what it does not set; use a patch to name what goes")]
    RemoveInReplacement,
}

/// What the operator can put right, or time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NodeError {
    /// The node does not have the whole table yet, or is stopping: a session that is merely missing must not look
    /// ended. Asked later, or at another node, it is found.
    #[error("not ready: {0}")]
    NotReady(String),
    /// A part of the session is here and the rest is not: it must be neither shown nor written over.
    #[error("a part of this session is still on its way to this node")]
    Incomplete,
    /// The session is not here, and no node that may hold it answers.
    #[error("the nodes that hold this session cannot be reached now")]
    Unreachable,
    /// The node that decides about the session did not answer in time. The change may have been made or not: read the
    /// session, then ask again.
    #[error("the node that decides about this session did not answer in time; the change may have been made")]
    Undecided,
    /// No majority of the members can be reached. Nothing was changed. Start members again, or forget those that are dead.
    #[error(
        "no majority of the members can be reached, which has to agree; start those that are down, or say of dead ones: limpet-core member forget ID"
    )]
    NoQuorum,
    /// `session.max_active` is reached: raise it, or wait until sessions end.
    #[error("this node holds session.max_active = {0} sessions and takes no new ones")]
    Full(usize),
    /// [`EVENT_LISTENERS_MAX`] is reached: end one of the others.
    #[error("{EVENT_LISTENERS_MAX} callers listen to events already, and this node takes no more")]
    TooManyListeners,
}

impl From<Refused> for ServiceError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::NotFound => CallerError::NoSuchSession.into(),
            Refused::Unmet => CallerError::Unmet.into(),
            Refused::InUse => CallerError::IdInUse.into(),
            Refused::NoSuchWorker(route) => CallerError::NoSuchWorker(route).into(),
            Refused::BadName(sentence) => CallerError::BadName(sentence).into(),
            Refused::TooLarge(sentence) => CallerError::TooLarge(sentence).into(),
            Refused::NotReady(reason) => NodeError::NotReady(reason).into(),
            Refused::Incomplete => NodeError::Incomplete.into(),
            Refused::Unreachable => NodeError::Unreachable.into(),
            Refused::Undecided => NodeError::Undecided.into(),
            Refused::NoQuorum => NodeError::NoQuorum.into(),
            Refused::Full(most) => NodeError::Full(most).into(),
        }
    }
}

impl From<NotForgotten> for ServiceError {
    fn from(error: NotForgotten) -> Self {
        Self::Caller(match error {
            NotForgotten::NoQuorum => CallerError::NothingToForget,
            NotForgotten::Unknown => CallerError::NoSuchMember,
            NotForgotten::Alive => CallerError::MemberAlive,
        })
    }
}

impl From<BadName> for CallerError {
    fn from(error: BadName) -> Self {
        Self::BadName(error.to_string())
    }
}
