//! The engine behind a lock, with somebody to carry out what it asks for.
//!
//! Every caller locks, makes one pure call, unlocks, and carries out the outputs: no lock is ever held across an
//! await, and nothing the engine asks for can run before the call that asked has returned.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use limpet_wire::table::TableVersion;
use tokio::sync::{Notify, broadcast, mpsc, oneshot, watch};

use super::quarantine::Quarantine;
use super::supervisor::{self, end_process, lock};
use super::traffic::AllTraffic;
use crate::base::allocator::sort_freed;
use crate::base::clock::{Clock, Now};
use crate::base::id::{NodeId, SessionKey};
use crate::base::limits::{EVENT_LISTENERS_MAX, EVENTS_KEPT};
use crate::engine::backup::fetch::FetchId;
use crate::engine::conditional::DecisionId;
use crate::engine::events::Event;
use crate::engine::sessions::{Refused, Written};
use crate::engine::workers::token_keys::Entropy;
use crate::engine::{Engine, EngineConfig, InboundLink, Output};
use crate::membership::Timer;
use crate::replication::acks::{Level, Waiter};
use crate::replication::message::{self, Message};
use crate::replication::position::StreamId;
use crate::replication::write_set::WriteSet;
use crate::session::{Change, Condition};

/// How often the engine is told that time passes.
pub const TICK: Duration = Duration::from_millis(50);

/// How often in a row a session that was fetched may turn out to have another id.
const FETCH_ROUNDS: usize = 3;

/// What the link tasks are asked to do.
#[derive(Debug)]
pub enum LinkCommand {
    /// Keep a link to this address.
    Dial(SocketAddr),
    /// Keep a link to this address, whose node is known to be there now.
    DialBack(SocketAddr),
}

/// What a link's writer is told.
#[derive(Debug, Default)]
pub struct LinkSignal {
    /// Messages wait, or changes that somebody waits for.
    pub wake: Notify,
    /// Changes wait.
    pub changes: Notify,
    /// The link is to be closed.
    pub close: Notify,
}

/// A node: the engine, shared by all tasks.
#[derive(Debug)]
pub struct Node {
    /// What passes between it and the others.
    pub traffic: AllTraffic,
    clock: Clock,
    engine: Mutex<Engine>,
    quarantine: Mutex<Quarantine>,
    waiters: Mutex<HashMap<Waiter, oneshot::Sender<usize>>>,
    fetches: Mutex<HashMap<FetchId, oneshot::Sender<bool>>>,
    proposals: Mutex<HashMap<DecisionId, oneshot::Sender<Result<Written, Refused>>>>,
    links: Mutex<HashMap<(NodeId, StreamId), Arc<LinkSignal>>>,
    commands: mpsc::UnboundedSender<LinkCommand>,
    timers: mpsc::UnboundedSender<(Duration, Timer)>,
    table: watch::Sender<TableVersion>,
    events: broadcast::Sender<Arc<Event>>,
}

/// Where a listener hears events.
pub type EventReceiver = broadcast::Receiver<Arc<Event>>;

/// The receiving ends of what a node asks for.
#[derive(Debug)]
pub struct Requests {
    /// For [`super::links`].
    pub links: mpsc::UnboundedReceiver<LinkCommand>,
    /// For [`run_timers`]. One per timer SWIM has running, which is a few per member.
    pub timers: mpsc::UnboundedReceiver<(Duration, Timer)>,
}

impl Node {
    /// A node that has just started.
    #[must_use]
    pub fn start(mut config: EngineConfig, quarantine: Quarantine) -> (Arc<Self>, Requests) {
        config.quarantine.extend(quarantine.sessions().cloned());
        let clock = Clock::start();
        let engine = Engine::new(config, clock.now());
        let (commands, links) = mpsc::unbounded_channel();
        let (timers, due) = mpsc::unbounded_channel();
        let table = watch::Sender::new(engine.table_version());
        let node = Arc::new(Self {
            traffic: AllTraffic::default(),
            clock,
            engine: Mutex::new(engine),
            quarantine: Mutex::new(quarantine),
            waiters: Mutex::new(HashMap::new()),
            fetches: Mutex::new(HashMap::new()),
            proposals: Mutex::new(HashMap::new()),
            links: Mutex::new(HashMap::new()),
            commands,
            timers,
            table,
            events: broadcast::Sender::new(EVENTS_KEPT),
        });
        node.with(|_, _| ());
        (node, Requests { links, timers: due })
    }

