//! Handshakes under way on incoming connections: a bounded number, in which a newcomer is never kept out by those that
//! say nothing. When there are too many, the oldest that has sent nothing gives way, else the oldest.
//!
//! A handshake takes milliseconds, so what is still silent after hundreds of newcomers has nothing to say. Accepting and
//! shaking hands are [`super::incoming`]'s.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use tokio::task::AbortHandle;

/// How many incoming links may shake hands at once. One more, and one of them is closed.
pub(super) const HANDSHAKES_MAX: usize = 256;

/// Whether a connection has sent anything.
#[derive(Debug, Clone, Default)]
pub(super) struct Spoke(Arc<AtomicBool>);

impl Spoke {
    /// It has.
    pub(super) fn note(&self) {
        self.0.store(true, Relaxed);
    }
}

/// See the module page; oldest first.
#[derive(Debug, Default)]
pub(super) struct Handshakes {
    under_way: VecDeque<(AbortHandle, Spoke)>,
}

impl Handshakes {
    /// A handshake has begun as `task`. Says whether another one had to give way.
    pub(super) fn add(&mut self, task: AbortHandle, spoke: Spoke) -> bool {
        self.under_way.push_back((task, spoke));
        if self.under_way.len() <= HANDSHAKES_MAX {
            return false;
        }
        self.under_way.retain(|(task, _)| !task.is_finished());
        if self.under_way.len() <= HANDSHAKES_MAX {
            return false;
        }
        let silent = self
            .under_way
            .iter()
            .position(|(_, spoke)| !spoke.0.load(Relaxed));
        if let Some((task, _)) = self.under_way.remove(silent.unwrap_or(0)) {
            task.abort();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A task that never ends, and whether it has spoken.
    fn waiting(spoke: bool) -> (tokio::task::JoinHandle<()>, Spoke) {
        let flag = Spoke::default();
        if spoke {
            flag.note();
        }
        (tokio::spawn(std::future::pending()), flag)
    }

    #[tokio::test]
    async fn the_oldest_silent_one_gives_way_and_without_any_the_oldest() {
        let mut handshakes = Handshakes::default();
        let mut tasks = Vec::new();
        for number in 0..HANDSHAKES_MAX {
            let (task, spoke) = waiting(number != 3);
            assert!(!handshakes.add(task.abort_handle(), spoke), "{number}");
            tasks.push(task);
        }
        for expected in [3, 0, 1] {
            let (task, spoke) = waiting(true);
            assert!(handshakes.add(task.abort_handle(), spoke));
            let ended = (&mut tasks[expected]).await.unwrap_err();
            assert!(ended.is_cancelled(), "{expected}");
        }
        assert_eq!(handshakes.under_way.len(), HANDSHAKES_MAX);
    }

    #[tokio::test]
    async fn those_that_are_over_make_room_first() {
        let mut handshakes = Handshakes::default();
        for _ in 0..HANDSHAKES_MAX {
            let task = tokio::spawn(std::future::ready(()));
            let handle = task.abort_handle();
            task.await.unwrap();
            handshakes.add(handle, Spoke::default());
        }
        let (task, spoke) = waiting(false);
        assert!(!handshakes.add(task.abort_handle(), spoke));
        assert_eq!(handshakes.under_way.len(), 1);
    }
}
