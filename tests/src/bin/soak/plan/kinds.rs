//! The kinds of faults, and how each is drawn: shape, moment and length.

use std::time::Duration;

use limpet_tests::random::Random;

use super::{Action, Draft, between};

/// See the module page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Two sides that do not hear each other.
    Split,
    /// One node that hears nobody.
    Alone,
    /// What some nodes say to others is lost, not the other way round.
    OneWay,
    /// Some nodes cannot dial others, and are dialled by them.
    Dials,
    /// Two sides that do not hear each other, and a node that hears both.
    Bridge,
    /// A split that comes and goes.
    Flapping,
    /// A node whose packets are lost now and then.
    Lossy,
    /// Nodes are cut off one after the other, and are back in another order.
    Swizzle,
    /// A slow link, so that what is sent waits in queues.
    Slow,
    /// A node that stands still for some seconds.
    Freeze,
    /// A process that is killed.
    Kill,
    /// A process that is killed behind a cut: others have connections that nobody closes.
    HalfOpen,
    /// A node that leaves and comes back.
    Leave,
    /// A cable that is pulled.
    Unplug,
    /// Wall clocks that are set, up to an hour off.
    ClockNear,
    /// Wall clocks that are a day off.
    ClockFar,
    /// A wall clock that jumps back and forth.
    ClockStrobe,
    /// New certificates.
    Certificate,
    /// Strangers at the door.
    Strangers,
    /// A worker that dies.
    Worker,
    /// A proxy that stands still.
    Proxy,
}

const KINDS: [Kind; 21] = [
    Kind::Split,
    Kind::Alone,
    Kind::OneWay,
    Kind::Dials,
    Kind::Bridge,
    Kind::Flapping,
    Kind::Lossy,
    Kind::Swizzle,
    Kind::Slow,
    Kind::Freeze,
    Kind::Kill,
    Kind::HalfOpen,
    Kind::Leave,
    Kind::Unplug,
    Kind::ClockNear,
    Kind::ClockFar,
    Kind::ClockStrobe,
    Kind::Certificate,
    Kind::Strangers,
    Kind::Worker,
    Kind::Proxy,
];
const NEAR_S: [i64; 8] = [1, -1, 10, -10, 60, -60, 3600, -3600];
const FAR_S: [i64; 2] = [86_400, -86_400];

impl Kind {
    /// Any of them.
    pub fn draw(random: &mut Random) -> Self {
        KINDS[random.below(KINDS.len() as u64) as usize]
    }
}

impl Draft {
    /// Adds a fault; says whether there was a node for it.
    pub(super) fn add(&mut self, kind: Kind) -> bool {
        match kind {
            Kind::Split | Kind::Alone | Kind::OneWay | Kind::Dials | Kind::Bridge => self.parted(kind),
            Kind::Flapping | Kind::Lossy | Kind::Swizzle => self.wavering(kind),
            Kind::Slow => self.slow(),
            Kind::Freeze | Kind::Unplug | Kind::Kill | Kind::HalfOpen | Kind::Leave => {
                return self.struck(kind);
            }
            Kind::ClockNear | Kind::ClockFar | Kind::ClockStrobe => return self.clocks(kind),
            Kind::Certificate => {
                let from = self.moment(Duration::from_secs(2));
                let Some(node) = self.take(from, from + Duration::from_secs(1)) else {
                    return false;
                };
                self.at(from, Action::Certificate(node));
            }
            Kind::Strangers => {
                let from = self.moment(Duration::from_secs(2));
                let node = self.node();
                self.at(from, Action::Strangers(node));
            }
            Kind::Worker => {
                let lasting = self.lasting(1000, 6000);
                let (from, node) = (self.moment(lasting), self.node());
                if self
                    .plan
                    .iter()
                    .any(|(_, action)| *action == Action::KillWorker(node))
                {
                    return false;
                }
                self.at(from, Action::KillWorker(node));
                self.at(from + lasting, Action::StartWorker(node));
            }
            Kind::Proxy => {
                let lasting = self.lasting(500, 4000);
                let (from, proxy) = (
                    self.moment(lasting),
                    self.random.below(self.ground.proxies as u64) as usize,
                );
                if self
                    .plan
                    .iter()
                    .any(|(_, action)| *action == Action::FreezeProxy(proxy))
                {
                    return false;
                }
                self.at(from, Action::FreezeProxy(proxy));
                self.at(from + lasting, Action::ThawProxy(proxy));
            }
        }
        true
    }

