//! The faults of one round, drawn from a seed: what happens to which node when, and when it is over.
//!
//! A plan is a list of actions in the order of their time. It undoes everything it does. Nothing here touches a process;
//! `faults` carries a plan out.

mod kinds;

use std::time::Duration;

use limpet_tests::random::Random;

pub use kinds::Kind;

/// What is done to the cluster, to one node of it, or to what goes between two of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Packets of these pairs, from the first to the second, are swallowed from now on. The number is the cut's own.
    Cut(u32, Vec<(usize, usize)>),
    /// The same for what the first of a pair dials: it cannot dial, and is dialled.
    CutDials(u32, Vec<(usize, usize)>),
    /// The end of a cut.
    Uncut(u32),
    /// SIGKILL.
    Kill(usize),
    /// SIGTERM; the node leaves.
    Terminate(usize),
    /// The node starts, with nothing in its memory.
    Start(usize),
    /// SIGSTOP.
    Freeze(usize),
    /// SIGCONT.
    Thaw(usize),
    /// So many bytes a second of what the node sends pass.
    SlowFrom(usize, u64),
    /// So many bytes a second of what is sent to the node pass.
    SlowTo(usize, u64),
    /// The end of either.
    Unslow(usize),
    /// The cable of the node is pulled.
    Unplug(usize),
    /// It is in again.
    Plug(usize),
    /// The wall clock of the node is so many seconds ahead.
    Clock(usize, i64),
    /// The node has another certificate and is told to load it.
    Certificate(usize),
    /// Strangers connect to the node: some say nothing, some say rubbish.
    Strangers(usize),
    /// The node's worker is killed.
    KillWorker(usize),
    /// It starts again.
    StartWorker(usize),
    /// A proxy stands still.
    FreezeProxy(usize),
    /// It goes on.
    ThawProxy(usize),
}

impl Action {
    /// Whether it begins a fault; the others end one.
    #[must_use]
    pub fn is_fault(&self) -> bool {
        !matches!(
            self,
            Self::Uncut(_)
                | Self::Start(_)
                | Self::Thaw(_)
                | Self::Unslow(_)
                | Self::Plug(_)
                | Self::Clock(_, 0)
                | Self::StartWorker(_)
                | Self::ThawProxy(_)
        )
    }

    /// Whether it may keep nodes from hearing of each other, or from answering.
    #[must_use]
    pub fn disturbs(&self) -> bool {
        !matches!(
            self,
            Self::Clock(..)
                | Self::KillWorker(_)
                | Self::StartWorker(_)
                | Self::FreezeProxy(_)
                | Self::ThawProxy(_)
        )
    }
}

/// Actions by their time since the plan began.
pub type Plan = Vec<(Duration, Action)>;

/// What a plan is drawn for.
#[derive(Debug, Clone, Copy)]
pub struct Ground {
    /// Nodes of the cluster.
    pub nodes: usize,
    /// Proxies in front of it.
    pub proxies: usize,
    /// How long the plan may take.
    pub length: Duration,
    /// How many nodes may lose their memory.
    pub losses: usize,
}

/// A plan in the making.
struct Draft {
    ground: Ground,
    random: Random,
    plan: Plan,
    /// Until when something happens to the process, the clock or the cable of a node.
    busy: Vec<Duration>,
    losses: usize,
    cuts: u32,
}

/// The faults of a round: four to nine of any kind.
#[must_use]
pub fn storm(ground: Ground, random: Random) -> Plan {
    let mut draft = Draft::new(ground, random);
    for _ in 0..4 + draft.random.below(6) {
        let kind = Kind::draw(&mut draft.random);
        draft.add(kind);
    }
    // As many losses as the round may have, so that what fewer copies than that hold is lost now and then.
    while draft.losses < ground.losses && draft.add(Kind::Kill) {}
    draft.finish()
}

/// Faults that nobody should notice: clocks that are set, workers that die, certificates.
#[must_use]
pub fn calm(ground: Ground, random: Random) -> Plan {
    let mut draft = Draft::new(ground, random);
    draft.add(Kind::ClockNear);
    draft.finish()
}

impl Draft {
    fn new(ground: Ground, random: Random) -> Self {
        Self {
            ground,
            random,
            plan: Plan::new(),
            busy: vec![Duration::ZERO; ground.nodes],
            losses: 0,
            cuts: 0,
        }
    }

    fn finish(mut self) -> Plan {
        // Stable: what was drawn first comes first.
        self.plan.sort_by_key(|(at, _)| *at);
        self.plan
    }

    fn at(&mut self, at: Duration, action: Action) {
        self.plan.push((at.min(self.ground.length), action));
    }

