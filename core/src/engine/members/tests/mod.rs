//! Membership alone: one node under test, and others that are no more than a SWIM each, their messages and time moved
//! by hand. The claims are in [`failures`] (who is suspected and declared down), [`bounds`] (how much is kept) and
//! [`life`] (everything else).

mod bounds;
mod failures;
mod life;

use std::collections::BTreeMap;

use super::*;
use crate::engine::Phase;
use crate::membership::Timer;
use crate::replication::message::Announce;

const BEGIN_MS: u64 = 1_700_000_000_000;

fn id(name: &str) -> NodeId {
    NodeId::parse(name).unwrap()
}

fn addr(name: &str) -> SocketAddr {
    let number = name.bytes().map(u16::from).fold(0, u16::wrapping_add);
    SocketAddr::from(([10, 0, 0, 1], number))
}

fn swim_config() -> SwimConfig {
    SwimConfig {
        probe_interval: Duration::from_millis(500),
        drop_time: Duration::from_secs(3),
    }
}

fn identity(name: &str, incarnation: u64) -> Identity {
    Identity {
        node: name.into(),
        addr: addr(name),
        incarnation,
    }
}

fn announce(ready: bool) -> Announce {
    Announce {
        ready,
        leaving: false,
        time_ms: BEGIN_MS,
        forgotten_until_ms: 0,
        memory_since_ms: BEGIN_MS,
        receiver_memory_since_ms: 0,
        receiver_lost_since_ms: u64::MAX,
        members: 1,
        workers: Vec::new(),
    }
}

const READY: OwnStatus<'static> = OwnStatus {
    phase: &Phase::Ready,
    has_sessions: true,
};

/// The node under test, `m`, and what is around it.
struct World {
    members: Members,
    others: BTreeMap<NodeId, Swim>,
    elapsed: Duration,
    timers: Vec<(Duration, Timer)>,
    /// The outputs of the node, but for timers and SWIM's packets.
    outputs: Vec<MembersOutput>,
}

impl World {
    fn new() -> Self {
        let config = MembersConfig {
            node: id("m"),
            cluster: "shop".into(),
            addr: addr("m"),
            swim: swim_config(),
            clocks: ClockLimits::default(),
            tombstone_life: Duration::from_secs(60),
            repair_interval: Duration::from_secs(5),
            seed: 7,
        };
        let now = Now {
            wall_ms: BEGIN_MS,
            mono: Duration::ZERO,
        };
        Self {
            members: Members::new(config, now),
            others: BTreeMap::new(),
            elapsed: Duration::ZERO,
            timers: Vec::new(),
            outputs: Vec::new(),
        }
    }

    /// The same with linked members of these names.
    fn with(names: &[&str]) -> Self {
        let mut world = Self::new();
        names.iter().for_each(|name| world.join(name));
        world.outputs.clear();
        world
    }

    fn now(&self) -> Now {
        Now {
            wall_ms: BEGIN_MS + ms(self.elapsed),
            mono: self.elapsed,
        }
    }

    /// A node that is alive is linked to, and becomes a member.
    fn join(&mut self, name: &str) {
        self.join_as(identity(name, BEGIN_MS));
    }

    fn join_as(&mut self, identity: Identity) {
        let node = id(&identity.node);
        let swim = Swim::new(identity.clone(), swim_config(), 9);
        self.others.insert(node.clone(), swim);
        let now = self.now();
        self.members.link_up(&node, identity.clone(), now).unwrap();
        self.members.meet(&node, identity, now);
        self.settle();
    }

    /// A call, after which SWIM's packets go back and forth.
    fn call<T>(&mut self, call: impl FnOnce(&mut Members, Now) -> T) -> T {
        let now = self.now();
        let answer = call(&mut self.members, now);
        self.settle();
        answer
    }

    /// The message of a node arrives.
    fn hear(&mut self, from: &str, message: &MemberMessage) {
        self.call(|members, now| {
            members.note_heard(&id(from), now);
            members.on_message(&id(from), &message.encode(), now);
        });
    }

    fn settle(&mut self) {
        loop {
            let outputs = self.members.take_outputs();
            if outputs.is_empty() {
                return;
            }
            for output in outputs {
                match output {
                    MembersOutput::Timer(after, timer) => self.timers.push((self.elapsed + after, timer)),
                    MembersOutput::Send(to, MemberMessage::Swim(packet)) => self.packet(&to, &packet),
                    output => self.outputs.push(output),
                }
            }
        }
    }

    /// A packet of SWIM for another node, which answers it.
    fn packet(&mut self, to: &NodeId, packet: &[u8]) {
        let now = self.now();
        let Some(swim) = self.others.get_mut(to) else {
            return;
        };
        for (whom, answer) in swim.on_message(packet).datagrams {
            if *whom.node == *"m" {
                let answer = MemberMessage::Swim(answer).encode();
                self.members.on_message(to, &answer, now);
            }
        }
    }

    /// Time passes in steps of 50 ms.
    fn run(&mut self, time: Duration) {
        let end = self.elapsed + time;
        while self.elapsed < end {
            self.elapsed += Duration::from_millis(50);
            let elapsed = self.elapsed;
            for (_, timer) in self
                .timers
                .extract_if(.., |(at, _)| *at <= elapsed)
                .collect::<Vec<_>>()
            {
                self.call(|members, now| members.fire(timer, now));
            }
            self.call(|members, now| members.tick(now));
        }
    }

    /// The process of a node is gone, and its address refuses connections.
    fn kill(&mut self, name: &str) {
        self.others.remove(&id(name));
        self.call(|members, now| members.link_down(&id(name), true, now));
    }

    /// The messages to others since they were last taken, SWIM's not counted.
    fn take_sent(&mut self) -> Vec<(NodeId, MemberMessage)> {
        let outputs = std::mem::take(&mut self.outputs).into_iter();
        outputs
            .filter_map(|output| match output {
                MembersOutput::Send(to, message) => Some((to, message)),
                _ => None,
            })
            .collect()
    }

    /// Whether the node reported that `name` failed.
    fn is_reported_down(&self, name: &str) -> bool {
        let down = MembersOutput::Down {
            node: id(name),
            left: false,
        };
        self.outputs.contains(&down)
    }

    fn is_active(&self, name: &str) -> bool {
        let member = self.members.roster().get(&id(name));
        member.is_some_and(|member| member.active)
    }
}