    /// One call of the engine, and what follows from it.
    pub fn with<T>(&self, call: impl FnOnce(&mut Engine, Now) -> T) -> T {
        let (result, outputs) = {
            let mut engine = self.engine();
            let result = call(&mut engine, self.clock.now());
            self.publish(&mut engine);
            (result, engine.take_outputs())
        };
        outputs.into_iter().for_each(|output| self.carry_out(output));
        result
    }

    /// Tells listeners what happened. Under the engine's lock, so that they hear it in the order it did.
    fn publish(&self, engine: &mut Engine) {
        for event in engine.take_events() {
            if self.events.send(Arc::new(event)).is_err() {
                engine.stop_listening();
                return;
            }
        }
    }

    /// Hears events from now on: the number of the next one, and where it will be heard. `None` when
    /// [`EVENT_LISTENERS_MAX`] do already.
    #[must_use]
    pub fn listen(&self) -> Option<(u64, EventReceiver)> {
        let mut engine = self.engine();
        let room = self.events.receiver_count() < EVENT_LISTENERS_MAX;
        room.then(|| (engine.listen(), self.events.subscribe()))
    }

    fn carry_out(&self, output: Output) {
        match output {
            Output::Dial(addr) => {
                let _ = self.commands.send(LinkCommand::Dial(addr)); // closed: the daemon is stopping
            }
            Output::DialBack(addr) => {
                let _ = self.commands.send(LinkCommand::DialBack(addr)); // closed: the daemon is stopping
            }
            Output::Wake(node, stream) => {
                if let Some(link) = self.links().get(&(node, stream)) {
                    link.wake.notify_one();
                }
            }
            Output::Changes(node, stream) => {
                if let Some(link) = self.links().get(&(node, stream)) {
                    link.changes.notify_one();
                }
            }
            Output::Close(node, stream) => {
                if let Some(link) = self.links().get(&(node, stream)) {
                    link.close.notify_one();
                }
            }
            Output::Timer(after, timer) => {
                let _ = self.timers.send((after, timer)); // closed: the daemon is stopping
            }
            Output::Copies(waiter, copies) => {
                let waiting = self.waiters().remove(&waiter);
                if let Some(waiting) = waiting {
                    let _ = waiting.send(copies); // gone: the caller went away
                }
            }
            Output::Discard(former) => drop(former),
            // These come only where a store is attached, and the daemon attaches none.
            Output::Committed | Output::Load(..) => {}
            Output::Fetched(id, answered) => {
                let fetching = self.fetches().remove(&id);
                if let Some(fetching) = fetching {
                    let _ = fetching.send(answered); // gone: the caller went away
                }
            }
            Output::Decided(id, result) => {
                let proposing = self.proposals().remove(&id);
                if let Some(proposing) = proposing {
                    let _ = proposing.send(result); // gone: the caller went away
                }
            }
            Output::Entropy => {
                let mut entropy: Entropy = [0; 36];
                match getrandom::fill(&mut entropy) {
                    Ok(()) => self.with(|engine, now| engine.add_entropy(&entropy, now)),
                    Err(error) => {
                        tracing::error!(%error, "the operating system gives no random bytes; no token key was made");
                    }
                }
            }
            Output::Table(version) => {
                // Two calls may finish in another order than they were made.
                self.table.send_if_modified(|known| {
                    let later = version.number > known.number;
                    if later {
                        *known = version;
                    }
                    later
                });
            }
        }
    }

