//! Which node holds which session: what two nodes compare their tables by, and what one sends the other.
//!
//! In `delta` mode the answer is everything. In `backup` mode it follows from the members and workers this node
//! knows, a [`View`]; the digests that two nodes compare count only what both hold. When the view changes they are
//! made anew, a few buckets at a time, what this node holds and should not is handed over ([`super::handoff`]), and
//! nodes that have come back are told which sessions have ended meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::base::clock::Now;
use crate::base::id::{BUCKETS, NodeId, SessionKey};
use crate::base::limits::MEMBERS_MAX;
use crate::engine::sessions::expiry::ms;
use crate::engine::{Engine, Mode, Phase};
use crate::replication::placement::{Holders, View};
use crate::session::Record;

/// How many sessions one call looks at after the view has changed, and the rest of a bucket. Ranking the nodes for one
/// costs more the more nodes there are.
const SESSIONS_PER_LOOK: usize = 2000;
/// How long after a change of the view, and after the last session was lacked here that others keep, sessions may still
/// be where they were before.
const SETTLING: Duration = Duration::from_secs(10);
/// How soon after a change of the view tables are compared.
const COMPARE_SOON: Duration = Duration::from_secs(1);

/// What `backup` mode keeps: see the module page.
#[derive(Debug)]
pub(in crate::engine) struct Placement {
    view: Arc<View>,
    changed: Duration,
    /// When sessions were last offered that this node is to hold and lacked.
    lacked: Duration,
    buckets: Vec<Shared>,
    /// Buckets from this one on were last looked through under an earlier view.
    stale_from: usize,
    missed: Missed,
}

/// Who may have missed a tombstone. Moments are in milliseconds since 1970.
#[derive(Debug, Default)]
struct Missed {
    /// Nodes that are not in the view any more, and since when; of more than [`MEMBERS_MAX`] the first.
    left_ms: BTreeMap<NodeId, u64>,
    /// Nodes that have come (back) into it, and since when they may have missed an end; until all buckets are looked
    /// through.
    came_ms: BTreeMap<NodeId, u64>,
    /// Ends from then on may not have reached everybody who keeps a session for its holders.
    recent_ms: u64,
}

impl Missed {
    /// The time of the earliest tombstone that a node may have missed.
    fn since_ms(&self) -> u64 {
        self.came_ms.values().copied().fold(self.recent_ms, u64::min)
    }

    /// Whether `node`, which is to hold the session now, may have missed that it ended at `over_ms`: it was not there,
    /// or the end is recent and those told of it were others.
    fn may_be(&self, node: &NodeId, before: &View, key: &SessionKey, over_ms: u64) -> bool {
        self.came_ms.get(node).is_some_and(|since| *since <= over_ms)
            || over_ms >= self.recent_ms && !before.holders(key, None).contains(node)
    }

    /// The view is `view`, and was `before`; whoever is met for the first time may have missed what has ended since
    /// `met_ms`.
    fn follow(
        &mut self,
        (before, view): (&View, &View),
        own: &NodeId,
        met_ms: impl Fn(&NodeId) -> u64,
        (now_ms, slack_ms): (u64, u64),
    ) {
        self.recent_ms = now_ms.saturating_sub(ms(SETTLING));
        for node in before.ready().filter(|node| !view.is_ready(node)) {
            if self.left_ms.len() < MEMBERS_MAX {
                self.left_ms.entry(node.clone()).or_insert(now_ms);
            }
        }
        let came = |node: &&NodeId| !before.is_ready(node) && *node != own;
        for node in view.ready().filter(came) {
            let since = self.left_ms.remove(node).unwrap_or_else(|| met_ms(node));
            let since = since.saturating_sub(slack_ms);
            let came = self.came_ms.entry(node.clone()).or_insert(since);
            *came = since.min(*came);
        }
    }
}

/// The digests of one bucket.
#[derive(Debug, Default)]
struct Shared {
    view: Arc<View>,
    /// Of the cluster's own sessions, which every node holds.
    common: u64,
    /// Of the sessions this node and another hold.
    with: BTreeMap<NodeId, u64>,
}

