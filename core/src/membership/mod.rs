//! The parts of membership: SWIM by `foca`, node identities, the roster of members, the messages of membership, and
//! the encoding of multicast hints.
//!
//! None of them has a socket or a clock: bytes and timers come in; bytes, timers and events go out. What a node makes
//! of all this together is decided by [`crate::engine::members`].

mod discovery;
mod identity;
mod member_message;
mod offset;
mod roster;
mod swim;

pub use discovery::{Dialled, HINT_MAX, Hint, Listener, SignedHint};
pub use identity::Identity;
pub use member_message::{ClusterTime, MemberMessage};
pub use offset::Offset;
pub use roster::{Member, MemberState, Roster, RosterFull};
pub use swim::{Event, Swim, SwimConfig, Timer, Todo};
