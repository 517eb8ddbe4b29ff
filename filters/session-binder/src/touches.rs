//! The touch interval: which sessions were touched lately, so that each is reported once per interval and VM.
//!
//! One report per interval is enough, because the core only renews the session's idle lifetime with it. A tree,
//! because a hash map asks the host for randomness and panics without. Sending is left to [`crate::report_queue`].

use std::collections::BTreeMap;

/// The most sessions remembered. At one more, those whose interval is over are dropped; if there are none, all are,
/// and every session is reported once more than necessary.
pub const SESSIONS_MAX: usize = 65_536;

/// When the last touch of each session was reported, in milliseconds since 1970.
#[derive(Debug, Default)]
pub struct Touches {
    reported: BTreeMap<String, u64>,
}

impl Touches {
    /// Whether a touch of `id` at `now` is to be reported; if so, it counts as reported.
    pub fn due(&mut self, id: &str, now: u64, interval: u64) -> bool {
        // A stamp from the future was made before the clock was set back.
        let over = |last: u64| now < last || now - last >= interval;
        if let Some(last) = self.reported.get_mut(id) {
            let due = over(*last);
            if due {
                *last = now;
            }
            return due;
        }
        if self.reported.len() >= SESSIONS_MAX {
            self.reported.retain(|_, last| !over(*last));
            if self.reported.len() >= SESSIONS_MAX {
                self.reported.clear();
            }
        }
        self.reported.insert(id.to_owned(), now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_in_an_interval() {
        let mut touches = Touches::default();
        let mut due = |now| touches.due("a", now, 60);
        assert_eq!(
            [due(100), due(101), due(159), due(160), due(161), due(50)],
            [true, false, false, true, false, true]
        );
    }

    #[test]
    fn sessions_do_not_fill_the_memory() {
        let mut touches = Touches::default();
        for n in 0..=SESSIONS_MAX {
            assert!(touches.due(&n.to_string(), 100, 60));
        }
        assert!(touches.reported.len() <= SESSIONS_MAX);
    }
}
