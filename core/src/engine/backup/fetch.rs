//! Fetches: a session that is not here, or not all of it, is asked of those that may have it before anybody is told that
//! there is no such session.
//!
//! The likeliest node is asked first, then all others that may have it, and the store where one is attached. Where none of
//! them keeps the session, every member is asked that is left, also one that is leaving: this node may not know whom the
//! session is bound to by now. Silence is never taken for an answer that there is nothing. Waiting callers belong to
//! [`crate::drivers`].

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::base::clock::Now;
use crate::base::id::{NodeId, SessionKey};
use crate::base::limits::RECORD_BYTES_MAX;
use crate::engine::sessions::Refused;
use crate::engine::{Engine, Output, Phase};
use crate::replication::message::Message;
use crate::session::Record;

/// The most sessions asked for at a time. One more is answered as if nobody could be reached.
const FETCHES_MAX: usize = 4096;
/// How long the likeliest node has, and then the others.
const PATIENCE: Duration = Duration::from_millis(500);
/// How many nodes are asked where every node holds every session.
const ASKED_MAX: usize = 8;
/// How many nodes are asked that held a session before the last change of the members.
const SPARE: usize = 2;

/// Numbers a fetch.
pub type FetchId = u64;

/// Every fetch under way.
#[derive(Debug, Default)]
pub(in crate::engine) struct Fetches(BTreeMap<FetchId, Fetch>);

/// Whom a session is asked of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    Peer(NodeId),
    /// The store behind the table.
    Store,
}

#[derive(Debug)]
struct Fetch {
    key: SessionKey,
    /// Still to be asked.
    others: Vec<Source>,
    asked: BTreeSet<Source>,
    /// Everybody who was asked, answered or not.
    tried: BTreeSet<NodeId>,
    /// Whether all members were asked that may have the session, and not the likely ones alone.
    wide: bool,
    /// Whether somebody was asked and did not answer.
    unanswered: bool,
    until: Duration,
}

impl Fetches {
    /// Ends all of them.
    pub(in crate::engine) fn drain(&mut self) -> impl Iterator<Item = FetchId> {
        std::mem::take(&mut self.0).into_keys()
    }
}

impl Engine {
    /// Whether the session of `key` has to be fetched before it can be read or changed here.
    #[must_use]
    pub fn must_fetch(&self, key: &SessionKey, now: Now) -> bool {
        if self.phase != Phase::Ready || key.is_reserved() {
            return false;
        }
        let found = self.find(key, now);
        if matches!(found, Err(Refused::Incomplete)) {
            return true;
        }
        if found.is_err() && self.may_be_stored(key) {
            return true;
        }
        match found {
            Ok(record) => self.backup.placement.is_some() && !self.is_kept(key, record),
            Err(_) => !self.has_all_there_is(key, now),
        }
    }

    /// Whether there is no session of `key` anywhere, if there is none here: this node would hold it whatever it were
    /// bound to, and nothing is on its way.
    fn has_all_there_is(&self, key: &SessionKey, now: Now) -> bool {
        self.backup.placement.as_ref().is_none_or(|placement| {
            self.phase == Phase::Ready
                && !self.may_be_stored(key)
                && placement.is_settled(now)
                && !self.has_unknown_holders()
                && self.transfers.is_complete()
                && placement.view().is_certain_holder(&self.config.node, key)
        })
    }

