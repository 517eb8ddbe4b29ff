//! Joining: getting the whole table before the node is ready.
//!
//! ```text
//! waiting ─► fetching (from every donor at once) ─► checking (with every member) ─► ready
//! ```
//! Other members may have changed something just before they linked to this node and just after a donor had sent that
//! bucket; so every member that can be reached is compared with before the node calls itself ready.
//!
//! When nobody has the table, which [`super::inquiry`] finds out, the first node by name begins with an empty one. A node
//! that has to refuse a part of it, because its clock is wrong, starts over. A node that made no progress for
//! `state_transfer_timeout` becomes ready with what it has, and says so until it meets a member that has the table. Which
//! ranges are asked of whom is kept by [`crate::replication::transfer`]; answering is in [`super::donor`].

use std::collections::BTreeSet;
use std::time::Duration;

use super::inquiry::{Inquiry, Obstacle};
use super::member_lists::MemberLists;
use super::without_table::{Shortfall, Start};
use crate::base::clock::Now;
use crate::base::id::{NodeId, SessionKey};
use crate::engine::changed::Changed;
use crate::engine::{Engine, Mode, Phase};
use crate::replication::digest::Buckets;
use crate::replication::message::Message;
use crate::replication::transfer::{Cursor, Source};
use crate::session::Record;

/// How long a node waits before it asks for the table again after its clock made it refuse what it got.
const JOIN_AGAIN: Duration = Duration::from_secs(1);
/// How long a joining node waits, in `delta` mode, for members it has no link to. After that it is ready without having
/// compared tables with them; what they alone know is repaired when they are linked.
const CHECK_PATIENCE: Duration = Duration::from_secs(2);
/// The interval of a joining node's announcements.
const ANNOUNCE_AGAIN: Duration = Duration::from_secs(1);
/// How often a member that did not answer is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// What a joining node has done and waits for, and how it went.
#[derive(Debug)]
pub(in crate::engine) struct Joining {
    pub(in crate::engine) step: Step,
    pub(in crate::engine) inquiry: Inquiry,
    pub(in crate::engine) lists: MemberLists,
    /// What kept it from starting without a table when that was last looked at.
    pub(super) obstacle: Option<Obstacle>,
    /// Whom the whole table was asked of, where each has another part of it.
    asked: BTreeSet<NodeId>,
    /// Whether sessions were refused because their stamps are too far ahead.
    pub(in crate::engine) refused_by_clock: bool,
    /// Whether another time was taken after a part of the table had come.
    pub(in crate::engine) another_time: bool,
    next_announce: Duration,
    next_step: Duration,
    pub(super) started: Option<Start>,
    pub(super) shortfall: Option<Shortfall>,
}

impl Joining {
    /// Nothing was done yet; it may begin at `now`.
    pub(in crate::engine) fn new(inquiry: Inquiry, now: Duration) -> Self {
        Self {
            step: Step::Waiting,
            inquiry,
            lists: MemberLists::default(),
            obstacle: None,
            asked: BTreeSet::new(),
            refused_by_clock: false,
            another_time: false,
            next_announce: now,
            next_step: now,
            started: None,
            shortfall: None,
        }
    }

    /// What a node waits for that has not begun to get the table, in a sentence.
    pub(in crate::engine) fn waits_for(&self) -> String {
        let obstacle = self.obstacle.as_ref().map(ToString::to_string);
        obstacle.unwrap_or_else(|| "waiting for a member that has the sessions".into())
    }
}

/// How far a joining node is.
#[derive(Debug)]
pub(in crate::engine) enum Step {
    /// Nobody who has the table was asked yet.
    Waiting,
    /// Ranges of the table are on their way.
    Fetching,
    /// The table is here; members are being compared with.
    Checking(Check),
}

/// Members that are still to be compared with.
#[derive(Debug)]
pub(in crate::engine) struct Check {
    members: BTreeSet<NodeId>,
    /// Members that were compared with.
    compared: BTreeSet<NodeId>,
    /// Until when members without a link are waited for.
    unlinked_until: Duration,
    ask_again: Duration,
}

