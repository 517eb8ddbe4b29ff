//! The row "hold": the longest single call of the engine, which is how long the node's one lock is held, while a million
//! sessions are written, transferred, touched, re-placed after a change of the view, expired and deleted.
//!
//! Three engines in one process exchange messages in virtual time. Each call is measured by its thread's own processor
//! time, so that what other processes take from it does not count; what the kernel does for the allocator does. What a
//! hypervisor takes counts as well. So all of it is done several times, the same calls in the same order, and of each call
//! the shortest time counts.
//!
//! A daemon's engine ends with its process, and so does every engine here: a round is a process of its own, and a node that
//! stops is kept aside. What a node frees while it runs, a million idle sessions among it, the allocator sorts in later
//! calls, and that counts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use limpet_core::base::allocator::sort_freed;
use limpet_core::base::clock::Now;
use limpet_core::base::id::{NodeId, SessionKey};
use limpet_core::engine::sessions::Patch;
use limpet_core::engine::{ClockLimits, Engine, EngineConfig, InboundLink, Mode, Output};
use limpet_core::membership::{SwimConfig, Timer};
use limpet_core::replication::message::{self, Message};
use limpet_core::replication::streams::CONTROL;
use limpet_core::replication::transfer::Cursor;
use limpet_wire::report::IdleLimit;

use crate::Extent;
use crate::report::{Goal, Section};

const WALL_MS: u64 = 1_700_000_000_000;
const TICK: Duration = Duration::from_millis(50);
const IDLE_MS: u64 = 1_800_000;
const VALUE: [u8; 100] = [b'v'; 100];
/// Ticks a phase may take before the row fails.
const TICKS_MAX: usize = 40_000;
/// How often all of it is done.
const ROUNDS: usize = 3;
/// The argument that makes this program one round, followed by the mode and how many sessions there are.
pub const ROUND: &str = "hold-round";
/// The goal, in milliseconds.
const WITHIN_MS: f64 = 5.0;

/// Measures both modes.
pub async fn run(extent: Extent) -> Section {
    let sessions = if extent.short { 100_000 } else { 1_000_000 };
    let mut text = format!(
        "## Longest hold of the lock\n\nThe longest single call of the engine with {sessions} sessions, by kind of call, in milliseconds of processor time: of each call the shortest of {} rounds, and in the first round alone.\n\n| mode | call | longest | first round | calls |\n|---|---|---:|---:|---:|\n",
        ROUNDS
    );
    let mut longest: f64 = 0.0;
    for name in ["delta", "backup"] {
        let mut least = in_process(name, sessions);
        let mut first = longest_of(&least);
        for _ in 1..ROUNDS {
            for (call, times) in in_process(name, sessions) {
                let known = least.get_mut(&call).filter(|known| known.len() == times.len());
                let known = known.expect("the same calls in every round");
                known
                    .iter_mut()
                    .zip(times)
                    .for_each(|(least, time)| *least = time.min(*least));
            }
        }
        for (call, ms) in longest_of(&least) {
            longest = longest.max(ms);
            let (once, count) = (first.remove(&call).unwrap_or_default(), least[&call].len());
            let _ = writeln!(text, "| {name} | {call} | {ms:.2} | {once:.2} | {count} |"); // a string takes it
        }
    }
    let what = format!("longest hold of the lock with {sessions} sessions, ms, at most {WITHIN_MS}");
    Section {
        text,
        goals: vec![Goal::at_most(&what, WITHIN_MS, longest)],
    }
}

/// How long each call took, in nanoseconds, by kind and in their order.
type Calls<Name> = BTreeMap<Name, Vec<u32>>;

/// The longest of each kind, in milliseconds.
fn longest_of(calls: &Calls<String>) -> BTreeMap<String, f64> {
    let longest = |times: &Vec<u32>| f64::from(times.iter().copied().max().unwrap_or(0)) / 1e6;
    calls
        .iter()
        .map(|(call, times)| (call.clone(), longest(times)))
        .collect()
}

/// One round, in a process of its own.
fn in_process(mode: &str, sessions: usize) -> Calls<String> {
    let program = std::env::current_exe().expect("a running program has a file");
    let mut command = Command::new(program);
    command.args([ROUND, mode, &sessions.to_string()]);
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.expect("this program can be started again");
    assert!(output.status.success(), "a round failed");
    let lines = std::str::from_utf8(&output.stdout).expect("a round prints names and numbers");
    let calls: Calls<String> = lines.lines().map(read_line).collect();
    assert!(!calls.is_empty(), "a round made calls");
    calls
}

/// A kind of call and how long each took, as [`round`] prints them.
fn read_line(line: &str) -> (String, Vec<u32>) {
    let mut words = line.split(' ');
    let call = words.next().expect("a kind of call");
    let times = words.map(|nanos| nanos.parse().expect("a time in nanoseconds"));
    (call.to_owned(), times.collect())
}