    /// Begins to fetch what there is of `key`; [`Output::Fetched`] says when that is over. `None` when there is nobody
    /// else who could have it.
    ///
    /// # Errors
    /// [`Refused::Unreachable`].
    pub fn fetch(&mut self, key: &SessionKey, now: Now) -> Result<Option<FetchId>, Refused> {
        let stored = self.may_be_stored(key).then_some(Source::Store);
        // Where every node holds every session, a peer has no more than memory of one that memory has nothing of.
        let known = match (&self.backup.placement, &stored) {
            (None, Some(_)) => Vec::new(),
            _ => self.who_may_have(key),
        };
        let unknown = self.has_unknown_holders();
        let (mut reachable, unasked): (Vec<_>, Vec<_>) =
            known.into_iter().partition(|node| self.can_answer(node));
        // Where every node holds every session, one that answers is enough.
        let everywhere = self.backup.placement.is_none();
        let mut unanswered = unknown || !everywhere && !unasked.is_empty();
        // The likely ones may all be gone; then the others are all there is to ask.
        let wide = everywhere || reachable.is_empty();
        if wide {
            let (rest, cut_off) = self.who_else_may_have(&unasked.iter().cloned().collect());
            unanswered |= cut_off;
            reachable.extend(rest);
        }
        if reachable.is_empty() && unasked.is_empty() && stored.is_none() && !unanswered {
            self.give_up_part(key);
            return Ok(None);
        }
        let mut first: Vec<_> = reachable.into_iter().map(Source::Peer).chain(stored).collect();
        let nobody =
            first.iter().all(|source| *source == Source::Store) && (!unasked.is_empty() || unanswered);
        if nobody || self.backup.fetches.0.len() >= FETCHES_MAX {
            return Err(Refused::Unreachable);
        }
        let others = first.split_off(1);
        let id = self.ids.next_request();
        let fetch = Fetch {
            key: key.clone(),
            others,
            asked: BTreeSet::new(),
            tried: BTreeSet::new(),
            wide,
            unanswered,
            until: now.mono + PATIENCE,
        };
        self.backup.fetches.0.insert(id, fetch);
        self.ask(id, first);
        Ok(Some(id))
    }

    /// Whether a member that is alive, and that this node cannot ask, may hold any session: it has never said whether it has
    /// any.
    fn has_unknown_holders(&self) -> bool {
        let has_announced = |node: &NodeId| self.peers.get(node).is_some_and(|peer| peer.announced);
        let mut active = self.members.roster().active();
        self.backup.placement.is_some()
            && (self.lacks_parts()
                || active.any(|(node, member)| !member.linked && !member.ready && !has_announced(node)))
    }

    /// Whether nothing is here of a session that members which are down, and have not left, may have alone: as many as
    /// hold one. Whoever asks for it must not be told that there is none. After `state_transfer_timeout` that is given up, as
    /// by a node that starts. A change may still begin a session: either side of a cut goes on.
    #[must_use]
    pub fn may_be_cut_off_from(&self, key: &SessionKey, now: Now) -> bool {
        let Some(placement) = &self.backup.placement else {
            return false;
        };
        let waited = |since: Duration| {
            let timeout = self.config.state_transfer_timeout;
            timeout.is_none_or(|timeout| now.mono.saturating_sub(since) < timeout)
        };
        let members = self.members.roster().iter();
        let down = members.filter(|(_, member)| !member.active && !member.leaving && member.ready);
        let down = down.filter(|(_, member)| waited(member.since)).count();
        down > placement.view().copies() && self.table.get(key).is_none()
    }

    /// The members to ask for a session, likeliest first.
    fn who_may_have(&self, key: &SessionKey) -> Vec<NodeId> {
        let likely = match &self.backup.placement {
            Some(placement) => {
                let record = self.table.get(key);
                let route = record.and_then(|record| record.route.as_ref()).map(|r| &*r.value);
                let mut nodes: Vec<NodeId> = Vec::new();
                nodes.extend(route.and_then(|_| placement.view().holders(key, route).iter().next().cloned()));
                nodes.extend(placement.view().likely(key, SPARE));
                nodes
            }
            None => self
                .members
                .roster()
                .active()
                .map(|(node, _)| node.clone())
                .take(ASKED_MAX)
                .collect(),
        };
        let mut known = BTreeSet::new();
        likely
            .into_iter()
            .filter(|node| *node != self.config.node && known.insert(node.clone()))
            .collect()
    }