impl Engine {
    /// Takes the next step of joining, if there is one to take.
    pub(in crate::engine) fn progress_join(&mut self, now: Now) {
        let Phase::Joining { since } = self.phase else {
            return;
        };
        if self.members.is_refused_as_duplicate() {
            return;
        }
        if now.mono >= self.joining.next_announce {
            // A peer that did not know this node yet ignored the last announcement.
            self.joining.next_announce = now.mono + ANNOUNCE_AGAIN;
            self.announce();
        }
        self.drop_lost_donors(now);
        let waited = now.mono.saturating_sub(since);
        let timeout = self.config.state_transfer_timeout;
        if timeout.is_some_and(|timeout| waited >= timeout) {
            self.start_incomplete(waited, now);
            return;
        }
        self.ask_for_lists(now);
        match self.joining.step {
            Step::Checking(_) => self.check_next(now),
            Step::Fetching if self.transfers.is_complete() => self.begin_check(now),
            Step::Waiting | Step::Fetching if now.mono < self.joining.next_step => {}
            Step::Waiting | Step::Fetching => {
                let donors = self.donors();
                if donors.is_empty() {
                    self.start_without_table(now);
                    return;
                }
                let begins = matches!(self.joining.step, Step::Waiting);
                if begins {
                    tracing::info!(donors = donors.len(), "asks for the sessions");
                    self.joining.step = Step::Fetching;
                }
                self.want_table(donors, begins);
                self.start_transfers(now);
            }
        }
    }

    /// Wants the whole table from any donor (`delta`), or each donor's part (`backup`). The check after it finds what this
    /// left out.
    fn want_table(&mut self, donors: Vec<NodeId>, begins: bool) {
        match self.config.mode {
            Mode::Delta if begins => self.transfers.want_all(),
            Mode::Delta => {}
            Mode::Backup { .. } => {
                for donor in donors {
                    if self.joining.asked.insert(donor.clone()) {
                        self.transfers.want(Source::Only(donor), Buckets::ALL);
                    }
                }
            }
        }
    }

    /// Something of the table came, or somebody has it and is busy: that is worth waiting for.
    pub(in crate::engine) fn note_transfer_progress(&mut self, now: Now) {
        if let Phase::Joining { since } = &mut self.phase {
            *since = now.mono;
        }
    }

    pub(super) fn become_ready(&mut self, start: Start, now: Now) {
        debug_assert!(
            matches!(self.phase, Phase::Joining { .. }),
            "only a joining node becomes ready"
        );
        let received = self.transfers.clear();
        self.members.settle_time(self.table.iter().next().is_some(), now);
        self.enter(Phase::Ready);
        self.joining.step = Step::Waiting;
        self.joining.started = Some(start);
        self.joining.asked.clear();
        self.joining.lists = MemberLists::default();
        self.joining.refused_by_clock = false;
        self.repair.put_off(now.mono + self.config.repair_interval);
        self.expiry.forgets_from = now.mono + 2 * self.config.repair_interval;
        tracing::info!(?start, sessions = self.sessions(), received, "ready");
        self.rotate_keys(now);
        self.announce();
        let nodes: Vec<_> = self.peers.keys().cloned().collect();
        nodes.iter().for_each(|node| self.send_summary(node));
    }

    /// A chunk arrived, for whichever purpose it was asked for.
    pub(in crate::engine) fn on_chunk(
        &mut self,
        node: &NodeId,
        request: u64,
        records: Vec<(SessionKey, Record)>,
        next: Option<Cursor>,
        now: Now,
    ) {
        if !self.transfers.expects(node, request) {
            return; // a late answer of a donor that was replaced
        }
        self.note_transfer_progress(now);
        let count = records.len();
        let joining = matches!(self.phase, Phase::Joining { .. });
        let refused = if joining {
            self.apply_table(node, records, now)
        } else {
            self.apply_repair(node, records, now)
        };
        self.counters.transfer_sessions_received += (count - refused.total()) as u64;
        if refused.skewed > 0 && joining {
            // A table with holes is not a table. The clock is what has to be put right; then it goes better.
            tracing::error!(
                refused = refused.skewed,
                "sessions were refused for their stamps; does this node's clock run behind?"
            );
            self.joining.refused_by_clock = true;
            self.transfers.clear();
            self.joining.step = Step::Waiting;
            self.joining.asked.clear();
            self.joining.next_step = now.mono + JOIN_AGAIN;
            return;
        }
        if let Some(pull) = self.transfers.advance(node, request, count, next, now.mono) {
            self.send(node, Message::Pull(pull));
            return;
        }
        if joining && self.transfers.is_complete() && matches!(self.joining.step, Step::Checking(_)) {
            self.ask_members(now);
        }
        if joining {
            self.changed.note(Changed::JOINING);
        } else {
            self.start_transfers(now);
            self.compare_postponed();
        }
    }