/// Does what [`in_process`] asked for and prints a line for each kind of call. It runs on a thread that is not the first, as
/// the daemon's tasks do, for which the allocator has an arena of another kind.
pub fn round(mode: &str, sessions: &str) {
    let mode = match mode {
        "delta" => Mode::Delta,
        "backup" => Mode::Backup { copies: 1 },
        other => panic!("there is no mode {other:?}"),
    };
    let sessions = sessions.parse().expect("how many sessions there are");
    let calls = std::thread::spawn(move || measure(mode, sessions)).join();
    for (call, times) in calls.expect("a round that did not panic") {
        let mut line = call.to_owned();
        for nanos in times {
            let _ = write!(line, " {nanos}"); // a string takes it
        }
        println!("{line}");
    }
}

fn measure(mode: Mode, sessions: usize) -> Calls<&'static str> {
    let mut cluster = Cluster::new(mode);
    cluster.start("a");
    cluster.until("a is ready", |c| c.ready("a"));
    for n in 0..sessions {
        cluster.patch("a", n);
        if n % 1000 == 0 {
            cluster.step();
        }
    }
    for node in ["b", "c"] {
        cluster.start(node);
        cluster.until("it is ready", |c| c.ready(node));
        (0..400).for_each(|_| cluster.step());
    }
    for n in 0..sessions {
        cluster.touch("a", n);
        if n % 1000 == 0 {
            cluster.step();
        }
    }
    (0..2600).for_each(|_| cluster.step()); // two touch intervals
    cluster.call("c", "leave", |engine, now| engine.leave(now));
    (0..800).for_each(|_| cluster.step());
    cluster.stop("c");
    (0..800).for_each(|_| cluster.step());
    let half = Duration::from_millis(IDLE_MS);
    cluster.mono += half;
    (0..4000).for_each(|_| cluster.step());
    for n in 0..sessions / 10 {
        cluster.patch("a", n);
        if n % 1000 == 0 {
            cluster.step();
        }
    }
    let mut cursor = Some(Cursor::default());
    while let Some(from) = cursor {
        cursor = cluster.call("a", "delete_some", |engine, now| engine.delete_some(&from, now));
    }
    let calls = std::mem::take(&mut cluster.calls);
    std::mem::forget(cluster); // the end of the process frees it, as it does a daemon's
    calls
}

struct Cluster {
    mode: Mode,
    engines: BTreeMap<&'static str, Engine>,
    /// Engines that were stopped: nothing of them is freed.
    stopped: Vec<Engine>,
    inbound: BTreeMap<(&'static str, &'static str), InboundLink>,
    timers: Vec<(Duration, &'static str, Timer)>,
    mono: Duration,
    calls: Calls<&'static str>,
}

/// The processor time that this thread has had.
fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).expect("a time since the thread began")
}

fn addr(name: &str) -> SocketAddr {
    ([10, 0, 0, name.as_bytes()[0]], 4000).into()
}

fn id(name: &str) -> NodeId {
    NodeId::parse(name).expect("a name")
}

fn key(n: usize) -> SessionKey {
    SessionKey::parse("default", &format!("{n:032X}")).expect("a key")
}

impl Cluster {
    fn new(mode: Mode) -> Self {
        Self {
            mode,
            engines: BTreeMap::new(),
            stopped: Vec::new(),
            inbound: BTreeMap::new(),
            timers: Vec::new(),
            mono: Duration::from_secs(1),
            calls: Calls::new(),
        }
    }

    fn now(&self) -> Now {
        Now {
            wall_ms: WALL_MS + u64::try_from(self.mono.as_millis()).expect("a short time"),
            mono: self.mono,
        }
    }

    fn start(&mut self, name: &'static str) {
        let config = EngineConfig {
            node: id(name),
            cluster: "shop".into(),
            addr: addr(name),
            swim: SwimConfig {
                probe_interval: Duration::from_millis(500),
                drop_time: Duration::from_secs(3),
            },
            seeds: BTreeSet::new(),
            hints: false,
            links: 1,
            mode: self.mode,
            quorum_founders: None,
            queue_bytes: 64 << 20,
            donor_transfers: 2,
            repair_interval: Duration::from_secs(5),
            state_transfer_timeout: Some(Duration::from_secs(60)),
            max_inactive: IdleLimit::Millis(IDLE_MS),
            max_active: None,
            touch_interval: Duration::from_secs(60),
            tombstone_life: Duration::from_secs(24 * 3600),
            rename_forward: Duration::from_secs(30),
            clocks: ClockLimits::default(),
            quarantine: BTreeSet::new(),
            fail_on_id: None,
            workers: Vec::new(),
            seed: u64::from(name.as_bytes()[0]),
        };
        let others: Vec<_> = self.engines.keys().copied().collect();
        let mut config = config;
        if !others.is_empty() {
            config.seeds.insert("others".into()); // never tried: it must not begin alone
        }
        let engine = Engine::new(config, self.now());
        self.engines.insert(name, engine);
        for other in others {
            self.link(name, other);
            self.link(other, name);
        }
    }

