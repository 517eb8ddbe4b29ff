//! Exponential back-off: delays that double between two bounds, with jitter, so that nodes that lost the same peer do
//! not return to it in step.
//!
//! Waiting is the caller's part, and so is the randomness.

use std::time::Duration;

/// A growing delay.
#[derive(Debug, Clone)]
pub struct Backoff {
    least: Duration,
    most: Duration,
    next: Duration,
}

impl Backoff {
    /// A delay that starts at `least` and doubles up to `most`.
    #[must_use]
    pub const fn new(least: Duration, most: Duration) -> Self {
        Self {
            least,
            most,
            next: least,
        }
    }

    /// Back to the start: the last try succeeded.
    pub const fn reset(&mut self) {
        self.next = self.least;
    }

    /// The delay before the next try: between half of it and all of it, as `random` (0.0 to 1.0) says.
    pub fn step(&mut self, random: f64) -> Duration {
        let delay = self.next;
        self.next = (self.next * 2).min(self.most);
        delay.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_to_its_bound_and_starts_over() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_millis(300));
        let steps: Vec<_> = (0..4).map(|_| backoff.step(1.0).as_millis()).collect();
        assert_eq!(steps, [100, 200, 300, 300]);
        backoff.reset();
        assert_eq!(backoff.step(0.0).as_millis(), 50);
    }
}
