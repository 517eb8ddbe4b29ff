//! The network: paths that pass, drop or reject packets, and connections over them. A connection carries messages in order and
//! one way; when it breaks, those on their way arrive up to some message, or not at all. Who connects, writes and reads is
//! decided elsewhere.

use std::collections::{BTreeMap, VecDeque};

use limpet_core::drivers::links::keeper::AttemptId;
use limpet_core::engine::InboundLink;
use limpet_core::replication::position::StreamId;

use crate::draw::Draw;
use crate::plan::Weather;

/// What becomes of packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pass {
    /// They arrive.
    #[default]
    Open,
    /// They vanish silently.
    Drop,
    /// The sender is told at once that there is no way.
    Reject,
}

/// From one node to another.
#[derive(Debug, Clone, Copy, Default)]
pub struct Path {
    pub pass: Pass,
    /// For new connections alone.
    pub dials: Pass,
    pub extra_delay_us: u64,
    /// Bytes per second, if it is that slow.
    pub rate: Option<u64>,
}

/// Which connection.
pub type ConnId = u64;

/// A message on its way.
#[derive(Debug)]
pub struct Flight {
    pub at: u64,
    pub bytes: Vec<u8>,
}

/// One connection, on which only the dialler sends.
#[derive(Debug)]
pub struct Conn {
    pub from: usize,
    pub to: usize,
    pub from_epoch: u32,
    pub to_epoch: u32,
    /// The attempt of the dialler's keeper that made it.
    pub attempt: AttemptId,
    pub stream: StreamId,
    pub on: InboundLink,
    pub flights: VecDeque<Flight>,
    pub bytes: usize,
    pub last_at: u64,
    pub born: u64,
    /// Whether the dialler still has it.
    pub up: bool,
    /// Whether the acceptor still reads it.
    pub read: bool,
    pub deliver_due: Option<u64>,
    pub write_due: bool,
    /// A membership message that will come after the next one.
    pub held: Option<Vec<u8>>,
}

impl Conn {
    /// Nobody reads it any more, and what was on its way is lost. Its writer does not know that yet.
    pub fn unread(&mut self) {
        self.read = false;
        self.flights.clear();
        self.bytes = 0;
    }
}

/// How much a connection holds before its writer has to wait.
pub const SOCKET_BYTES: usize = 64 << 10;
/// How long a connection whose packets vanish lives.
pub const SILENCE_US: u64 = 6_000_000;

/// See the module page.
#[derive(Debug)]
pub struct Network {
    nodes: usize,
    paths: Vec<Path>,
    /// Nodes whose machine is off.
    pub dark: Vec<bool>,
    /// Since when packets of a pair have been vanishing.
    silent_since: Vec<Option<u64>>,
    /// When the pair was last in any trouble.
    troubled: Vec<u64>,
    /// When a path between the pair last refused in the name of a node, or was slow.
    misled: Vec<Option<u64>>,
    misled_now: Vec<bool>,
    pub conns: BTreeMap<ConnId, Conn>,
    next: ConnId,
    pub weather: Weather,
    pub draw: Draw,
}

impl Network {
    pub fn new(nodes: usize, weather: Weather, draw: Draw) -> Self {
        Self {
            nodes,
            paths: vec![Path::default(); nodes * nodes],
            dark: vec![false; nodes],
            silent_since: vec![None; nodes * nodes],
            troubled: vec![0; nodes * nodes],
            misled: vec![None; nodes * nodes],
            misled_now: vec![false; nodes * nodes],
            conns: BTreeMap::new(),
            next: 1,
            weather,
            draw,
        }
    }

    fn pair(&self, a: usize, b: usize) -> usize {
        a.min(b) * self.nodes + a.max(b)
    }

    pub fn path(&self, from: usize, to: usize) -> Path {
        self.paths[from * self.nodes + to]
    }

    pub fn path_mut(&mut self, from: usize, to: usize) -> &mut Path {
        &mut self.paths[from * self.nodes + to]
    }

    /// Whether packets go from one to the other.
    pub fn passes(&self, from: usize, to: usize) -> bool {
        !self.dark[from] && !self.dark[to] && self.path(from, to).pass == Pass::Open
    }

    /// What becomes of a connection between the two: it needs both ways.
    pub fn way(&self, a: usize, b: usize) -> Pass {
        if self.dark[a] || self.dark[b] {
            return Pass::Drop;
        }
        let (there, back) = (self.path(a, b).pass, self.path(b, a).pass);
        if there == Pass::Reject || back == Pass::Reject {
            Pass::Reject
        } else if there == Pass::Drop || back == Pass::Drop {
            Pass::Drop
        } else {
            Pass::Open
        }
    }

