//! Getting what is missing: the whole table when joining, the differing buckets ever after.
//!
//! A node that has just linked to a peer, or was cut off from it, or whose outbox for it overflowed, finds out by
//! comparing digests; what differs is pulled. Both sides do the same, so both end with the join of both tables.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Engine, Phase};
use crate::base::clock::Now;
use crate::base::id::{NodeId, SessionKey};
use crate::base::limits::{CHUNK_BYTES, REPAIR_INTERVAL};
use crate::replication::digest::Buckets;
use crate::replication::message::Message;
use crate::replication::transfer::{Cursor, Pull, Transfer};
use crate::session::Record;

/// How long a node waits before it asks for the table again after its clock made it refuse what it got.
const JOIN_AGAIN: Duration = Duration::from_secs(1);

/// How long a joining node waits for members to compare tables with, beside the one it got its table from.
const CHECK_PATIENCE: Duration = Duration::from_secs(2);

/// The last step of joining: members that are still to be compared with, and until when.
#[derive(Debug)]
pub(super) struct Check {
    members: BTreeSet<NodeId>,
    until: Duration,
}

impl Engine {
    /// Takes the next step of joining, if there is one to take.
    pub(super) fn progress_join(&mut self, now: Now) {
        let Phase::Joining { since } = self.phase else {
            return;
        };
        if self.checking.is_some() {
            self.check_next(now);
            return;
        }
        if let Some(transfer) = &self.transfer {
            let donor = transfer.donor();
            if transfer.is_stalled(now.mono) || !self.peers.get(donor).is_some_and(super::Peer::is_linked) {
                self.replace_donor(now);
            }
            return;
        }
        if now.mono < self.next_join {
            return;
        }
        if let Some(donor) = self.donor(None) {
            tracing::info!(peer = %donor, "asks for the sessions");
            self.begin_transfer(donor, Buckets::ALL, now);
            return;
        }
        let known: Vec<_> = self.roster.iter().filter(|(_, m)| m.active || m.linked).collect();
        let alone = known.is_empty() && self.seeds_untried.is_empty();
        let first_of_equals = self.seeds_untried.is_empty()
            && known.iter().all(|(node, member)| {
                let announced = self.peers.get(*node).is_some_and(|peer| peer.announced);
                member.linked && announced && !member.ready && *node > &self.config.node
            });
        let waited = now.mono.saturating_sub(since) >= self.config.state_transfer_timeout;
        if waited && !alone {
            tracing::error!("nobody who has the sessions answered in time; starts without them");
        }
        if alone || first_of_equals || waited {
            self.become_ready(now);
        }
    }

    fn become_ready(&mut self, now: Now) {
        let received = self.transfer.take().map_or(0, |transfer| transfer.received());
        self.phase = Phase::Ready;
        self.checking = None;
        self.refused_by_clock = false;
        self.next_repair = now.mono + REPAIR_INTERVAL;
        tracing::info!(sessions = self.sessions(), received, "ready");
        self.rotate_keys(now);
        self.announce();
        let nodes: Vec<_> = self.peers.keys().cloned().collect();
        nodes.iter().for_each(|node| self.say_digest(node));
        self.refresh_table();
    }

    /// A linked member that has the whole table, other than `not`.
    fn donor(&self, not: Option<&NodeId>) -> Option<NodeId> {
        let fits = |(node, member): &(&NodeId, &crate::membership::Member)| {
            member.linked && member.ready && !member.leaving && Some(*node) != not
        };
        self.roster.iter().find(fits).map(|(node, _)| node.clone())
    }

    fn begin_transfer(&mut self, donor: NodeId, buckets: Buckets, now: Now) {
        self.next_request += 1 << 20; // room for one transfer's requests
        let (transfer, pull) = Transfer::begin(donor.clone(), self.next_request, buckets, now.mono);
        self.transfer = Some(transfer);
        self.say(&donor, Message::Pull(pull));
    }

    /// The donor is gone or silent: another goes on where it stopped. Where there is none, a joining node waits
    /// for one, and a repair is left to the next comparison.
    pub(super) fn replace_donor(&mut self, now: Now) {
        let Some(transfer) = &self.transfer else { return };
        let old = transfer.donor().clone();
        let Some(next) = self.donor(Some(&old)).or_else(|| self.donor(None)) else {
            self.transfer = None;
            return;
        };
        tracing::warn!(peer = %old, next = %next, "stopped sending sessions; another goes on");
        let Some(transfer) = &mut self.transfer else {
            return;
        };
        let pull = transfer.switch(next.clone(), now.mono);
        self.say(&next, Message::Pull(pull));
    }

