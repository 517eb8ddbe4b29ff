//! The link keeper: the rules of dialling. It decides which addresses are dialled and when, how long to back off, when
//! to give up, and which streams belong to a link.
//!
//! ```text
//! events  on_wanted, on_dialled, on_resolved, on_up, on_end ─┐
//! time    tick(members, now, jitter) ─────────────────────────┴─► outputs
//! ```
//! An event changes what is known. [`LinkKeeper::tick`], called after every event and at [`LinkKeeper::next_wake`],
//! begins what is due. The keeper has no sockets, clock or randomness of its own: the daemon and the simulator carry out
//! its outputs and report how each attempt ended. Who is admitted is decided by [`super::admission`].

mod retry;
mod seed;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use self::retry::Retry;
use self::seed::{Pace, Seed};
use crate::base::clock::Now;
use crate::base::id::NodeId;
use crate::base::limits::MEMBERS_MAX;
use crate::engine::Engine;
use crate::membership::Member;
use crate::replication::position::StreamId;
use crate::replication::streams::CONTROL;

/// How long a link must have been up for its end to be looked into at once rather than after a pause.
const LASTED: Duration = Duration::from_secs(1);
/// How often to look whether links to members are missing.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Numbers the attempts of one keeper.
pub type AttemptId = u64;

/// Numbers the seeds of one keeper.
pub type SeedId = usize;

/// What the keeper needs of the configuration.
#[derive(Debug, Clone)]
pub struct KeeperConfig {
    /// Seeds as written: `host:port`.
    pub seeds: Vec<String>,
    /// A name whose every address is a node, and how often it is resolved.
    pub lookup: Option<(String, Duration)>,
    /// How many streams are made to each peer.
    pub streams: u8,
}

/// What the keeper asks of membership.
pub trait Members {
    /// Whether this node is about to stop.
    fn is_leaving(&self) -> bool;
    /// Whether `addr` is this node's own, or that of a linked member.
    fn is_own_or_linked(&self, addr: SocketAddr) -> bool;
    /// Where links should be kept to, beside the seeds.
    fn wanted(&self) -> Vec<SocketAddr>;
}

impl Members for (&Engine, Now) {
    fn is_leaving(&self) -> bool {
        self.0.is_leaving()
    }

    fn is_own_or_linked(&self, addr: SocketAddr) -> bool {
        let linked = |(_, member): (_, &Member)| member.linked && member.identity.addr == addr;
        self.0.identity().addr == addr || self.0.roster().iter().any(linked)
    }

    fn wanted(&self) -> Vec<SocketAddr> {
        self.0.wanted_links(self.1)
    }
}

/// An attempt to make the link of one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dial {
    /// Names it in every report.
    pub attempt: AttemptId,
    /// Where to connect.
    pub addr: SocketAddr,
    /// The stream that the hello names.
    pub stream: StreamId,
    /// Who must answer, where that is known.
    pub expected: Option<NodeId>,
}

/// What there is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeeperOutput {
    /// Connect and shake hands. [`LinkKeeper::on_up`] and [`LinkKeeper::on_end`] are told how that went.
    Dial(Dial),
    /// Resolve the seed's name, and report to [`LinkKeeper::on_resolved`].
    Resolve {
        /// Which seed.
        seed: SeedId,
        /// Its name, `host:port`.
        name: String,
    },
    /// End the attempt, and do not go on before nothing is sent by it any more. Its end need not be reported.
    Close(AttemptId),
    /// Tell the engine that the link of the stream to this peer is down.
    LinkDown(NodeId, StreamId),
    /// Tell the engine that nothing answers at this address.
    Unreachable {
        /// Where.
        addr: SocketAddr,
        /// Whether the connection was refused, so that no process listens there.
        refused: bool,
    },
    /// Tell the engine what this seed resolved to: nothing where it does not resolve.
    Resolved(String, Vec<SocketAddr>),
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// There was a link, which ended.
    Closed {
        /// Whether it ended only to be made again, because of its age.
        renew: bool,
    },
    /// The peer is linked by another attempt.
    AlreadyLinked,
    /// The connection was refused: no process listens there.
    Refused,
    /// A node of another domain answered.
    OtherDomain,
    /// Anything else, among it silence.
    Failed,
}

/// What an attempt is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    /// A link the engine wants.
    Member,
    /// A seed's turn.
    Seed(SeedId),
    /// Another stream of the link that this attempt made.
    StreamOf(AttemptId),
}

/// An attempt under way, or whose link is up.
#[derive(Debug)]
struct Attempt {
    addr: SocketAddr,
    stream: StreamId,
    reason: Reason,
    /// The peer, and since when its link has been up.
    up: Option<(NodeId, Duration)>,
}