    /// Waits until `level` copies of a change are known, or `timeout` has passed; says how many are.
    pub async fn copies(&self, level: Level, timeout: Duration, write_set: WriteSet) -> usize {
        // The waiter is registered before anybody can settle it: both happen under the engine's lock.
        let waiting = self.with(|engine, now| {
            let waiter = engine.wait_for(level, timeout, write_set, now)?;
            let (sender, receiver) = oneshot::channel();
            self.waiters().insert(waiter, sender);
            Ok(receiver)
        });
        match waiting {
            Ok(receiver) => receiver.await.unwrap_or(1),
            Err(copies) => copies,
        }
    }

    /// Has one node decide whether `condition` holds, and `change` made if it does.
    ///
    /// # Errors
    /// See [`Refused`].
    pub async fn decide(
        &self,
        key: &SessionKey,
        condition: Condition,
        change: Change,
    ) -> Result<Written, Refused> {
        // Registered before anybody can answer: both happen under the engine's lock.
        let decided = self.with(|engine, now| {
            let id = engine.propose(key, condition, change, now)?;
            let (sender, receiver) = oneshot::channel();
            self.proposals().insert(id, sender);
            Ok::<_, Refused>(receiver)
        })?;
        decided.await.unwrap_or(Err(Refused::Undecided))
    }

    /// Fetches what is known elsewhere of each session of `keys`, where it has to be asked for.
    ///
    /// # Errors
    /// [`Refused::Unreachable`].
    pub async fn make_local(&self, keys: &[SessionKey]) -> Result<(), Refused> {
        let missing = |engine: &mut Engine, now| -> Vec<SessionKey> {
            let missing = keys.iter().filter(|key| engine.must_fetch(key, now));
            missing.cloned().collect()
        };
        let wanted = self.with(missing);
        if wanted.is_empty() {
            return Ok(());
        }
        let asked = self.with(|engine, now| self.ask_for(engine, &wanted, now))?;
        for (key, receiver) in asked {
            let answered = receiver.await.unwrap_or(false);
            if !answered && !self.with(|engine, now| engine.may_answer_alone(&key, now)) {
                return Err(Refused::Unreachable);
            }
        }
        Ok(())
    }

    /// The same, and those that the sessions of `keys` were renamed to, for changes that may follow.
    ///
    /// # Errors
    /// [`Refused::Unreachable`].
    pub async fn make_local_with_later(&self, keys: &[SessionKey]) -> Result<(), Refused> {
        let mut keys = Cow::Borrowed(keys);
        for _ in 0..FETCH_ROUNDS {
            self.make_local(&keys).await?;
            let later = |engine: &mut Engine, now| {
                let later = keys.iter().flat_map(|key| engine.later_keys(key, now));
                later.collect::<Vec<_>>()
            };
            let later = self.with(later);
            if later.is_empty() {
                break;
            }
            keys = Cow::Owned(later);
        }
        Ok(())
    }

    /// Begins to fetch each of `keys`. The receivers are registered before anybody can answer: all of it happens
    /// under the engine's lock.
    fn ask_for(
        &self,
        engine: &mut Engine,
        keys: &[SessionKey],
        now: Now,
    ) -> Result<Vec<(SessionKey, oneshot::Receiver<bool>)>, Refused> {
        let mut receivers = Vec::new();
        for key in keys {
            match engine.fetch(key, now) {
                Ok(None) => {}
                Ok(Some(id)) => {
                    let (sender, receiver) = oneshot::channel();
                    self.fetches().insert(id, sender);
                    receivers.push((key.clone(), receiver));
                }
                Err(_) if engine.may_answer_alone(key, now) => {}
                Err(refused) => return Err(refused),
            }
        }
        Ok(receivers)
    }

    /// A link to `node` is up; its writer listens to the signal, and is reached by it until the registration is
    /// dropped.
    pub fn register_link(self: &Arc<Self>, node: &NodeId, stream: StreamId) -> Registered {
        let signal = Arc::new(LinkSignal::default());
        let position = (node.clone(), stream);
        self.links().insert(position.clone(), signal.clone());
        Registered {
            node: self.clone(),
            position,
            signal,
        }
    }

