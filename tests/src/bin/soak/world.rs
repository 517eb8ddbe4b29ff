//! What every part of a run shares: the ledger, the gate that a rest closes, the counts, the faults so far and the claims
//! that were broken. It decides nothing.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use limpet_tests::http::Address;
use tokio::sync::RwLock;

use crate::ledger::{At, Broken, Ledger, Look};
use crate::options::Options;
use crate::stage::NODES;

/// The most faults that are remembered for a story; the oldest go first.
const FAULTS_MAX: usize = 400;
/// The most broken claims that are told; then the run ends.
const BROKEN_MAX: usize = 20;

/// A claim that was broken, with its story.
#[derive(Debug, Clone)]
pub struct Violation {
    /// When.
    pub at: At,
    /// Its name in the table of `docs/TESTING.md`.
    pub claim: &'static str,
    /// Where, and what was seen.
    pub what: String,
    /// What happened to the session, and the faults so far; oldest first.
    pub story: Vec<(At, String)>,
}

/// Counts for the lines and the summary.
#[derive(Debug, Default)]
pub struct Tally {
    /// Requests that were answered, or that nobody answered.
    pub requests: AtomicU64,
    /// Of those, the ones that were answered with 503, 502 or 504.
    pub unavailable: AtomicU64,
    /// Of those, the ones without an answer.
    pub unanswered: AtomicU64,
    /// Answers that were compared with the ledger.
    pub checked: AtomicU64,
    /// Faults.
    pub faults: AtomicU64,
    /// Rests.
    pub rests: AtomicU64,
    /// The longest answer of a core and of a proxy since the last line, in microseconds.
    worst: [AtomicU64; 2],
}

impl Tally {
    /// Adds one.
    pub fn add(count: &AtomicU64) {
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// A count.
    #[must_use]
    pub fn of(count: &AtomicU64) -> u64 {
        count.load(Ordering::Relaxed)
    }

    /// An answer of a core, or of a proxy, that took so long.
    pub fn took(&self, by_proxy: bool, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.worst[usize::from(by_proxy)].fetch_max(micros, Ordering::Relaxed);
    }

    /// The longest answer of a core and of a proxy since this was asked last.
    #[must_use]
    pub fn take_worst(&self) -> [Duration; 2] {
        [0, 1].map(|at: usize| Duration::from_micros(self.worst[at].swap(0, Ordering::Relaxed)))
    }
}

/// See the module page.
pub struct World {
    began: Instant,
    ledger: Mutex<Ledger>,
    faults: Mutex<VecDeque<(At, String)>>,
    violations: Mutex<Vec<Violation>>,
    /// Clients hold it for one step; a rest takes it alone.
    pub gate: RwLock<()>,
    /// See [`Tally`].
    pub tally: Tally,
    /// The API of every node.
    pub nodes: Vec<Address>,
    /// Where the proxies listen.
    pub proxies: Vec<Address>,
    /// What is done and what is left out.
    pub options: Options,
    stopped: AtomicBool,
    names: AtomicU64,
}

impl World {
    /// A world at its beginning.
    #[must_use]
    pub fn new(ledger: Ledger, nodes: Vec<Address>, proxies: Vec<Address>, options: Options) -> Self {
        Self {
            began: Instant::now(),
            ledger: Mutex::new(ledger),
            faults: Mutex::default(),
            violations: Mutex::default(),
            gate: RwLock::default(),
            tally: Tally::default(),
            nodes,
            proxies,
            options,
            stopped: AtomicBool::new(false),
            names: AtomicU64::new(1),
        }
    }

    /// Time since the beginning.
    #[must_use]
    pub fn now(&self) -> At {
        self.began.elapsed()
    }

    /// The ledger, for as long as no await.
    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A look at a node that begins now.
    #[must_use]
    pub fn look(&self, node: usize) -> Look {
        let instance = self.ledger().weather.instance(node);
        Look {
            instance,
            begun: self.now(),
        }
    }

    /// A name no session had.
    #[must_use]
    pub fn fresh(&self) -> String {
        format!("u{}", self.names.fetch_add(1, Ordering::Relaxed))
    }

    /// A fault, or the end of one, is about to happen.
    pub fn tell_fault(&self, line: String) {
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        if faults.len() == FAULTS_MAX {
            faults.pop_front();
        }
        faults.push_back((self.now(), line));
    }

    /// What came of comparing an answer with the ledger. `told` says who answered what.
    pub fn judge(&self, session: Option<&str>, told: &str, result: Result<(), Broken>) {
        Tally::add(&self.tally.checked);
        let Err(broken) = result else { return };
        let mut story: Vec<_> = {
            let faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
            faults
                .iter()
                .map(|(at, line)| (*at, format!("            {line}")))
                .collect()
        };
        if let Some(name) = session {
            let mut ledger = self.ledger();
            let session = ledger.session(name);
            story.extend(session.story().iter().cloned());
            session.give_up(); // so that one fault is told once
        }
        story.sort();
        let violation = Violation {
            at: self.now(),
            claim: broken.claim,
            what: format!("{} {told}: {}", session.unwrap_or("-"), broken.what),
            story,
        };
        println!(
            "{:>8.3} BROKEN {} {}",
            violation.at.as_secs_f64(),
            violation.claim,
            violation.what
        );
        let mut violations = self.violations.lock().unwrap_or_else(PoisonError::into_inner);
        violations.push(violation);
        if !self.options.keep_going || violations.len() >= BROKEN_MAX {
            self.stop();
        }
    }

    /// Broken claims so far.
    #[must_use]
    pub fn violations(&self) -> Vec<Violation> {
        self.violations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// How many claims were broken so far.
    #[must_use]
    pub fn broken(&self) -> usize {
        self.violations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    /// Everybody is to end.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Whether everybody is to end.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }
}

/// The name of a node.
#[must_use]
pub fn node_name(node: usize) -> &'static str {
    NODES.get(node).copied().unwrap_or("?")
}