    /// The other members that may have a session, in `backup` mode, beside `known`: those that are ready, and those that are
    /// leaving and may be the last to have it. Says also whether one that is ready cannot be asked.
    fn who_else_may_have(&self, known: &BTreeSet<NodeId>) -> (Vec<NodeId>, bool) {
        let (mut rest, mut cut_off) = (Vec::new(), false);
        if self.backup.placement.is_none() {
            return (rest, cut_off);
        }
        let members = self.members.roster().iter();
        for (node, member) in members.filter(|(node, _)| !known.contains(*node)) {
            if self.can_answer(node) || member.linked && member.leaving {
                rest.push(node.clone());
            } else {
                cut_off |= member.active && member.ready && !member.leaving;
            }
        }
        (rest, cut_off)
    }

    pub(in crate::engine) fn can_answer(&self, node: &NodeId) -> bool {
        let member = self.members.roster().get(node);
        member.is_some_and(|member| member.linked && member.ready && !member.leaving)
    }

    fn ask(&mut self, id: FetchId, sources: Vec<Source>) {
        let Some(fetch) = self.backup.fetches.0.get_mut(&id) else {
            return;
        };
        fetch.asked.extend(sources.iter().cloned());
        fetch
            .tried
            .extend(sources.iter().filter_map(|source| match source {
                Source::Peer(node) => Some(node.clone()),
                Source::Store => None,
            }));
        let key = fetch.key.clone();
        for source in sources {
            let key = key.clone();
            match source {
                Source::Peer(node) => self.send(&node, Message::Fetch { request: id, key }),
                Source::Store => self.outputs.push(Output::Load(id, key)),
            }
        }
    }

    /// `node` asks for `key`: it is sent the record, tombstones included, in several messages where it is too large for
    /// one. Nothing is sent while the table is not complete. A node that leaves answers until it is gone.
    pub(in crate::engine) fn on_fetch(&mut self, node: &NodeId, request: u64, key: &SessionKey, now: Now) {
        if matches!(self.phase, Phase::Joining { .. }) {
            return;
        }
        let known = self.table.get(key);
        let kept = match known.filter(|record| record.is_alive()) {
            Some(record) => self.is_kept(key, record),
            // A tombstone may be of an earlier life than others know.
            None => self.has_all_there_is(key, now) && (known.is_some() || self.backup.placement.is_some()),
        };
        let fragments = match known {
            Some(record) => record
                .clone()
                .split(RECORD_BYTES_MAX)
                .into_iter()
                .map(Some)
                .collect(),
            None => vec![None],
        };
        for fragment in fragments {
            let (key, record) = (key.clone(), fragment.map(Box::new));
            self.send(
                node,
                Message::Fetched {
                    request,
                    key,
                    record,
                    kept,
                },
            );
        }
    }

    /// An answer to a fetch: [`Message::Fetched`].
    pub(in crate::engine) fn on_fetched(&mut self, node: &NodeId, answer: Message, now: Now) {
        let Message::Fetched {
            request,
            ref key,
            record,
            kept,
        } = answer
        else {
            return;
        };
        if self.on_handoff_record(node, request, key, record.as_deref(), now) {
            return;
        }
        let Some(fetch) = self.backup.fetches.0.get_mut(&request) else {
            return; // too late
        };
        let source = Source::Peer(node.clone());
        // An answer after its time is as good as one in time.
        if fetch.key != *key || !fetch.tried.contains(node) {
            return;
        }
        if let Some(fragment) = record.as_ref().filter(|record| record.is_fragment()) {
            self.apply(node, vec![(key.clone(), Record::clone(fragment))], now);
            return; // the rest follows
        }
        fetch.asked.remove(&source);
        let unanswered = fetch.unanswered;
        let found = record.is_some();
        if let Some(record) = record {
            self.backup.handoff.keep(key.clone(), now);
            let unknown = !self.is_whole(key);
            self.apply(node, vec![(key.clone(), *record)], now);
            if unknown && !kept {
                self.note_unproven(vec![key.clone()], now);
            }
        }
        let is_last_word = if self.table.get(key).is_some_and(Record::is_alive) {
            found && self.is_known(key)
        } else {
            // That there is no such session is true as long as nobody has come or gone, and all can be asked.
            let placement = self.backup.placement.as_ref();
            placement.is_none_or(|placement| placement.is_settled(now) && !unanswered)
                && !self.may_be_stored(key)
        };
        // Somebody else may keep it, who knows more.
        if kept && is_last_word {
            self.end_fetch(request, true, now);
            return;
        }
        self.progress_fetch(request, now);
    }