/// See the module page.
#[derive(Debug)]
pub struct LinkKeeper {
    streams: u8,
    /// Addresses the engine wants a link to; [`MEMBERS_MAX`] at most.
    members: BTreeMap<SocketAddr, Retry>,
    seeds: Vec<Seed>,
    /// Streams other than the first, by the attempt that made the first.
    others: BTreeMap<(AttemptId, StreamId), Retry>,
    attempts: BTreeMap<AttemptId, Attempt>,
    /// The one attempt at the first stream to each address.
    dialled: BTreeMap<SocketAddr, AttemptId>,
    next_attempt: AttemptId,
    next_look: Duration,
}

impl LinkKeeper {
    /// A keeper that has made no link yet. Every seed is due at once.
    #[must_use]
    pub fn new(config: KeeperConfig, now: Duration) -> Self {
        let in_turn = config.seeds.into_iter().map(|name| (name, Pace::in_turn()));
        let looked_up = config
            .lookup
            .into_iter()
            .map(|(name, interval)| (name, Pace::AllAtOnce(interval)));
        Self {
            streams: config.streams,
            members: BTreeMap::new(),
            seeds: in_turn
                .chain(looked_up)
                .map(|(name, pace)| Seed::new(name, pace, now))
                .collect(),
            others: BTreeMap::new(),
            attempts: BTreeMap::new(),
            dialled: BTreeMap::new(),
            next_attempt: 1,
            next_look: now,
        }
    }

    /// The engine wants a link to `addr`. Past [`MEMBERS_MAX`] addresses the wish is dropped; the next look at the
    /// members repeats it.
    pub fn on_wanted(&mut self, addr: SocketAddr, now: Duration) {
        if self.members.len() < MEMBERS_MAX {
            self.members.entry(addr).or_insert_with(|| Retry::new(now));
        }
    }

    /// The node at `addr` has dialled this one, so it is there: it is dialled back without the rest of a pause.
    pub fn on_dialled(&mut self, addr: SocketAddr, now: Duration) {
        self.on_wanted(addr, now);
        if let Some(retry) = self.members.get_mut(&addr) {
            retry.hurry(now);
        }
    }

    /// The name of `seed` resolved to `addrs`; to none where it does not resolve. [`MEMBERS_MAX`] are dialled at most.
    pub fn on_resolved(&mut self, seed: SeedId, addrs: Vec<SocketAddr>) {
        if let Some(seed) = self.seeds.get_mut(seed) {
            seed.on_resolved(addrs);
        }
    }

    /// The attempt made a link to `peer`, and the engine knows.
    pub fn on_up(&mut self, id: AttemptId, peer: NodeId, now: Duration) {
        let Some(attempt) = self.attempts.get_mut(&id) else {
            return;
        };
        attempt.up = Some((peer, now));
        if let Reason::Seed(seed) = attempt.reason
            && let Some(seed) = self.seeds.get_mut(seed)
        {
            seed.on_up(attempt.addr);
        }
        if attempt.stream == CONTROL {
            let others = StreamId::first(self.streams.into()).filter(|stream| *stream != CONTROL);
            self.others
                .extend(others.map(|stream| ((id, stream), Retry::new(now))));
        }
    }

    /// The attempt is over. What follows from it at once is returned, in the order in which to do it.
    pub fn on_end(&mut self, id: AttemptId, outcome: Outcome, now: Duration) -> Vec<KeeperOutput> {
        let Some(Attempt {
            addr,
            stream,
            reason,
            up,
        }) = self.attempts.remove(&id)
        else {
            return Vec::new();
        };
        let mut outputs = Vec::new();
        if stream == CONTROL {
            self.dialled.remove(&addr);
            self.end_others(id, &mut outputs);
        }
        let was_up = up.is_some();
        let renew = outcome == Outcome::Closed { renew: true };
        let lasted = up
            .as_ref()
            .is_some_and(|(_, since)| renew || now.saturating_sub(*since) >= LASTED);
        match up {
            Some((peer, _)) => outputs.push(KeeperOutput::LinkDown(peer, stream)),
            None if stream == CONTROL
                && !matches!(outcome, Outcome::AlreadyLinked | Outcome::OtherDomain) =>
            {
                let refused = outcome == Outcome::Refused;
                outputs.push(KeeperOutput::Unreachable { addr, refused });
            }
            None => {}
        }
        match reason {
            Reason::Member if !was_up && outcome == Outcome::AlreadyLinked => {
                self.members.remove(&addr);
            }
            Reason::Member => {
                if let Some(retry) = self.members.get_mut(&addr) {
                    retry.end(was_up, lasted);
                }
            }
            Reason::StreamOf(first) => {
                if let Some(retry) = self.others.get_mut(&(first, stream)) {
                    retry.end(was_up, lasted);
                }
            }
            Reason::Seed(seed) => {
                let looked_up = self.seeds.get_mut(seed).is_some_and(|seed| {
                    seed.on_end(addr, lasted);
                    seed.is_looked_up()
                });
                if looked_up && was_up {
                    self.on_wanted(addr, now); // from now on like that of any member
                }
            }
        }
        outputs
    }

