//! The report of many runs together: which rare branches were reached, and figures with their bounds.

use std::collections::BTreeMap;

use limpet_core::replication::message::Message;

/// Something that happens rarely and has to be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rare {
    NotReady,
    Overflow,
    Repaired,
    DonorReplaced,
    Refused,
    TakeoverInCut,
    Revival,
    Rename,
    ParallelRename,
    /// A rename was refused because its node knew that another session has the id.
    InUse,
    /// A session got its old id back.
    Undone,
    /// A change that named the life it read followed a rename.
    Followed,
    /// A change was made on a condition that one node decided.
    Decided,
    /// One that a majority decided.
    ByMajority,
    /// There was no majority.
    NoQuorum,
    /// Such a condition did not hold.
    Unmet,
    Expired,
    Outpaced,
    WithoutTable,
    StartedFirst,
    Incomplete,
    Contradicted,
    StartedOver,
    Fetched,
    FarClock,
    Corrected,
}

/// Everything that has to be reached in a range of seeds that is large enough.
pub const ALL: [Rare; 24] = [
    Rare::NotReady,
    Rare::Overflow,
    Rare::Repaired,
    Rare::DonorReplaced,
    Rare::Refused,
    Rare::TakeoverInCut,
    Rare::Revival,
    Rare::Rename,
    Rare::ParallelRename,
    Rare::InUse,
    Rare::Undone,
    Rare::Followed,
    Rare::Decided,
    Rare::ByMajority,
    Rare::NoQuorum,
    Rare::Unmet,
    Rare::Expired,
    Rare::Outpaced,
    Rare::WithoutTable,
    Rare::StartedFirst,
    Rare::Incomplete,
    Rare::Contradicted,
    Rare::FarClock,
    Rare::Corrected,
];

/// How often which.
#[derive(Debug, Clone, Default)]
pub struct Reached(BTreeMap<Rare, u64>);

impl Reached {
    pub fn note(&mut self, rare: Rare) {
        *self.0.entry(rare).or_default() += 1;
    }

    pub fn add(&mut self, other: &Self) {
        for rare in other.0.keys() {
            *self.0.entry(*rare).or_default() += 1;
        }
    }

    /// What was never reached.
    pub fn missing(&self) -> Vec<Rare> {
        ALL.into_iter()
            .filter(|rare| !self.0.contains_key(rare))
            .collect()
    }

    /// In how many runs which was reached.
    pub fn runs(&self) -> String {
        let counts: Vec<_> = ALL
            .iter()
            .map(|rare| format!("{rare:?} {}", self.0.get(rare).unwrap_or(&0)))
            .collect();
        counts.join(", ")
    }
}

/// What the figures of many runs are at most: somewhat more than they were when this was written. The same seeds have the
/// same figures on every machine.
const CONVERGED_MEDIAN_MS: f64 = 500.0;
const CONVERGED_99_MS: f64 = 10_000.0;
const MESSAGES_PER_SECOND: f64 = 75.0;
const BYTES_PER_DELTA: f64 = 350.0;
/// Of two nodes that differ in a session, each pulls it from the other, and one of them learns nothing.
const NEEDLESS_SHARE: f64 = 0.6;

fn per(sum: u64, of: f64) -> f64 {
    if of > 0.0 { sum as f64 / of } else { 0.0 }
}

/// Figures of a run, or of many.
#[derive(Debug, Clone, Default)]
pub struct Numbers {
    pub faults: u64,
    pub requests: u64,
    pub answers: u64,
    pub copies: u64,
    pub links: u64,
    pub messages: u64,
    pub bytes: u64,
    pub deltas: u64,
    pub delta_bytes: u64,
    pub digest_bytes: u64,
    pub gossip_bytes: u64,
    /// Records asked for by a node that was ready, and how many of them brought nothing new.
    pub repaired: u64,
    pub needless: u64,
    /// Sessions of which a core that agrees holds a part only, because the rest was lost or let go.
    pub parts: u64,
    pub node_seconds: f64,
    /// How long it took the core to agree, in milliseconds.
    pub converged_ms: Vec<u64>,
    pub checked_writes: u64,
    pub checked_reads: u64,
}

impl Numbers {
    /// A message was sent.
    pub fn sent(&mut self, message: &Message, bytes: usize) {
        let bytes = bytes as u64;
        self.messages += 1;
        self.bytes += bytes;
        match message {
            Message::Deltas { changes, .. } => {
                self.deltas += changes.len() as u64;
                self.delta_bytes += bytes;
            }
            Message::Digest(_) => self.digest_bytes += bytes,
            Message::Gossip(_) => self.gossip_bytes += bytes,
            _ => {}
        }
    }