    fn link(&mut self, from: &'static str, to: &'static str) {
        let on = self.call(to, "on_hello", |engine, _| {
            engine.on_hello(&id(from), CONTROL, addr(from))
        });
        self.inbound.insert((from, to), on);
        let identity = self.engines[to].identity().clone();
        self.call(from, "link_up", |engine, now| {
            engine.link_up(&id(to), identity, CONTROL, now)
        });
    }

    fn stop(&mut self, name: &'static str) {
        self.stopped.extend(self.engines.remove(name));
        self.inbound.retain(|(from, to), _| *from != name && *to != name);
        for other in self.engines.keys().copied().collect::<Vec<_>>() {
            self.call(other, "link_down", |engine, now| {
                engine.link_down(&id(name), CONTROL, true, now)
            });
        }
    }

    /// One measured call.
    fn call<T>(
        &mut self,
        name: &'static str,
        what: &'static str,
        call: impl FnOnce(&mut Engine, Now) -> T,
    ) -> T {
        let now = self.now();
        let engine = self.engines.get_mut(name).expect("a node that runs");
        let began = thread_time();
        let result = call(engine, now);
        let took = thread_time().saturating_sub(began);
        let nanos = u32::try_from(took.as_nanos()).unwrap_or(u32::MAX); // at most four seconds
        self.calls.entry(what).or_default().push(nanos);
        let outputs = engine.take_outputs();
        for output in outputs {
            match output {
                Output::Timer(after, timer) => self.timers.push((self.mono + after, name, timer)),
                Output::Entropy => {
                    let engine = self.engines.get_mut(name).expect("a node that runs");
                    engine.add_entropy(&[7; 36], now);
                }
                _ => {}
            }
        }
        result
    }

    fn patch(&mut self, name: &'static str, n: usize) {
        let patch = Patch {
            set: vec![("cart".into(), VALUE[..].into())],
            ..Patch::default()
        };
        let key = key(n);
        self.call(name, "patch", |engine, now| engine.patch(&key, patch, now))
            .expect("it takes a session");
    }

    fn touch(&mut self, name: &'static str, n: usize) {
        let key = key(n);
        // In backup mode a session that was handed off is not here any more.
        let _ = self.call(name, "touch", |engine, now| engine.touch(&key, now).map(|_| ()));
    }

    fn ready(&self, name: &str) -> bool {
        self.engines[name].check_ready().is_ok()
    }

    fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        for _ in 0..TICKS_MAX {
            if done(self) {
                return;
            }
            self.step();
        }
        panic!("{what}: not within {TICKS_MAX} ticks");
    }

    /// A tick of every node, its timers, and what is on its way.
    fn step(&mut self) {
        self.mono += TICK;
        let (due, later): (Vec<_>, Vec<_>) = std::mem::take(&mut self.timers)
            .into_iter()
            .partition(|(at, ..)| *at <= self.mono);
        self.timers = later;
        for (_, name, timer) in due {
            if self.engines.contains_key(name) {
                self.call(name, "fire", |engine, now| engine.fire(timer, now));
            }
        }
        for name in self.engines.keys().copied().collect::<Vec<_>>() {
            let mut more = true;
            while more {
                more = self.call(name, "tick", |engine, now| engine.tick(now));
                sort_freed(); // as the daemon does between two
            }
        }
        let links: Vec<_> = self.inbound.iter().map(|(link, on)| (*link, *on)).collect();
        for _ in 0..8 {
            for ((from, to), on) in &links {
                self.carry(from, to, *on);
            }
        }
    }

    fn carry(&mut self, from: &'static str, to: &'static str, on: InboundLink) {
        let peer = id(to);
        let mut messages: Vec<Message> = self.call(from, "next_messages", |engine, _| {
            engine.next_messages(&peer, CONTROL)
        });
        let mut changes = Vec::new();
        self.call(from, "next_changes", |engine, _| {
            engine.next_changes(&peer, CONTROL, &mut changes)
        });
        if !changes.is_empty() {
            messages.push(message::decode(&changes).expect("what it sends can be read"));
        }
        for message in messages {
            self.call(to, "on_message", |engine, now| {
                engine.on_message(&id(from), on, message, now)
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Calls, longest_of, read_line};

    #[test]
    fn a_round_is_read_as_it_was_printed() {
        let (call, times) = read_line("tick 12 3000000 7");
        assert_eq!(
            (call.as_str(), times.as_slice()),
            ("tick", &[12, 3_000_000, 7][..])
        );
        assert_eq!(longest_of(&Calls::from([(call, times)]))["tick"], 3.0);
    }
}