    /// The first stream's link is gone, and the others end with it.
    fn end_others(&mut self, first: AttemptId, outputs: &mut Vec<KeeperOutput>) {
        let range = (first, CONTROL)..(first + 1, CONTROL);
        let ended: Vec<_> = self.others.range(range).map(|(key, _)| *key).collect();
        for key in ended {
            if let Some(id) = self.others.remove(&key).and_then(|retry| retry.attempt()) {
                self.attempts.remove(&id);
                outputs.push(KeeperOutput::Close(id));
            }
        }
    }

    /// Begins what is due. `jitter`, from 0 to 1, spreads the pauses that begin in this call.
    pub fn tick(&mut self, members: &impl Members, now: Duration, jitter: f64) -> Vec<KeeperOutput> {
        let mut outputs = Vec::new();
        if self.next_look <= now {
            self.next_look = now + LOOK_INTERVAL;
            for addr in members.wanted() {
                self.on_wanted(addr, now);
            }
        }
        self.tick_members(members, now, jitter, &mut outputs);
        self.tick_others(now, jitter, &mut outputs);
        for seed in 0..self.seeds.len() {
            self.tick_seed(seed, members, now, jitter, &mut outputs);
        }
        outputs
    }

    fn tick_members(
        &mut self,
        members: &impl Members,
        now: Duration,
        jitter: f64,
        outputs: &mut Vec<KeeperOutput>,
    ) {
        // An address that could not be linked is kept only while the engine wants it.
        let failed = self.members.values().any(Retry::has_failed);
        let wanted = if failed { members.wanted() } else { Vec::new() };
        self.members
            .retain(|addr, retry| !retry.has_failed() || wanted.contains(addr));
        let mut due = Vec::new();
        for (addr, retry) in &mut self.members {
            if retry.take_due(now, jitter) {
                due.push(*addr);
            }
        }
        for addr in due {
            let needless = members.is_leaving() || members.is_own_or_linked(addr);
            if needless || self.dialled.contains_key(&addr) {
                self.members.remove(&addr);
                continue;
            }
            let id = self.dial(addr, CONTROL, Reason::Member, None, outputs);
            if let Some(retry) = self.members.get_mut(&addr) {
                retry.begin(id);
            }
        }
    }

    fn tick_others(&mut self, now: Duration, jitter: f64, outputs: &mut Vec<KeeperOutput>) {
        let mut due = Vec::new();
        for (key, retry) in &mut self.others {
            if retry.take_due(now, jitter) {
                due.push(*key);
            }
        }
        for (first, stream) in due {
            let Some(attempt) = self.attempts.get(&first) else {
                continue;
            };
            let (addr, peer) = (attempt.addr, attempt.up.as_ref().map(|(peer, _)| peer.clone()));
            let id = self.dial(addr, stream, Reason::StreamOf(first), peer, outputs);
            if let Some(retry) = self.others.get_mut(&(first, stream)) {
                retry.begin(id);
            }
        }
    }

    fn tick_seed(
        &mut self,
        id: SeedId,
        members: &impl Members,
        now: Duration,
        jitter: f64,
        outputs: &mut Vec<KeeperOutput>,
    ) {
        if let Some(seed) = self.seeds.get_mut(id)
            && let Some(name) = seed.take_due(now)
        {
            outputs.push(KeeperOutput::Resolve { seed: id, name });
        }
        while let Some(addr) = self.seeds.get(id).and_then(Seed::next) {
            let needless = members.is_own_or_linked(addr) || self.dialled.contains_key(&addr);
            if !needless {
                self.dial(addr, CONTROL, Reason::Seed(id), None, outputs);
            }
            if let Some(seed) = self.seeds.get_mut(id) {
                seed.begin(addr, !needless);
            }
        }
        if let Some(seed) = self.seeds.get_mut(id) {
            let news = seed.take_news();
            outputs.extend(news.map(|(name, addrs)| KeeperOutput::Resolved(name, addrs)));
            seed.end_round(now, jitter);
        }
    }

    fn dial(
        &mut self,
        addr: SocketAddr,
        stream: StreamId,
        reason: Reason,
        expected: Option<NodeId>,
        outputs: &mut Vec<KeeperOutput>,
    ) -> AttemptId {
        let id = self.next_attempt;
        self.next_attempt += 1;
        if stream == CONTROL {
            self.dialled.insert(addr, id);
        }
        let attempt = Attempt {
            addr,
            stream,
            reason,
            up: None,
        };
        self.attempts.insert(id, attempt);
        outputs.push(KeeperOutput::Dial(Dial {
            attempt: id,
            addr,
            stream,
            expected,
        }));
        id
    }

    /// When [`Self::tick`] is to be called next, if nothing happens before.
    #[must_use]
    pub fn next_wake(&self) -> Duration {
        let retries = self.members.values().chain(self.others.values());
        let waits = retries.filter_map(Retry::due);
        let seeds = self.seeds.iter().filter_map(Seed::due);
        waits.chain(seeds).fold(self.next_look, Duration::min)
    }
}
