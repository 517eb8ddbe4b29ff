//! Which sessions were reported as used, and when: one report per session and interval is enough, because the
//! core only needs to know that a session lives. A tree, because a hash map asks the host for randomness and panics
//! without.

use std::collections::BTreeMap;

/// The most sessions remembered. One more, and those whose interval is over are forgotten; if there are none, all
/// are, and every session is reported once more than it had to be.
pub const SESSIONS_MAX: usize = 65_536;

/// When each session was last reported as used, in milliseconds since 1970.
#[derive(Debug, Default)]
pub struct Touches {
    last: BTreeMap<String, u64>,
}

impl Touches {
    /// Whether the use of `id` at `now` is to be reported; it then counts as reported.
    pub fn due(&mut self, id: &str, now: u64, interval: u64) -> bool {
        // A stamp from the future was made before the clock was set back.
        let over = |last: u64| now < last || now - last >= interval;
        if let Some(last) = self.last.get_mut(id) {
            let due = over(*last);
            if due {
                *last = now;
            }
            return due;
        }
        if self.last.len() >= SESSIONS_MAX {
            self.last.retain(|_, last| !over(*last));
            if self.last.len() >= SESSIONS_MAX {
                self.last.clear();
            }
        }
        self.last.insert(id.to_owned(), now);
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
        assert!(touches.last.len() <= SESSIONS_MAX);
    }
}
