//! Sessions this node should hold and others only keep for it, in `backup` mode: what it lacks of an offer it takes,
//! a few at a time, because whole sessions may be many and large. What it took it need not be offered again.
//!
//! Deliberately absent: what is done about an answer that never comes. The session is offered again
//! ([`crate::engine::backup::handoff`]).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::base::clock::Now;
use crate::base::id::{NodeId, SessionKey};
use crate::engine::Engine;
use crate::replication::message::Message;
use crate::session::Record;

/// How many sessions one node is asked for at a time.
const WINDOW: usize = 8;
/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is being taken, by the node that offered it. Holds at most one offer of each node.
#[derive(Debug, Default)]
pub(in crate::engine) struct HandoffPulls(BTreeMap<NodeId, HandoffPull>);

#[derive(Debug, Default)]
struct HandoffPull {
    /// The digest each session was offered with that is still to be asked for.
    lacking: BTreeMap<SessionKey, u64>,
    asked: BTreeMap<u64, Asked>,
    /// The digest each session of the last offer had when it was taken.
    taken: BTreeMap<SessionKey, u64>,
}

#[derive(Debug)]
struct Asked {
    key: SessionKey,
    digest: u64,
    until: Duration,
}

impl HandoffPulls {
    /// Whether `node` keeps a session as it was when it was taken from there.
    pub(in crate::engine) fn has(&self, node: &NodeId, key: &SessionKey, digest: u64) -> bool {
        let pull = self.0.get(node);
        pull.is_some_and(|pull| pull.taken.get(key) == Some(&digest))
    }
}

impl Engine {
    /// `node` has offered the sessions `offered`; those in `lacking` are not here as they are there.
    pub(in crate::engine) fn take(
        &mut self,
        node: &NodeId,
        offered: &BTreeSet<SessionKey>,
        lacking: BTreeMap<SessionKey, u64>,
        now: Now,
    ) {
        let pull = self.backup.handoff_pulls.0.entry(node.clone()).or_default();
        pull.taken.retain(|key, _| offered.contains(key));
        pull.lacking = lacking;
        for asked in pull.asked.values() {
            pull.lacking.remove(&asked.key);
        }
        self.ask_for_lacking(node, now);
    }

    fn ask_for_lacking(&mut self, node: &NodeId, now: Now) {
        let Some(pull) = self.backup.handoff_pulls.0.get_mut(node) else {
            return;
        };
        let mut messages = Vec::new();
        while pull.asked.len() < WINDOW
            && let Some((key, digest)) = pull.lacking.pop_first()
        {
            let request = self.ids.next_request();
            let asked = Asked {
                key: key.clone(),
                digest,
                until: now.mono + PATIENCE,
            };
            pull.asked.insert(request, asked);
            messages.push(Message::Fetch { request, key });
        }
        for message in messages {
            self.send(node, message);
        }
    }

    /// An answer of `node`. Says whether it is one to what was asked here.
    pub(in crate::engine) fn on_handoff_record(
        &mut self,
        node: &NodeId,
        request: u64,
        key: &SessionKey,
        record: Option<&Record>,
        now: Now,
    ) -> bool {
        let Some(pull) = self.backup.handoff_pulls.0.get_mut(node) else {
            return false;
        };
        if let Some(fragment) = record.filter(|record| record.is_fragment())
            && pull.asked.get(&request).is_some_and(|asked| asked.key == *key)
        {
            self.apply(node, vec![(key.clone(), fragment.clone())], now);
            return true; // the rest follows
        }
        let Some(Asked { digest, .. }) = pull.asked.remove(&request).filter(|asked| asked.key == *key) else {
            return false;
        };
        let unknown = !self.is_whole(key);
        // What has changed there since is offered as it is now.
        if let Some(record) = record
            && self.apply(node, vec![(key.clone(), record.clone())], now).total() == 0
            && record.digest_with_end() == digest
            && let Some(pull) = self.backup.handoff_pulls.0.get_mut(node)
        {
            pull.taken.insert(key.clone(), digest);
        }
        if unknown {
            self.note_unproven(vec![key.clone()], now);
        }
        self.ask_for_lacking(node, now);
        true
    }

    /// What was not answered in time is left for the next offer.
    pub(in crate::engine) fn progress_handoff_pulls(&mut self, now: Now) {
        let peers = &self.peers;
        self.backup.handoff_pulls.0.retain(|node, pull| {
            pull.asked.retain(|_, asked| now.mono < asked.until);
            peers.contains_key(node)
        });
    }
}