impl Shared {
    /// Adds a session to the digests, or takes it out again.
    fn toggle(&mut self, own: &NodeId, key: &SessionKey, route: Option<&str>, digest: u64) {
        if digest == 0 {
            return;
        }
        if key.is_reserved() {
            self.common ^= digest;
            return;
        }
        let holders = self.view.holders(key, route);
        if holders.contains(own) {
            for node in holders.iter().filter(|node| *node != own) {
                match self.with.get_mut(node) {
                    Some(sum) => *sum ^= digest,
                    None => drop(self.with.insert(node.clone(), digest)),
                }
            }
        }
    }
}

/// What decides where a session is: its digest and the worker it is bound to.
#[derive(Debug, Default)]
pub(in crate::engine) struct Location {
    digest: u64,
    route: Option<Arc<str>>,
}

impl Location {
    fn of(record: &Record) -> Self {
        Self {
            digest: record.digest(),
            route: record.route.as_ref().map(|r| r.value.clone()),
        }
    }

    /// Whether there is a session.
    pub(in crate::engine) const fn is_somewhere(&self) -> bool {
        self.digest != 0
    }

    /// The worker it is bound to.
    pub(in crate::engine) fn bound_to(&self) -> Option<&str> {
        self.route.as_deref()
    }
}

/// Where a change goes in `backup` mode.
#[derive(Debug)]
pub(in crate::engine) struct Targets {
    /// The nodes, and whether the session stays at each once those that are coming have come.
    nodes: BTreeMap<NodeId, bool>,
    /// Whether it stays at this one.
    pub(in crate::engine) stays_here: bool,
}

impl Targets {
    /// Whether the session stays at `node`; `None` when the change does not go there.
    pub(in crate::engine) fn stays_at(&self, node: &NodeId) -> Option<bool> {
        self.nodes.get(node).copied()
    }
}

impl Placement {
    pub(in crate::engine) fn new(now: Now) -> Self {
        Self {
            view: Arc::default(),
            changed: now.mono,
            lacked: now.mono,
            buckets: (0..BUCKETS).map(|_| Shared::default()).collect(),
            stale_from: BUCKETS,
            missed: Missed::default(),
        }
    }

    /// The view of now.
    pub(in crate::engine) fn view(&self) -> &View {
        &self.view
    }

    /// When the view changed last.
    pub(in crate::engine) const fn changed(&self) -> Duration {
        self.changed
    }

    /// Whether sessions are where the view says.
    pub(in crate::engine) fn is_settled(&self, now: Now) -> bool {
        let moving = self.changed.max(self.lacked);
        self.stale_from >= BUCKETS && now.mono.saturating_sub(moving) >= SETTLING
    }

    /// A session was offered that is to be here and is not: there may be more.
    pub(in crate::engine) const fn note_lacked(&mut self, now: Now) {
        self.lacked = now.mono;
    }
}

impl Engine {
    /// Whether `node` is to hold the session, now or once it is ready. A tombstone goes to every node.
    pub(in crate::engine) fn is_shared(&self, node: &NodeId, key: &SessionKey, record: &Record) -> bool {
        let Some(placement) = self.backup.placement.as_ref().filter(|_| !key.is_reserved()) else {
            return true;
        };
        let (view, route) = (placement.view(), record.route.as_ref().map(|r| &*r.value));
        !record.is_alive()
            || view.holders(key, route).contains(node)
            || (view.has_joining() && view.holders_to_be(key, route).contains(node))
    }

    /// Whether this node is to hold the session.
    pub(in crate::engine) fn is_held_here(&self, key: &SessionKey, record: &Record) -> bool {
        self.is_shared(&self.config.node, key, record)
    }