    fn begin_check(&mut self, now: Now) {
        let members = self
            .members
            .roster()
            .active()
            .map(|(node, _)| node.clone())
            .collect();
        self.joining.step = Step::Checking(Check {
            members,
            compared: BTreeSet::new(),
            unlinked_until: now.mono + CHECK_PATIENCE,
            ask_again: now.mono,
        });
        self.check_next(now);
    }

    fn ask_members(&mut self, now: Now) {
        let Step::Checking(check) = &mut self.joining.step else {
            return;
        };
        check.ask_again = now.mono + ASK_AGAIN;
        let members: Vec<_> = check.members.iter().cloned().collect();
        members
            .iter()
            .for_each(|node| self.send(node, Message::DigestRequest));
    }

    /// A member answered: what differs is pulled, one member after the other.
    pub(in crate::engine) fn on_digest_while_joining(&mut self, node: &NodeId, differing: Buckets, now: Now) {
        if !matches!(self.phase, Phase::Joining { .. }) {
            return; // it leaves: what it asked for while it joined makes it ready no more
        }
        if !self.transfers.is_complete() {
            return; // asked again when that is done
        }
        let Step::Checking(check) = &mut self.joining.step else {
            return;
        };
        check.compared.insert(node.clone());
        if check.members.remove(node) && differing != Buckets::NONE {
            self.transfers.want(Source::Only(node.clone()), differing);
        }
        self.note_transfer_progress(now);
        self.check_next(now);
    }

    /// What only `node` could send was given up: it has to be compared with again.
    pub(in crate::engine) fn check_again(&mut self, node: &NodeId) {
        self.joining.asked.remove(node);
        if let Step::Checking(check) = &mut self.joining.step {
            check.compared.remove(node);
            check.members.insert(node.clone());
        }
    }

    /// Ready, once every member that can be compared with was.
    fn check_next(&mut self, now: Now) {
        self.want_table(self.donors(), false);
        let Step::Checking(check) = &mut self.joining.step else {
            return;
        };
        if !self.transfers.is_complete() {
            self.start_transfers(now);
            return;
        }
        let roster = self.members.roster();
        check.members.retain(|node| {
            roster
                .get(node)
                .is_some_and(|member| member.active && !member.leaving)
        });
        // A member may have come since, and changed something before its link was up.
        for (node, member) in roster.active() {
            let came = member.linked && member.ready && !check.compared.contains(node);
            if came && check.members.insert(node.clone()) {
                check.ask_again = now.mono;
            }
        }
        let able = |node: &NodeId| {
            roster
                .get(node)
                .is_some_and(|member| member.linked && member.ready)
        };
        if check.members.iter().any(able) {
            if now.mono >= check.ask_again {
                self.ask_members(now);
            }
            return;
        }
        // A member that is joining itself is compared with when it is ready.
        let patience_over = now.mono >= check.unlinked_until;
        let without = self.missing_members();
        let in_parts = matches!(self.config.mode, Mode::Backup { .. });
        if in_parts && (!without.is_empty() || !self.joining.inquiry.has_listened(now.mono)) {
            return; // each has a part that nobody else need have
        }
        if !without.is_empty() && !patience_over {
            return;
        }
        if !without.is_empty() {
            self.counters.joined_without_members += without.len() as u64;
            tracing::warn!(
                ?without,
                "ready without having compared tables with members that cannot be reached"
            );
        }
        self.become_ready(Start::WithTable, now);
    }
}
