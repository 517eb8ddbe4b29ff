//! Stamping anew: what a node stamped while its time was wrong gets the stamps of when it truly happened.
//!
//! A node whose time is corrected (see [`super::members::Correction`]) becomes a later incarnation of itself, keeps its
//! table aside and joins anew. Once it is ready, each record that it kept is moved by as much as the time was wrong, and
//! joins like any other change: it beats nothing newer, and revives nothing that ended. What others lack is sent to them.
//! Until that is done the node serves nothing.
//!
//! What was stamped before the node parted from the others was right, and stays.

use std::collections::BTreeSet;

use super::begin_again::Cause;
use super::members::Correction;
use super::{Engine, Phase};
use crate::base::clock::Now;
use crate::base::id::BUCKETS;
use crate::session::{Record, Shift};
use crate::store::Memory;

/// How many records one call stamps anew, and the rest of a bucket.
const RECORDS_PER_CALL: usize = 500;

/// A table that is to be stamped anew.
#[derive(Debug)]
pub(super) struct Restamp {
    table: Memory,
    /// What the time read minus what the monotonic clock read while it was wrong, in milliseconds.
    offset_ms: i64,
    /// What it read when it was found to be wrong.
    time_ms: u64,
    since_ms: u64,
    right: BTreeSet<u64>,
    next_bucket: usize,
    /// What is moved, and by how much: known once the node has joined.
    shift: Option<Shift>,
}

impl Engine {
    /// Sets this node's time if another stands against it. One that is joining, and took another time after a part of
    /// the table may have come, gets that anew.
    pub(super) fn correct_time(&mut self, now: Now) {
        let joining = matches!(self.phase, Phase::Joining { .. });
        if std::mem::take(&mut self.joining.another_time) && joining {
            let restamp = self.restamp.take();
            self.counters.started_over += 1;
            self.begin_again(Cause::Time(restamp), now);
        }
        if self.phase != Phase::Ready || self.restamp.is_some() {
            return;
        }
        let (offset_ms, time_ms) = (self.members.time_offset_ms(), self.members.time_ms(now));
        let Some(correction) = self.members.correct_time(now) else {
            return;
        };
        let Correction {
            ahead_ms,
            since_ms,
            right,
        } = correction;
        tracing::error!(
            ahead_ms,
            sessions = self.sessions(),
            "this node's time was not the cluster's; takes that, and stamps anew what it holds"
        );
        // A node that was behind since it parted from the others wrote with stamps that beat nothing; moved forward they
        // might beat what ended meanwhile.
        let stays = ahead_ms < 0 && since_ms > 0;
        let restamp = Restamp {
            table: std::mem::take(&mut self.table),
            offset_ms,
            time_ms,
            since_ms: if stays { u64::MAX } else { since_ms },
            right,
            next_bucket: 0,
            shift: None,
        };
        self.counters.time_corrected += 1;
        self.begin_again(Cause::Time(Some(Box::new(restamp))), now);
    }

    /// The table that is to be stamped anew, while there is one.
    #[must_use]
    pub fn kept_aside(&self) -> Option<&Memory> {
        self.restamp.as_ref().map(|restamp| &restamp.table)
    }

    /// What this node last moved, or is moving, when it stamps anew what it holds.
    #[must_use]
    pub fn shift(&self) -> Option<&Shift> {
        let under_way = self.restamp.as_ref().map(|restamp| restamp.shift.as_ref());
        under_way.unwrap_or(self.last_shift.as_deref())
    }

    /// Why this node serves nothing although it has the whole table, in a sentence.
    pub(super) fn time_problem(&self) -> Option<String> {
        if let Some(restamp) = &self.restamp {
            let (done, of) = (restamp.next_bucket, BUCKETS);
            return Some(format!(
                "stamping anew what was stamped by a wrong clock: {done} of {of} parts done"
            ));
        }
        let ahead_ms = self.members.time_error_ms()?;
        Some(format!(
            "this node's time is {ahead_ms} ms ahead of the cluster's and is being corrected"
        ))
    }

    /// Stamps some of the records anew, once this node has joined.
    pub(super) fn stamp_anew(&mut self, now: Now) {
        if self.phase != Phase::Ready {
            return;
        }
        let Some(mut restamp) = self.restamp.take() else {
            return;
        };
        let offset_ms = self.members.time_offset_ms();
        let shift = restamp.shift.take().unwrap_or_else(|| {
            let by_ms = offset_ms.saturating_sub(restamp.offset_ms);
            let right = std::mem::take(&mut restamp.right);
            // Moved back, what was right becomes an older copy of what others hold, which changes nothing. Moved forward
            // it would beat what is newer: what others stamped stays, and what was ahead of the wrong time is theirs.
            let (until_ms, except) = if by_ms > 0 {
                (restamp.time_ms, right)
            } else {
                (u64::MAX, BTreeSet::new())
            };
            Shift {
                by_ms,
                since_ms: restamp.since_ms,
                until_ms,
                except,
            }
        });
        let mut moved = 0;
        while moved < RECORDS_PER_CALL
            && let Some(bucket) = restamp.table.bucket(restamp.next_bucket)
        {
            let records = bucket.ordered(None).into_iter();
            let records: Vec<_> = records
                .map(|(key, record)| (key.clone(), record.clone()))
                .collect();
            for (key, mut record) in records {
                record.shift(&shift);
                restamp.table.remove(&key);
                moved += 1;
                let known = self.table.get(&key);
                if known.is_none_or(|known| known.clone().join(&record)) && record != Record::default() {
                    let version = record.version();
                    self.commit(&key, record, version, now);
                }
            }
            restamp.next_bucket += 1;
        }
        self.counters.restamped += moved as u64;
        if restamp.next_bucket < BUCKETS {
            restamp.shift = Some(shift);
            self.restamp = Some(restamp);
            self.more_work = true;
        } else {
            self.last_shift = Some(Box::new(shift));
            tracing::info!("all is stamped anew");
        }
    }
}