    /// Where a change that was just joined goes; `None` for every node. A session that was at `before` goes to those
    /// that are to hold it now, and to those that held it before it was bound to another worker.
    pub(in crate::engine) fn targets(&self, key: &SessionKey, before: &Location) -> Option<Targets> {
        let placement = self.backup.placement.as_ref().filter(|_| !key.is_reserved())?;
        let (view, after) = (placement.view(), self.table.get(key)?);
        let route = after.route.as_ref().map(|r| &*r.value);
        // Where a session ended its holders are copies: should it begin again, others hand it over.
        let bound = if after.is_alive() {
            route
        } else {
            before.route.as_deref()
        };
        let stay = view.holders_to_be(key, bound);
        let stays_at = |node: &NodeId| stay.contains(node);
        let mut nodes: Vec<NodeId> = view.holders(key, route).iter().cloned().collect();
        nodes.extend(stay.iter().filter(|_| view.has_joining()).cloned());
        if before.route.as_deref() != route {
            let before = before.route.as_deref();
            nodes.extend(view.holders(key, before).iter().cloned());
            // Or else a node that joins becomes a holder by the route it knows.
            let joining = view.has_joining().then(|| view.holders_to_be(key, before));
            nodes.extend(joining.iter().flat_map(Holders::iter).cloned());
        }
        Some(Targets {
            stays_here: stays_at(&self.config.node),
            nodes: nodes
                .into_iter()
                .map(|node| {
                    let stays = stays_at(&node);
                    (node, stays)
                })
                .collect(),
        })
    }

    /// The digests of the buckets, counting what this node and `node` both hold. `None` while they are being made anew
    /// after a change of the view.
    pub(in crate::engine) fn digests_for(&mut self, node: &NodeId) -> Option<Vec<u64>> {
        self.look_through();
        let Some(placement) = &self.backup.placement else {
            return Some(self.table.digests().collect());
        };
        if placement.stale_from < BUCKETS {
            return None;
        }
        let shared = placement.buckets.iter();
        let mut digests: Vec<u64> = shared
            .map(|shared| shared.common ^ shared.with.get(node).copied().unwrap_or(0))
            .collect();
        self.leave_out_unproven(node, &mut digests);
        Some(digests)
    }

    /// Whether the digests for `node` count the session, which is here: both are to hold it.
    pub(in crate::engine) fn is_counted_with(
        &self,
        node: &NodeId,
        key: &SessionKey,
        record: &Record,
    ) -> bool {
        let Some(placement) = &self.backup.placement else {
            return false;
        };
        let route = record.route.as_ref().map(|r| &*r.value);
        let holders = placement.view().holders(key, route);
        holders.contains(&self.config.node) && holders.contains(node)
    }

    /// Whether digests are up to date.
    pub(in crate::engine) fn has_digests(&self) -> bool {
        self.backup
            .placement
            .as_ref()
            .is_none_or(|placement| placement.stale_from >= BUCKETS)
    }

    /// Where a session is before it changes.
    pub(in crate::engine) fn location(&self, key: &SessionKey) -> Location {
        match &self.backup.placement {
            Some(_) => self.table.get(key).map(Location::of).unwrap_or_default(),
            None => Location::default(),
        }
    }

    /// A session that was at `before` has changed.
    pub(in crate::engine) fn moved_from(&mut self, key: &SessionKey, before: &Location) {
        let Some(placement) = &mut self.backup.placement else {
            return;
        };
        let record = self.table.get(key);
        if !record.is_some_and(Record::is_alive) {
            self.backup.unproven.remove(key);
            self.backup.handoff.forget(key);
        }
        let after = record.map(Location::of).unwrap_or_default();
        if let Some(shared) = placement.buckets.get_mut(key.bucket()) {
            let own = &self.config.node;
            shared.toggle(own, key, before.route.as_deref(), before.digest);
            shared.toggle(own, key, after.route.as_deref(), after.digest);
        }
        let Some(record) = record.filter(|_| !key.is_reserved()) else {
            return;
        };
        let Some(placement) = &self.backup.placement else {
            return;
        };
        if record.is_alive() {
            if !self.is_held_here(key, record) {
                self.backup.unproven.remove(key);
                self.backup.handoff.add(key.clone());
            }
        } else if before.digest != 0 {
            let holders = placement.view().holders(key, before.route.as_deref());
            if !holders.contains(&self.config.node) {
                let holders: Vec<_> = holders.iter().cloned().collect();
                self.backup.tombstones.add(key.clone(), holders);
            }
        }
    }