    fn parted(&mut self, kind: Kind) {
        let lasting = self.lasting(500, 12_000);
        let from = self.moment(lasting);
        let until = from + lasting;
        let nodes = self.shuffled();
        let side = 1 + self.random.below(nodes.len() as u64 - 1) as usize;
        let (left, right) = nodes.split_at(if kind == Kind::Alone { 1 } else { side });
        let one_way = |pairs: Vec<(usize, usize)>| pairs.into_iter().step_by(2).collect::<Vec<_>>();
        match kind {
            Kind::OneWay => self.cut(from, until, one_way(between(left, right))),
            Kind::Dials => {
                self.cuts += 1;
                let number = self.cuts;
                self.at(from, Action::CutDials(number, one_way(between(left, right))));
                self.at(until, Action::Uncut(number));
            }
            Kind::Bridge => self.cut(from, until, between(&nodes[..2], &nodes[3..])),
            _ => self.cut(from, until, between(left, right)),
        }
    }

    fn wavering(&mut self, kind: Kind) {
        let lasting = self.lasting(3000, 10_000);
        let from = self.moment(lasting);
        let until = from + lasting;
        let nodes = self.shuffled();
        match kind {
            Kind::Flapping => {
                let (left, right) = nodes.split_at(2);
                let pairs = between(left, right);
                let mut at = from;
                while at < until {
                    let cut = Duration::from_millis(200 + self.random.below(1500));
                    self.cut(at, (at + cut).min(until), pairs.clone());
                    at += cut + Duration::from_millis(200 + self.random.below(1500));
                }
            }
            Kind::Lossy => {
                let pairs = between(&nodes[..1], &nodes[1..]);
                let mut at = from;
                while at < until {
                    let cut = Duration::from_millis(20 + self.random.below(80));
                    self.cut(at, (at + cut).min(until), pairs.clone());
                    at += cut + Duration::from_millis(100 + self.random.below(300));
                }
            }
            _ => {
                let count = 2 + self.random.below(2) as usize;
                let step = lasting / (2 * count as u32);
                let mut back: Vec<u32> = (0..count as u32).collect();
                back.rotate_left(1);
                for (turn, node) in nodes.iter().take(count).enumerate() {
                    let others: Vec<_> = nodes.iter().copied().filter(|other| other != node).collect();
                    let begin = from + step * turn as u32;
                    let end = from + step * (count as u32 + back[turn]);
                    self.cut(begin, end.min(until), between(&[*node], &others));
                }
            }
        }
    }

    fn slow(&mut self) {
        let lasting = self.lasting(2000, 12_000);
        let from = self.moment(lasting);
        let node = self.node();
        let rate = 10_000 + self.random.below(40_000);
        if self.random.below(2) == 0 {
            self.at(from, Action::SlowFrom(node, rate));
        } else {
            self.at(from, Action::SlowTo(node, rate));
        }
        self.at(from + lasting, Action::Unslow(node));
    }

    /// What happens to one node alone, and to it nothing else meanwhile.
    fn struck(&mut self, kind: Kind) -> bool {
        let loses = matches!(kind, Kind::Kill | Kind::HalfOpen | Kind::Leave);
        if loses && self.losses == self.ground.losses {
            return false;
        }
        let lasting = self.lasting(300, 8000);
        let from = self.moment(lasting);
        let until = from + lasting;
        let Some(node) = self.take(from, until) else {
            return false;
        };
        self.losses += usize::from(loses);
        let (begin, end) = match kind {
            Kind::Freeze => (Action::Freeze(node), Action::Thaw(node)),
            Kind::Unplug => (Action::Unplug(node), Action::Plug(node)),
            Kind::Leave => (Action::Terminate(node), Action::Start(node)),
            _ => (Action::Kill(node), Action::Start(node)),
        };
        if kind == Kind::HalfOpen {
            let others: Vec<_> = (0..self.ground.nodes).filter(|other| *other != node).collect();
            self.cut(from, until, between(&[node], &others));
        }
        self.at(from, begin);
        self.at(until, end);
        true
    }

    fn clocks(&mut self, kind: Kind) -> bool {
        let lasting = self.lasting(3000, 12_000);
        let from = self.moment(lasting);
        // Their processes may be struck meanwhile; but one clock is not set by two faults.
        if self
            .plan
            .iter()
            .any(|(_, action)| matches!(action, Action::Clock(..)))
        {
            return false;
        }
        let nodes = self.shuffled();
        let count = match self.random.below(4) {
            0 => nodes.len(),
            1 => 2,
            _ => 1,
        };
        let steps: &[i64] = if kind == Kind::ClockFar { &FAR_S } else { &NEAR_S };
        for node in nodes.into_iter().take(count) {
            let seconds = steps[self.random.below(steps.len() as u64) as usize];
            self.at(from, Action::Clock(node, seconds));
            if kind == Kind::ClockStrobe {
                for turn in 1..4 {
                    let seconds = if turn % 2 == 0 { seconds } else { -seconds };
                    self.at(from + lasting * turn / 4, Action::Clock(node, seconds));
                }
            }
            self.at(from + lasting, Action::Clock(node, 0));
        }
        true
    }
}