    /// What becomes of a new connection.
    pub fn dial_way(&self, from: usize, to: usize) -> Pass {
        match self.way(from, to) {
            Pass::Open => self.path(from, to).dials,
            closed => closed,
        }
    }

    /// Takes note of how the pair is now. Returns since when it has been silent, if that begins now.
    pub fn note(&mut self, a: usize, b: usize, now: u64) -> Option<u64> {
        let (pair, silent) = (self.pair(a, b), self.way(a, b) == Pass::Drop);
        self.troubled[pair] = now;
        if self.misleads(a, b) || self.misled_now[pair] {
            self.misled[pair] = Some(now);
        }
        self.misled_now[pair] = self.misleads(a, b);
        match (silent, self.silent_since[pair]) {
            (true, None) => {
                self.silent_since[pair] = Some(now);
                Some(now)
            }
            (false, _) => {
                self.silent_since[pair] = None;
                None
            }
            (true, Some(_)) => None,
        }
    }

    fn misleads(&self, a: usize, b: usize) -> bool {
        let slow = |path: Path| path.extra_delay_us > 0 || path.rate.is_some();
        let refuses = self.dial_way(a, b) == Pass::Reject || self.dial_way(b, a) == Pass::Reject;
        refuses || slow(self.path(a, b)) || slow(self.path(b, a))
    }

    /// Whether a path between the pair refused in the name of a node, or was slow, since `then`.
    pub fn was_misled_since(&self, a: usize, b: usize, then: u64) -> bool {
        let pair = self.pair(a, b);
        self.misled_now[pair] || self.misled[pair].is_some_and(|at| at >= then)
    }

    pub fn is_silent_since(&self, a: usize, b: usize, since: u64) -> bool {
        self.silent_since[self.pair(a, b)] == Some(since)
    }

    /// For how long the pair has been as it is, if it is well.
    pub fn well_for(&self, a: usize, b: usize, now: u64) -> u64 {
        let plain = |path: Path| path.dials == Pass::Open && path.extra_delay_us == 0 && path.rate.is_none();
        if self.way(a, b) == Pass::Open && plain(self.path(a, b)) && plain(self.path(b, a)) {
            now - self.troubled[self.pair(a, b)]
        } else {
            0
        }
    }

    /// How long something short takes.
    pub fn delay(&mut self, from: usize, to: usize) -> u64 {
        let mut delay = self.weather.delay_us + self.path(from, to).extra_delay_us;
        delay += self.draw.below(self.weather.jitter_us + 1);
        while self.draw.chance(self.weather.loss) {
            delay += 200_000;
        }
        delay
    }

    pub fn open(&mut self, conn: Conn) -> ConnId {
        let id = self.next;
        self.next += 1;
        self.conns.insert(id, conn);
        id
    }

    /// Puts a message on the connection.
    pub fn send(&mut self, id: ConnId, bytes: Vec<u8>, now: u64) {
        let Some((from, to)) = self.conns.get(&id).map(|conn| (conn.from, conn.to)) else {
            return;
        };
        let mut delay = self.delay(from, to);
        let rate = self.path(from, to).rate;
        if let Some(conn) = self.conns.get_mut(&id) {
            let mut after = conn.last_at;
            if let Some(rate) = rate {
                let takes = bytes.len() as u64 * 1_000_000 / rate.max(1);
                after = after.max(now) + takes;
                delay += takes;
            }
            let at = (now + delay).max(after);
            conn.last_at = at;
            conn.bytes += bytes.len();
            conn.flights.push_back(Flight { at, bytes });
        }
    }

    /// The path is quick again: what waits on it arrives as over a path that was never slow.
    pub fn hasten(&mut self, from: usize, to: usize, now: u64) {
        let on_path = |conn: &Conn| (conn.from, conn.to) == (from, to);
        let ids: Vec<ConnId> = self
            .conns
            .iter()
            .filter(|(_, conn)| on_path(conn))
            .map(|(id, _)| *id)
            .collect();
        for id in ids {
            let delay = self.delay(from, to);
            if let Some(conn) = self.conns.get_mut(&id) {
                for flight in &mut conn.flights {
                    flight.at = flight.at.min(now + delay);
                }
                conn.last_at = conn.flights.back().map_or(now, |flight| flight.at);
            }
        }
    }

    /// The dialler's end is gone: only some of what is on its way still arrives.
    pub fn cut_short(&mut self, id: ConnId) {
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        conn.up = false;
        let keep = self.draw.index(conn.flights.len() + 1);
        conn.flights.truncate(keep);
        conn.bytes = conn.flights.iter().map(|flight| flight.bytes.len()).sum();
        if conn.flights.is_empty() || !conn.read {
            self.conns.remove(&id);
        }
    }
}
