//! Who is in the cluster: SWIM by `foca`, seen through our own words, and the roster of what members say of
//! themselves. No sockets, no clock: bytes and timers come in, bytes, timers and events go out.

mod discovery;
mod drift;
mod identity;
mod member_message;
mod roster;
mod swim;

pub use discovery::{Dialled, HINT_MAX, Hint, Listener, SignedHint};
pub use drift::Drift;
pub use identity::Identity;
pub use member_message::MemberMessage;
pub use roster::{Member, MemberState, Roster};
pub use swim::{Event, Swim, SwimConfig, Timer, Todo};
