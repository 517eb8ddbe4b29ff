//! The dialler: the task that runs the link keeper in real time. It tells the keeper what happens, and carries out what
//! the keeper decides: a task for each attempt, one for each name to resolve, and calls of the engine.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::keeper::{AttemptId, Dial, KeeperConfig, KeeperOutput, LinkKeeper, Outcome, SeedId};
use super::{LinkConfig, outgoing};
use crate::base::clock::Now;
use crate::base::id::NodeId;
use crate::drivers::node::{LinkCommand, Node};
use crate::engine::Engine;

/// What tasks tell the dialler. At most two of them wait per attempt, and one per seed.
#[derive(Debug)]
enum Report {
    Up(AttemptId, NodeId),
    Ended(AttemptId, Outcome),
    Resolved(SeedId, Vec<SocketAddr>),
}

/// Keeps links to seeds and members until the node is gone.
pub async fn dial_all(
    node: Arc<Node>,
    config: LinkConfig,
    mut commands: mpsc::UnboundedReceiver<LinkCommand>,
) {
    let (sender, mut reports) = mpsc::unbounded_channel();
    let keeper_config = KeeperConfig {
        seeds: config.seeds.clone(),
        lookup: config.lookup.clone().map(|lookup| (lookup.name, lookup.interval)),
        streams: config.streams,
    };
    let keeper = LinkKeeper::new(keeper_config, node.with(|_, now| now.mono));
    let mut dialler = Dialler {
        node,
        config,
        keeper,
        attempts: HashMap::new(),
        reports: sender,
    };
    loop {
        dialler.tick().await;
        let now = dialler.node.with(|_, now| now.mono);
        let pause = dialler.keeper.next_wake().saturating_sub(now);
        tokio::select! {
            command = commands.recv() => match command {
                Some(command) => dialler.on_command(&command),
                None => return,
            },
            Some(report) = reports.recv() => dialler.on_report(report).await,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// See the module page.
struct Dialler {
    node: Arc<Node>,
    config: LinkConfig,
    keeper: LinkKeeper,
    /// The tasks of attempts that have not reported their end.
    attempts: HashMap<AttemptId, JoinHandle<()>>,
    reports: mpsc::UnboundedSender<Report>,
}

impl Dialler {
    async fn tick(&mut self) {
        let (keeper, jitter) = (&mut self.keeper, rand::random());
        let outputs = self
            .node
            .with(|engine, now| keeper.tick(&(&*engine, now), now.mono, jitter));
        self.carry_out(outputs).await;
    }

    fn on_command(&mut self, command: &LinkCommand) {
        let now = self.node.with(|_, now| now.mono);
        match command {
            LinkCommand::Dial(addr) => self.keeper.on_wanted(*addr, now),
            LinkCommand::DialBack(addr) => self.keeper.on_dialled(*addr, now),
        }
    }

    async fn on_report(&mut self, report: Report) {
        let now = self.node.with(|_, now| now.mono);
        match report {
            Report::Up(attempt, peer) => self.keeper.on_up(attempt, peer, now),
            Report::Resolved(seed, addrs) => self.keeper.on_resolved(seed, addrs),
            Report::Ended(attempt, outcome) => {
                self.attempts.remove(&attempt);
                let outputs = self.keeper.on_end(attempt, outcome, now);
                self.carry_out(outputs).await;
            }
        }
    }

    async fn carry_out(&mut self, outputs: Vec<KeeperOutput>) {
        for output in outputs {
            match output {
                KeeperOutput::Dial(dial) => self.dial(dial),
                KeeperOutput::Resolve { seed, name } => self.resolve(seed, name),
                KeeperOutput::Close(attempt) => {
                    if let Some(task) = self.attempts.remove(&attempt) {
                        task.abort();
                        let _ = task.await; // aborted
                    }
                }
                KeeperOutput::LinkDown(peer, stream) => {
                    self.engine(|engine, now| engine.link_down(&peer, stream, false, now));
                }
                KeeperOutput::Unreachable { addr, refused } => {
                    self.engine(|engine, now| engine.unreachable(addr, refused, now));
                }
                KeeperOutput::Resolved(name, addrs) => {
                    self.engine(|engine, now| engine.seed_resolved(&name, &addrs, now));
                }
            }
        }
    }

    fn engine(&self, call: impl FnOnce(&mut Engine, Now)) {
        self.node.with(call);
    }

    fn dial(&mut self, dial: Dial) {
        let attempt = dial.attempt;
        let ending = Ending {
            reports: self.reports.clone(),
            attempt,
            outcome: Outcome::Failed,
        };
        let task = tokio::spawn(run(self.node.clone(), self.config.clone(), dial, ending));
        self.attempts.insert(attempt, task);
    }

    fn resolve(&self, seed: SeedId, name: String) {
        let (reports, notices) = (self.reports.clone(), self.config.notices.clone());
        let looked_up = self
            .config
            .lookup
            .as_ref()
            .is_some_and(|lookup| lookup.name == name);
        tokio::spawn(async move {
            let addrs = match tokio::net::lookup_host(&name).await {
                Ok(addrs) => {
                    notices.forget(&unresolved(&name));
                    addrs.collect()
                }
                Err(error) => {
                    if !notices.is_new(unresolved(&name)) {
                        tracing::debug!(name, %error, "a name does not resolve");
                    } else if looked_up {
                        tracing::warn!(name, %error, "membership.dns does not resolve; known members stay");
                    } else {
                        tracing::warn!(seed = name, %error, "the seed's name does not resolve");
                    }
                    Vec::new()
                }
            };
            let _ = reports.send(Report::Resolved(seed, addrs)); // closed: the daemon is stopping
        });
    }
}

/// Runs one attempt, and reports its course.
async fn run(node: Arc<Node>, config: LinkConfig, dial: Dial, mut ending: Ending) {
    let (attempt, reports) = (dial.attempt, ending.reports.clone());
    let up = |peer: &NodeId| {
        let _ = reports.send(Report::Up(attempt, peer.clone())); // closed: the daemon is stopping
    };
    ending.outcome = outgoing::attempt(&node, &config, &dial, up).await;
}

/// The notice that a name does not resolve.
fn unresolved(name: &str) -> String {
    format!("{name} does not resolve")
}

/// Reports the end of an attempt when it is dropped: also when its task panics.
struct Ending {
    reports: mpsc::UnboundedSender<Report>,
    attempt: AttemptId,
    outcome: Outcome,
}

impl Drop for Ending {
    fn drop(&mut self) {
        let _ = self.reports.send(Report::Ended(self.attempt, self.outcome)); // closed: the daemon is stopping
    }
}