    pub fn add(&mut self, other: &Self) {
        self.faults += other.faults;
        self.requests += other.requests;
        self.answers += other.answers;
        self.copies += other.copies;
        self.links += other.links;
        self.messages += other.messages;
        self.bytes += other.bytes;
        self.deltas += other.deltas;
        self.delta_bytes += other.delta_bytes;
        self.digest_bytes += other.digest_bytes;
        self.gossip_bytes += other.gossip_bytes;
        self.repaired += other.repaired;
        self.needless += other.needless;
        self.parts += other.parts;
        self.node_seconds += other.node_seconds;
        self.converged_ms.extend(&other.converged_ms);
        self.checked_writes += other.checked_writes;
        self.checked_reads += other.checked_reads;
    }

    /// Within what time `part` of the cores agreed, in milliseconds.
    fn converged(&self, part: f64) -> u64 {
        let mut times = self.converged_ms.clone();
        times.sort_unstable();
        let position = ((times.len() as f64 - 1.0).max(0.0) * part) as usize;
        times.get(position).copied().unwrap_or(0)
    }

    /// What is worse in many runs together than it should be.
    pub fn shortcomings(&self) -> Vec<String> {
        let figures = [
            (
                "the median time to converge in ms",
                self.converged(0.5) as f64,
                CONVERGED_MEDIAN_MS,
            ),
            (
                "the time in which 99 of 100 converge in ms",
                self.converged(0.99) as f64,
                CONVERGED_99_MS,
            ),
            (
                "messages per node and second",
                per(self.messages, self.node_seconds),
                MESSAGES_PER_SECOND,
            ),
            (
                "bytes per delta",
                per(self.delta_bytes, self.deltas as f64),
                BYTES_PER_DELTA,
            ),
            (
                "the needless share of repair",
                per(self.needless, self.repaired as f64),
                NEEDLESS_SHARE,
            ),
        ];
        let worse = figures.iter().filter(|(_, figure, most)| figure > most);
        worse
            .map(|(what, figure, most)| format!("{what}: {figure:.2}, at most {most}"))
            .collect()
    }

    /// All of it in a few lines.
    pub fn report(&self) -> String {
        let at = |part: f64| self.converged(part);
        format!(
            "requests {}, answers with a count {}, faults {}, links made {}; checked {} writes, {} reads\n\
             converged after the faults in ms: median {}, 90% {}, 99% {}, longest {}\n\
             per node and second: {:.1} messages, {:.0} bytes, of them gossip {:.0}, digests {:.0}\n\
             bytes per delta {:.0}; records pulled by repair {}, of them needless {}; sessions left in part {}",
            self.requests,
            self.answers,
            self.faults,
            self.links,
            self.checked_writes,
            self.checked_reads,
            at(0.5),
            at(0.9),
            at(0.99),
            at(1.0),
            per(self.messages, self.node_seconds),
            per(self.bytes, self.node_seconds),
            per(self.gossip_bytes, self.node_seconds),
            per(self.digest_bytes, self.node_seconds),
            per(self.delta_bytes, self.deltas as f64),
            self.repaired,
            self.needless,
            self.parts,
        )
    }
}

/// What a message is called in a trace.
pub fn kind(message: &Message) -> &'static str {
    match message {
        Message::Gossip(_) => "gossip",
        Message::Announce(_) => "announce",
        Message::Deltas { .. } => "deltas",
        Message::Ack { .. } => "ack",
        Message::Pull(_) => "pull",
        Message::Chunk { .. } => "chunk",
        Message::Digest(_) => "digest",
        Message::DigestRequest => "compare",
        Message::Summary(_) => "summary",
        Message::Busy { .. } => "busy",
        Message::HandoffOffer { .. } => "offer",
        Message::HandoffLacking { .. } => "lacking",
        Message::Fetch { .. } => "fetch",
        Message::Fetched { .. } => "fetched",
        Message::Propose { .. } => "propose",
        Message::Decided { .. } => "decided",
        Message::Quorum { .. } => "quorum",
    }
}

/// A message in one line of text.
pub fn brief(message: &Message) -> String {
    match message {
        Message::Gossip(bytes) => format!("gossip of {} bytes", bytes.len()),
        Message::Digest(_) => "digest".into(),
        Message::Deltas {
            sequence, changes, ..
        } => {
            let keys: Vec<_> = changes
                .iter()
                .map(|(key, record)| format!("{} {:?}", key.id(), record.version()))
                .collect();
            format!("deltas up to {sequence}: {keys:?}")
        }
        Message::Chunk {
            request,
            records,
            next,
        } => {
            let keys: Vec<_> = records.iter().map(|(key, _)| key.id()).collect();
            format!("chunk for {request}, more: {}, {keys:?}", next.is_some())
        }
        other => format!("{other:?}").chars().take(200).collect(),
    }
}