    /// A moment for something that lasts `lasting`, such that it ends with the plan.
    fn moment(&mut self, lasting: Duration) -> Duration {
        let room = self.ground.length.saturating_sub(lasting);
        Duration::from_millis(self.random.below(millis(room).max(1)))
    }

    fn lasting(&mut self, from_ms: u64, to_ms: u64) -> Duration {
        let most = to_ms.min(millis(self.ground.length)).max(from_ms + 1);
        Duration::from_millis(from_ms + self.random.below(most - from_ms))
    }

    /// A node whose process nothing else happens to in that time; it is taken then.
    fn take(&mut self, from: Duration, until: Duration) -> Option<usize> {
        let free: Vec<_> = (0..self.ground.nodes)
            .filter(|node| self.busy[*node] <= from)
            .collect();
        let node = *free.get(self.random.below(free.len().max(1) as u64) as usize)?;
        self.busy[node] = until + Duration::from_secs(1);
        Some(node)
    }

    fn node(&mut self) -> usize {
        self.random.below(self.ground.nodes as u64) as usize
    }

    /// All nodes, in an order of chance.
    fn shuffled(&mut self) -> Vec<usize> {
        let mut nodes: Vec<_> = (0..self.ground.nodes).collect();
        for at in (1..nodes.len()).rev() {
            nodes.swap(at, self.random.below(at as u64 + 1) as usize);
        }
        nodes
    }

    fn cut(&mut self, from: Duration, until: Duration, pairs: Vec<(usize, usize)>) {
        self.cuts += 1;
        let number = self.cuts;
        self.at(from, Action::Cut(number, pairs));
        self.at(until, Action::Uncut(number));
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Every pair of one node of each side, in both directions.
fn between(left: &[usize], right: &[usize]) -> Vec<(usize, usize)> {
    let there = left
        .iter()
        .flat_map(|one| right.iter().map(|other| (*one, *other)));
    there
        .flat_map(|(one, other)| [(one, other), (other, one)])
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use limpet_tests::random::Random;

    use super::{Action, Ground, storm};

    const GROUND: Ground = Ground {
        nodes: 5,
        proxies: 2,
        length: Duration::from_secs(30),
        losses: 2,
    };

    #[test]
    fn a_plan_undoes_what_it_does_and_loses_no_more_than_it_may() {
        for seed in 0..500 {
            let plan = storm(GROUND, Random::seeded(seed));
            let (mut cuts, mut down, mut frozen) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
            let (mut slow, mut unplugged, mut workers) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
            let (mut clocks, mut proxies, mut losses) = (BTreeSet::new(), BTreeSet::new(), 0);
            for (at, action) in &plan {
                assert!(*at <= GROUND.length, "seed {seed}");
                let fits = match action {
                    Action::Cut(number, _) | Action::CutDials(number, _) => cuts.insert(*number),
                    Action::Uncut(number) => cuts.remove(number),
                    Action::Kill(node) | Action::Terminate(node) => {
                        losses += 1;
                        down.insert(*node) && !frozen.contains(node)
                    }
                    Action::Start(node) => down.remove(node),
                    Action::Freeze(node) => frozen.insert(*node) && !down.contains(node),
                    Action::Thaw(node) => frozen.remove(node),
                    Action::SlowFrom(node, _) | Action::SlowTo(node, _) => {
                        slow.insert(*node);
                        true
                    }
                    Action::Unslow(node) => {
                        slow.remove(node);
                        true
                    }
                    Action::Unplug(node) => unplugged.insert(*node),
                    Action::Plug(node) => unplugged.remove(node),
                    Action::Clock(node, 0) => clocks.remove(node),
                    Action::Clock(node, _) => {
                        clocks.insert(*node);
                        true
                    }
                    Action::Certificate(node) => !down.contains(node),
                    Action::Strangers(_) => true,
                    Action::KillWorker(node) => workers.insert(*node),
                    Action::StartWorker(node) => workers.remove(node),
                    Action::FreezeProxy(proxy) => proxies.insert(*proxy),
                    Action::ThawProxy(proxy) => proxies.remove(proxy),
                };
                assert!(fits, "seed {seed}: {action:?} in {plan:#?}");
            }
            let open = [down, frozen, slow, unplugged, workers, clocks, proxies];
            assert!(
                open.iter().all(BTreeSet::is_empty) && cuts.is_empty(),
                "seed {seed}: {plan:#?}"
            );
            assert!(losses <= GROUND.losses, "seed {seed}: {losses} losses");
        }
    }

    #[test]
    fn a_seed_draws_the_same_plan_again() {
        assert_eq!(storm(GROUND, Random::seeded(7)), storm(GROUND, Random::seeded(7)));
        assert_ne!(storm(GROUND, Random::seeded(7)), storm(GROUND, Random::seeded(8)));
    }
}
