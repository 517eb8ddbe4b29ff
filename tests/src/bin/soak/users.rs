//! Users of the core's API: each has some sessions, and does to one of them whatever comes to its mind, at a node of its
//! own or at any. One step at a time, but for steps that are two requests at two nodes in the same instant.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use limpet_tests::random::Random;

use crate::operations::{Operations, Target};
use crate::stage::NODES;
use crate::world::World;

/// The most sessions of one user.
const SESSIONS_MAX: usize = 5;
/// Ended sessions that are still asked for; the oldest are forgotten.
const ENDED_MAX: usize = 10;

/// A user at work.
pub struct User {
    operations: Operations,
    random: Random,
    home: usize,
    sessions: Vec<String>,
    ended: VecDeque<String>,
    pace_ms: u64,
}

impl User {
    /// The user of this number, who rests for `pace_ms` on average after every step.
    #[must_use]
    pub fn new(world: &Arc<World>, number: usize, random: Random, pace_ms: u64) -> Self {
        Self {
            operations: Operations {
                world: Arc::clone(world),
                writer: format!("user{number}"),
            },
            random,
            home: number % NODES.len(),
            sessions: Vec::new(),
            ended: VecDeque::new(),
            pace_ms,
        }
    }

    /// Works until everybody is to end.
    pub async fn work(mut self) {
        let world = Arc::clone(&self.operations.world);
        while !world.is_stopped() {
            {
                let _open = world.gate.read().await;
                if !world.is_stopped() {
                    self.step().await;
                }
            }
            let rest = self.random.below(2 * self.pace_ms);
            tokio::time::sleep(Duration::from_millis(rest)).await;
        }
    }

    async fn step(&mut self) {
        let usable = |name: &String| self.operations.world.ledger().session(name).is_usable();
        let (mut here, mut waiting) = (Vec::new(), Vec::new());
        for name in std::mem::take(&mut self.sessions) {
            match usable(&name) {
                Some(true) => here.push(name),
                None => waiting.push(name),
                Some(false) => {
                    if self.ended.len() == ENDED_MAX {
                        self.ended.pop_front();
                    }
                    self.ended.push_back(name);
                }
            }
        }
        let count = here.len() + waiting.len();
        let draw = self.random.below(100);
        let ack = self.ack();
        let any = self.any_node();
        if here.is_empty() && count == SESSIONS_MAX {
            // All wait for the next rest.
        } else if here.is_empty() || draw < 10 && count < SESSIONS_MAX {
            here.push(self.operations.create(self.home, ack).await);
        } else {
            let name = here[self.random.below(here.len() as u64) as usize].clone();
            self.use_one(&name, draw, any, ack).await;
        }
        self.sessions = here;
        self.sessions.extend(waiting);
    }

    async fn use_one(&mut self, name: &str, draw: u64, any: usize, ack: &str) {
        let id = self.operations.world.ledger().session(name).id().to_owned();
        let at = |node| Target { name, id: &id, node };
        let operations = &self.operations;
        match draw {
            0..45 => operations.increment(at(self.home), ack).await,
            45..60 => operations.increment(at(any), ack).await,
            60..70 => drop(operations.read(at(any)).await),
            70..75 => operations.touch(at(any)).await,
            75..81 if operations.world.options.renames => operations.rename(at(any), ack).await,
            81..85 => operations.end(at(any), ack).await,
            85..93 => self.two_at_once(name, &id, ack).await,
            _ => {
                if let Some(ended) = self.ended.back().cloned() {
                    let ids = self.operations.world.ledger().session(&ended).ids();
                    let id = ids.get(self.random.below(ids.len().max(1) as u64) as usize);
                    let id = id.cloned().unwrap_or_default();
                    let at = Target {
                        name: &ended,
                        id: &id,
                        node: any,
                    };
                    self.operations.read(at).await;
                } else {
                    operations.increment(at(any), ack).await;
                }
            }
        }
    }

    /// Two requests for one session at two nodes, neither of which waits for the other.
    async fn two_at_once(&mut self, name: &str, id: &str, ack: &str) {
        let one = self.any_node();
        let other = (one + 1 + self.random.below(NODES.len() as u64 - 1) as usize) % NODES.len();
        let (one, other) = (
            Target { name, id, node: one },
            Target {
                name,
                id,
                node: other,
            },
        );
        let draw = self.random.below(4);
        let operations = &self.operations;
        // What does not say its life would begin a session where this one ended or has another id by now.
        let lives = operations.world.ledger().session(name).life().is_some();
        let renames = operations.world.options.renames && lives;
        match draw {
            0 if lives => {
                tokio::join!(operations.end(one, ack), operations.write(other, "q", None, ack));
            }
            1 if renames => {
                tokio::join!(
                    operations.rename(one, ack),
                    operations.write(other, "q", None, ack)
                );
            }
            2 if renames => {
                tokio::join!(operations.rename(one, ack), operations.rename(other, ack));
            }
            _ => {
                tokio::join!(
                    operations.write(one, "p", None, ack),
                    operations.write(other, "q", None, ack)
                );
            }
        }
    }

    fn any_node(&mut self) -> usize {
        self.random.below(NODES.len() as u64) as usize
    }

    fn ack(&mut self) -> &'static str {
        match self.random.below(20) {
            0..3 => "none",
            3..11 => "one",
            11..16 => "quorum",
            _ => "all",
        }
    }
}
