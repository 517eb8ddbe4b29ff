//! The trace: a hash of everything that happened, by which two runs of one seed are compared, and the last events as text.

use std::collections::VecDeque;

/// How many events are kept to be shown.
const KEPT: usize = 80;

/// One event.
#[derive(Debug, Clone)]
struct Line {
    at_us: u64,
    what: &'static str,
    a: usize,
    b: usize,
    n: u64,
    text: String,
}

/// See the module page.
#[derive(Debug, Default)]
pub struct Trace {
    hash: u64,
    last: VecDeque<Line>,
}

impl Trace {
    /// An event that counts for the hash and is too frequent to be shown.
    pub fn count(&mut self, at_us: u64, what: &'static str, a: usize, b: usize, n: u64) {
        let mut hash = self.hash ^ at_us.rotate_left(20) ^ ((a as u64) << 8) ^ b as u64 ^ n.rotate_left(40);
        for byte in what.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        self.hash = (hash ^ (hash >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    }

    /// An event that is shown if the run fails.
    pub fn line(&mut self, at_us: u64, what: &'static str, a: usize, b: usize, n: u64) {
        self.note(at_us, what, a, b, n, String::new());
    }

    /// The same, with text.
    pub fn note(&mut self, at_us: u64, what: &'static str, a: usize, b: usize, n: u64, text: String) {
        self.count(at_us, what, a, b, n);
        if self.last.len() == KEPT {
            self.last.pop_front();
        }
        self.last.push_back(Line {
            at_us,
            what,
            a,
            b,
            n,
            text,
        });
    }

    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// The last events, one a line.
    pub fn tail(&self) -> String {
        self.last
            .iter()
            .map(|line| {
                format!(
                    "  {:>11.6} {:<14} {} {} {} {}\n",
                    line.at_us as f64 / 1e6,
                    line.what,
                    line.a,
                    line.b,
                    line.n,
                    line.text
                )
            })
            .collect()
    }
}