    /// Whether memory has all of a session, or knows that it is over.
    fn is_known(&self, key: &SessionKey) -> bool {
        let record = self.table.get(key);
        record.is_some_and(|record| !record.is_alive() || record.is_complete())
    }

    /// The session that the store was asked for; `None` when its answer is not waited for.
    pub(in crate::engine) fn take_load(&mut self, id: FetchId) -> Option<SessionKey> {
        let fetch = self.backup.fetches.0.get_mut(&id)?;
        let key = fetch.key.clone();
        fetch.asked.remove(&Source::Store).then_some(key)
    }

    /// The store has answered, or could not.
    pub(in crate::engine) fn end_load(&mut self, id: FetchId, answered: bool, now: Now) {
        let Some(fetch) = self.backup.fetches.0.get_mut(&id) else {
            return;
        };
        fetch.unanswered |= !answered;
        let key = fetch.key.clone();
        if self.is_known(&key) {
            self.end_fetch(id, true, now);
        } else {
            self.progress_fetch(id, now);
        }
    }

    /// Goes on with fetches that have waited long enough.
    pub(in crate::engine) fn progress_fetches(&mut self, now: Now) {
        let due = self
            .backup
            .fetches
            .0
            .iter()
            .filter(|(_, fetch)| now.mono >= fetch.until);
        let due: Vec<FetchId> = due.map(|(id, _)| *id).collect();
        for id in due {
            if let Some(fetch) = self.backup.fetches.0.get_mut(&id) {
                fetch.unanswered |= !fetch.asked.is_empty();
                fetch.asked.clear();
            }
            self.progress_fetch(id, now);
        }
    }

    /// Asks the others, or ends, once everybody who was asked has answered.
    fn progress_fetch(&mut self, id: FetchId, now: Now) {
        let Some(fetch) = self
            .backup
            .fetches
            .0
            .get_mut(&id)
            .filter(|fetch| fetch.asked.is_empty())
        else {
            return;
        };
        let mut others = std::mem::take(&mut fetch.others);
        if others.is_empty() && !std::mem::replace(&mut fetch.wide, true) {
            let tried = fetch.tried.clone();
            let (rest, cut_off) = self.who_else_may_have(&tried);
            others.extend(rest.into_iter().map(Source::Peer));
            if let Some(fetch) = self.backup.fetches.0.get_mut(&id) {
                fetch.unanswered |= cut_off;
            }
        }
        let Some(fetch) = self.backup.fetches.0.get_mut(&id) else {
            return;
        };
        if others.is_empty() {
            let answered = !fetch.unanswered;
            self.end_fetch(id, answered, now);
        } else {
            fetch.until = now.mono + PATIENCE;
            self.ask(id, others);
        }
    }

    fn end_fetch(&mut self, id: FetchId, answered: bool, now: Now) {
        let fetch = self.backup.fetches.0.remove(&id);
        if answered && let Some(fetch) = fetch {
            self.give_up_part(&fetch.key);
        }
        self.end_proof(id, answered);
        if !self.decide_fetched(id, answered, now) {
            self.outputs.push(Output::Fetched(id, answered));
        }
    }

    /// Everybody has been asked: what is still only a part of a session is the part of none.
    fn give_up_part(&mut self, key: &SessionKey) {
        let part = self
            .table
            .get(key)
            .is_some_and(|record| record.is_alive() && record.is_touch_only());
        if part {
            let before = self.location(key);
            self.table.remove(key);
            self.moved_from(key, &before);
        }
    }
}