    /// The chunk that answers `pull`.
    pub(super) fn chunk(&self, to: &NodeId, pull: &Pull) -> Message {
        let (mut records, mut bytes, mut next) = (Vec::new(), 0, None);
        let mut after = pull.cursor.after.as_ref();
        let mut index = pull.cursor.bucket;
        'buckets: while let Some(bucket) = self.table.bucket(index) {
            if pull.buckets.contains(index) {
                let shared = bucket.ordered(after).into_iter();
                for (key, record) in shared.filter(|(key, record)| self.is_shared(to, key, record)) {
                    if bytes >= CHUNK_BYTES {
                        let after = records.last().map(|(key, _): &(SessionKey, Record)| key.clone());
                        let after = after.filter(|last| last.bucket() == index);
                        next = Some(Cursor { bucket: index, after });
                        break 'buckets;
                    }
                    bytes += record.size() + key.id.len();
                    records.push((key.clone(), record.clone()));
                }
            }
            after = None;
            index += 1;
        }
        Message::Chunk {
            request: pull.request,
            records,
            next,
        }
    }

    pub(super) fn hear_chunk(
        &mut self,
        node: &NodeId,
        request: u64,
        records: Vec<(SessionKey, Record)>,
        next: Option<Cursor>,
        now: Now,
    ) {
        if !self
            .transfer
            .as_ref()
            .is_some_and(|transfer| transfer.expects(node, request))
        {
            return; // a late answer of a donor that was replaced
        }
        let count = records.len();
        let refused = self.apply_table(node, records, now);
        self.counters.transfer_sessions_received += (count - refused) as u64;
        if refused > 0 && matches!(self.phase, Phase::Joining { .. }) {
            // A table with holes is not a table. The clock is what has to be put right; then it goes better.
            tracing::error!(
                refused,
                "sessions were refused for their stamps; does this node's clock run behind?"
            );
            self.refused_by_clock = true;
            self.transfer = None;
            self.checking = None;
            self.next_join = now.mono + JOIN_AGAIN;
            return;
        }
        let Some(transfer) = &mut self.transfer else {
            return;
        };
        if let Some(pull) = transfer.advance(count, next, now.mono) {
            self.say(node, Message::Pull(pull));
        } else if matches!(self.phase, Phase::Joining { .. }) {
            self.transfer = None;
            if self.checking.is_none() {
                self.begin_check(now);
            } else {
                self.ask_members();
                self.check_next(now);
            }
        } else {
            self.transfer = None;
        }
    }

    /// The donor's table is here. Another member may have changed something just before it linked to this node and
    /// just after the donor had sent that bucket; so every member is compared with, once it can answer.
    fn begin_check(&mut self, now: Now) {
        let members: Vec<_> = self.roster.active().map(|(node, _)| node.clone()).collect();
        let until = now.mono + CHECK_PATIENCE;
        self.checking = Some(Check {
            members: members.into_iter().collect(),
            until,
        });
        self.ask_members();
        self.check_next(now);
    }

    fn ask_members(&mut self) {
        let members: Vec<_> = self
            .checking
            .iter()
            .flat_map(|check| check.members.iter().cloned())
            .collect();
        members.iter().for_each(|node| self.say(node, Message::Compare));
    }

    /// A member answered: what differs is pulled, one member after the other.
    fn hear_digest_while_checking(&mut self, node: &NodeId, differing: Buckets, now: Now) {
        if self.transfer.is_some() {
            return; // asked again when that is done
        }
        let Some(check) = &mut self.checking else { return };
        if check.members.remove(node) && differing != Buckets::NONE {
            self.begin_transfer(node.clone(), differing, now);
        } else {
            self.check_next(now);
        }
    }

    /// Ready, once every member that can be compared with was.
    fn check_next(&mut self, now: Now) {
        let Some(check) = &mut self.checking else { return };
        let roster = &self.roster;
        check.members.retain(|node| {
            roster
                .get(node)
                .is_some_and(|member| member.active && !member.leaving)
        });
        // A member that is joining itself answers when it is ready; one that cannot be reached does not answer.
        let all_joining = check
            .members
            .iter()
            .all(|node| roster.get(node).is_some_and(|m| m.linked && !m.ready));
        let over = now.mono >= check.until;
        if self
            .transfer
            .as_ref()
            .is_some_and(|transfer| !transfer.is_stalled(now.mono))
            && !over
        {
            return;
        }
        if check.members.is_empty() || all_joining || over {
            self.become_ready(now);
        }
    }

    /// Tells `node` what this table holds, once it is whole, and once more what this node is: whatever was missed is
    /// put right by the same round.
    pub(super) fn say_digest(&mut self, node: &NodeId) {
        if self.phase == Phase::Ready {
            self.say(node, Message::Announce(self.announcement()));
            let digests = self.digests_for(node);
            self.say(node, Message::Digest(digests));
        }
    }

    /// Compares tables with every linked peer from time to time.
    pub(super) fn progress_repair(&mut self, now: Now) {
        if self.phase != Phase::Ready {
            return;
        }
        if self
            .transfer
            .as_ref()
            .is_some_and(|transfer| transfer.is_stalled(now.mono))
        {
            self.transfer = None;
        }
        let behind: Vec<_> = self
            .peers
            .iter_mut()
            .filter_map(|(node, peer)| {
                (peer.is_linked() && peer.outboxes.take_behind()).then(|| node.clone())
            })
            .collect();
        for node in behind {
            tracing::warn!(peer = %node, "fell behind; changes for it were dropped and it will repair itself");
            self.counters.behind += 1;
            self.say_digest(&node);
        }
        if now.mono >= self.next_repair {
            self.next_repair = now.mono + REPAIR_INTERVAL;
            let nodes: Vec<_> = self.peers.keys().cloned().collect();
            nodes.iter().for_each(|node| self.say_digest(node));
        }
    }

    /// A peer says what its table holds. What differs now and differed the last time is pulled: what differs only
    /// now may still be on its way. The first comparison after a link came up is not given that time.
    pub(super) fn hear_digest(&mut self, node: &NodeId, digests: &[u64], now: Now) {
        let differing = Buckets::differing(self.digests_for(node).into_iter(), digests);
        if self.phase != Phase::Ready {
            self.hear_digest_while_checking(node, differing, now);
            return;
        }
        let Some(peer) = self.peers.get_mut(node) else {
            return;
        };
        let lasting = differing.intersection(&peer.differed);
        let wanted = if peer.compared { lasting } else { differing.clone() };
        peer.compared = true;
        peer.differed = differing;
        self.counters.mismatched_buckets = u64::from(wanted.count());
        if wanted != Buckets::NONE && self.transfer.is_none() {
            self.counters.repairs += 1;
            tracing::info!(peer = %node, buckets = wanted.count(), "tables differ; pulls what differs");
            self.begin_transfer(node.clone(), wanted, now);
        }
    }
}