    /// The view that members and workers make; `None` where every node holds every session.
    fn current_view(&self) -> Option<View> {
        let Mode::Backup { copies } = self.config.mode else {
            return None;
        };
        let (mut ready, mut coming) = (Vec::new(), Vec::new());
        for (node, member) in self.members.roster().active() {
            let list = if member.ready { &mut ready } else { &mut coming };
            list.push(node.clone());
        }
        match self.phase {
            Phase::Ready => ready.push(self.config.node.clone()),
            Phase::Joining { .. } => coming.push(self.config.node.clone()),
            Phase::Leaving => {}
        }
        let owners = self.workers.rows().iter().filter_map(|worker| {
            let node = NodeId::parse(&worker.node).ok()?;
            Some((worker.route.clone(), node))
        });
        Some(View::new(ready, coming, owners.collect(), copies))
    }

    /// Whether the view is that of the members and workers of now.
    pub(in crate::engine) fn is_view_current(&self) -> bool {
        let kept = self.backup.placement.as_ref();
        kept.is_none_or(|placement| Some(&*placement.view) == self.current_view().as_ref())
    }

    /// Members or workers have changed: where sessions belong may have, too.
    pub(in crate::engine) fn refresh_view(&mut self, now: Now) {
        let Some(view) = self.current_view() else { return };
        let slack_ms = ms(self.config.clocks.max_skew + 2 * self.config.swim.drop_time);
        let Some(placement) = self
            .backup
            .placement
            .as_mut()
            .filter(|placement| *placement.view != view)
        else {
            return;
        };
        placement.missed.follow(
            (&placement.view, &view),
            &self.config.node,
            |node| self.members.met_ms(node),
            (self.members.time_ms(now), slack_ms),
        );
        placement.view = Arc::new(view);
        placement.changed = now.mono;
        placement.stale_from = 0;
        self.repair.hurry(now.mono + COMPARE_SOON, self.peers.len());
    }

    /// Looks through some of the buckets that were last looked through under an earlier view.
    pub(in crate::engine) fn refresh_placement(&mut self) {
        self.look_through();
        self.more_work |= !self.has_digests();
    }

    fn look_through(&mut self) {
        let Some(placement) = &mut self.backup.placement else {
            return;
        };
        let (own, view) = (&self.config.node, placement.view.clone());
        let since_ms = placement.missed.since_ms();
        let mut looked_at = 0;
        while placement.stale_from < BUCKETS && looked_at < SESSIONS_PER_LOOK {
            let index = placement.stale_from;
            placement.stale_from += 1;
            let (Some(shared), Some(bucket)) = (placement.buckets.get_mut(index), self.table.bucket(index))
            else {
                continue;
            };
            let fresh = Shared {
                view: view.clone(),
                ..Shared::default()
            };
            let before = std::mem::replace(shared, fresh).view;
            for (key, record) in bucket.iter() {
                looked_at += 1;
                let over_ms = record.lifecycle.last_end().wall_ms();
                let ended = !record.is_alive() || !record.lifecycle.fates.is_empty();
                if ended && over_ms >= since_ms {
                    let holders = view.holders(key, None);
                    let missed =
                        |node: &&NodeId| *node != own && placement.missed.may_be(node, &before, key, over_ms);
                    let owed = holders.iter().filter(missed).cloned();
                    self.backup.tombstones.add(key.clone(), owed.collect());
                }
                if !record.is_alive() {
                    continue;
                }
                let route = record.route.as_ref().map(|r| &*r.value);
                shared.toggle(own, key, route, record.digest());
                if key.is_reserved() {
                    continue;
                }
                // A node that joins gives nothing away of what it is about to hold.
                let is_held = view.holders(key, route).contains(own)
                    || (view.has_joining() && view.holders_to_be(key, route).contains(own));
                if !is_held {
                    self.backup.unproven.remove(key);
                    self.backup.handoff.add(key.clone());
                } else if self.backup.handoff.take_back(key) {
                    self.backup.unproven.add(key.clone(), placement.changed);
                }
            }
        }
        if placement.stale_from >= BUCKETS {
            placement.missed.came_ms.clear();
        }
    }
}
