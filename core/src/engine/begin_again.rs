//! Beginning again: a node that was away for longer than tombstones live, or whose time was wrong, drops its table and
//! joins anew.
//!
//! That it has to is decided by [`super::members`]. What a wrong time stamped is kept by [`super::restamp`]. Here is what
//! survives, and that nobody waits for the rest.

use std::time::Duration;

use super::ids::Ids;
use super::restamp::Restamp;
use super::sessions::Refused;
use super::transfer::inquiry::Inquiry;
use super::transfer::joining::Joining;
use super::workers::Workers;
use super::{Counters, Discarded, Engine, Output, Phase, events};
use crate::base::clock::Now;
use crate::replication::acks::Acks;
use crate::replication::position::StreamId;
use crate::session::Hlc;
use crate::store::Feed;

/// Why a node begins again.
#[derive(Debug)]
pub(in crate::engine) enum Cause {
    /// It was away for longer than tombstones live.
    Away,
    /// It had another time than the cluster; what is to be stamped anew.
    Time(Option<Box<Restamp>>),
}

/// What survives: what was counted, what this node knows by itself of workers, who listens, and every number and stamp
/// that must not be given a second time.
struct Survivors {
    counters: Counters,
    workers: Workers,
    events: events::Events,
    /// `None` where stamps begin anew, because those before were wrong.
    hlc: Option<Hlc>,
    /// Numbers waiters.
    acks: Acks,
    ids: Ids,
    /// What a store has yet to be told.
    feed: Feed,
    /// What callers have yet to carry out.
    outputs: Vec<Output>,
}

impl Engine {
    /// Becomes a later incarnation of itself with an empty table.
    pub(in crate::engine) fn begin_again(&mut self, cause: Cause, now: Now) {
        let joining = matches!(self.phase, Phase::Joining { .. });
        let members = self.members.begin_again(joining, now);
        let mut fresh = Self::begin(self.config.clone(), members, now);
        let survivors = self.take_survivors(matches!(cause, Cause::Time(_)));
        fresh.restore(survivors);
        fresh.joining = Joining::new(Inquiry::of_any_member(now.mono), now.mono);
        fresh.restamp = match cause {
            Cause::Away => None,
            Cause::Time(restamp) => restamp,
        };
        let former = std::mem::replace(self, fresh);
        self.outputs
            .push(Output::Discard(Discarded::Engine(Box::new(former))));
        self.drain_members(now);
    }

    /// Ends waits, fetches, proposals and links, and takes what survives.
    fn take_survivors(&mut self, restamps: bool) -> Survivors {
        let waiters = self.acks.expired(Duration::MAX).into_iter();
        let waits = waiters.map(|(waiter, copies)| Output::Copies(waiter, copies));
        self.outputs.extend(waits);
        let fetches = self.backup.fetches.drain().map(|id| Output::Fetched(id, false));
        self.outputs.extend(fetches);
        let proposals = self.conditional.asked.drain();
        let proposals = proposals.map(|id| Output::Decided(id, Err(Refused::Undecided)));
        self.outputs.extend(proposals);
        for node in self.peers.keys() {
            let streams = StreamId::first(self.config.links);
            let closes = streams.map(|stream| Output::Close(node.clone(), stream));
            self.outputs.extend(closes);
        }
        let sequences = self.peers.values().map(|peer| peer.outboxes().next());
        self.ids.retire_sequences(sequences.max().unwrap_or_default());
        Survivors {
            counters: self.counters,
            workers: self.workers.clone().started_over(),
            events: std::mem::take(&mut self.events),
            hlc: (!restamps).then(|| self.hlc.clone()),
            acks: std::mem::take(&mut self.acks),
            ids: self.ids.clone(),
            feed: std::mem::take(&mut self.feed),
            outputs: std::mem::take(&mut self.outputs),
        }
    }

    fn restore(&mut self, survivors: Survivors) {
        let Survivors {
            counters,
            workers,
            events,
            hlc,
            acks,
            ids,
            feed,
            outputs,
        } = survivors;
        self.counters = counters;
        self.workers = workers;
        self.events = events;
        self.hlc = hlc.unwrap_or_else(|| self.hlc.clone());
        self.acks = acks;
        self.ids = ids;
        self.feed = feed;
        self.outputs = outputs;
    }
}
