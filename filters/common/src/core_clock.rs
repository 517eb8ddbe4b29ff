//! The core's clock, as its answers tell it: how far it is ahead of the proxy's.
//!
//! An answer says when it left the core ([`CORE_TIME`]) and arrives a little later, so the difference it shows is at most
//! the true one. The largest of a minute is kept in shared data, for all VMs. A moment on the proxy's clock, moved by it, is
//! never later on the core's clock than it was: a request counts as begun a little too early rather than too late.
//!
//! What the moments are for is the binder's part.

use limpet_wire::names::CORE_TIME;

use crate::hostcalls::{self, Map};

/// The shared data key: the difference (i64 LE) and when it was learnt (u64 LE), in milliseconds.
pub const KEY: &str = "limpet.core.clock";
/// How long a difference is kept that is larger than those of later answers: clocks drift, and are set.
const KEPT_MS: u64 = 60_000;

/// What is known of the core's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Known {
    difference: i64,
    learnt: u64,
}

impl Known {
    fn decode(bytes: &[u8]) -> Option<Self> {
        let (difference, learnt) = bytes.split_first_chunk()?;
        Some(Self {
            difference: i64::from_le_bytes(*difference),
            learnt: u64::from_le_bytes(learnt.try_into().ok()?),
        })
    }

    fn encode(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        let (difference, learnt) = bytes.split_at_mut(8);
        difference.copy_from_slice(&self.difference.to_le_bytes());
        learnt.copy_from_slice(&self.learnt.to_le_bytes());
        bytes
    }
}

/// What to keep in place of `known`, after an answer that left at `core_ms` arrived at `now`; `None` for nothing else.
fn learn(known: Option<Known>, core_ms: u64, now: u64) -> Option<Known> {
    let learnt = Known {
        difference: core_ms.wrapping_sub(now).cast_signed(),
        learnt: now,
    };
    let keeps = |known: &Known| now.saturating_sub(known.learnt) < KEPT_MS && known.learnt <= now;
    let known = known.filter(keeps);
    known
        .is_none_or(|known| known.difference < learnt.difference)
        .then_some(learnt)
}

fn shared() -> Option<Known> {
    Known::decode(&hostcalls::shared_data(KEY)?.0)
}

/// Reads the clock of the core from the reply that is being delivered, if it tells it.
pub fn learn_from_reply() {
    let time = hostcalls::header(Map::CallResponseHeaders, CORE_TIME.as_bytes());
    let time = time.and_then(|text| std::str::from_utf8(&text).ok()?.parse().ok());
    let now = hostcalls::now_nanos().map(|nanos| nanos / 1_000_000);
    if let (Some(core_ms), Some(now)) = (time, now)
        && let Some(known) = learn(shared(), core_ms, now)
    {
        hostcalls::set_shared_data(KEY, &known.encode(), 0);
    }
}

/// When the request of the current stream began, on the core's clock: milliseconds since 1970. `None` where the proxy
/// or the core has not told. Two host calls.
#[must_use]
pub fn request_began_ms() -> Option<u64> {
    let nanos = hostcalls::property(b"request\0time")?.try_into().ok()?;
    let began = u64::from_le_bytes(nanos) / 1_000_000;
    Some(began.wrapping_add_signed(shared()?.difference))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quickest_answer_of_a_minute_counts() {
        let first = learn(None, 5_000, 1_010).unwrap();
        assert_eq!((first.difference, first.learnt), (3_990, 1_010));
        assert_eq!(learn(Some(first), 6_000, 2_020), None, "a slower one");
        let better = learn(Some(first), 6_000, 2_005).unwrap();
        assert_eq!(better.difference, 3_995);
        let later = 2_005 + KEPT_MS;
        let again = learn(Some(better), later + 3_900, later).unwrap();
        assert_eq!(again.difference, 3_900, "a minute later any other is as good");
        let before = learn(Some(better), 1_000, 2_000).unwrap();
        assert_eq!(before.difference, -1_000, "the proxy's clock was set back");
    }

    #[test]
    fn what_is_shared_is_read_as_it_was_written() {
        let known = Known {
            difference: -7,
            learnt: 1_700_000_000_000,
        };
        assert_eq!(Known::decode(&known.encode()), Some(known));
        assert_eq!(Known::decode(b"short"), None);
        assert_eq!(Known::decode(&[0; 17]), None);
    }
}