    /// Follows the worker table's version.
    #[must_use]
    pub fn table_versions(&self) -> watch::Receiver<TableVersion> {
        self.table.subscribe()
    }

    /// Hands the engine a message of `peer`, decoded from `frame`. Says whether the link `on` is still the one to listen
    /// to. A change on which the engine panics is quarantined, and the process ends: its table may be half-changed.
    pub fn receive(&self, peer: &NodeId, on: InboundLink, message: Message, frame: &[u8]) -> bool {
        let handled =
            supervisor::catch(|| self.with(|engine, now| engine.on_message(peer, on, message, now)));
        handled.unwrap_or_else(|panic| {
            self.quarantine_change_in_hand(peer, frame);
            end_process(&format!("a message of {peer} made it panic: {panic}"))
        })
    }

    /// Quarantines the change of `frame` that was being applied when the engine panicked.
    fn quarantine_change_in_hand(&self, peer: &NodeId, frame: &[u8]) {
        let Err(poisoned) = self.engine.lock() else { return };
        let in_hand = poisoned.get_ref().change_in_hand();
        let changes = message::decode(frame)
            .map(Message::into_records)
            .unwrap_or_default();
        let Some((key, delta)) = in_hand.and_then(|index| changes.into_iter().nth(index)) else {
            tracing::error!(%peer, "the panic was not about one change; nothing is quarantined");
            return;
        };
        let kept =
            lock(&self.quarantine, "the quarantine").add(peer, (&key, &delta), self.clock.now().wall_ms);
        match kept {
            Ok(()) => {
                tracing::error!(%peer, ?key, "this session is quarantined: its changes will be refused from now on")
            }
            Err(error) => tracing::error!(%peer, ?key, %error, "this session cannot be quarantined"),
        }
    }

    fn engine(&self) -> MutexGuard<'_, Engine> {
        lock(&self.engine, "the engine")
    }

    fn waiters(&self) -> MutexGuard<'_, HashMap<Waiter, oneshot::Sender<usize>>> {
        lock(&self.waiters, "the list of callers that wait for copies")
    }

    fn fetches(&self) -> MutexGuard<'_, HashMap<FetchId, oneshot::Sender<bool>>> {
        lock(&self.fetches, "the list of fetches")
    }

    fn proposals(&self) -> MutexGuard<'_, HashMap<DecisionId, oneshot::Sender<Result<Written, Refused>>>> {
        lock(&self.proposals, "the list of proposals")
    }

    fn links(&self) -> MutexGuard<'_, HashMap<(NodeId, StreamId), Arc<LinkSignal>>> {
        lock(&self.links, "the list of links")
    }
}

/// A link whose writer can be reached, until this is dropped.
#[derive(Debug)]
pub struct Registered {
    node: Arc<Node>,
    position: (NodeId, StreamId),
    /// What the writer is told.
    pub signal: Arc<LinkSignal>,
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut links = self.node.links();
        let current = links.get(&self.position);
        if current.is_some_and(|current| Arc::ptr_eq(current, &self.signal)) {
            links.remove(&self.position);
        }
    }
}

/// Tells the engine that time passes, until the task is dropped.
pub async fn run_ticks(node: Arc<Node>) {
    let mut interval = tokio::time::interval(TICK);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        // One call is short, however much there is to do: others have their turn between two.
        loop {
            let more = node.with(|engine, now| engine.tick(now));
            sort_freed();
            if !more {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
}

/// Hands membership's timers back when they are due, until the node is gone.
pub async fn run_timers(node: Arc<Node>, mut timers: mpsc::UnboundedReceiver<(Duration, Timer)>) {
    while let Some((after, timer)) = timers.recv().await {
        let node = node.clone();
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            node.with(|engine, now| engine.fire(timer, now));
        });
    }
}
