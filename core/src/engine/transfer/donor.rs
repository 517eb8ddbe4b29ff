//! Sending parts of the table to nodes that ask for them, without keeping anything else waiting.
//!
//! A donor makes one chunk per call, and serves a few receivers at a time; to any other it says that it is busy, and
//! they ask somebody else, or again a little later. So a storm of joining nodes costs it no more than a few of them.

use crate::base::clock::Now;
use crate::base::id::{NodeId, SessionKey};
use crate::base::limits::{CHUNK_BYTES, CHUNK_RECORDS_MAX, PULLS_KEPT_MAX, RECORD_BYTES_MAX, SERVED_FOR};
use crate::engine::{Engine, Output, Phase};
use crate::replication::message::Message;
use crate::replication::transfer::{Cursor, Pull};
use crate::session::Record;

impl Engine {
    /// `node` asks for a chunk.
    pub(in crate::engine) fn on_pull(&mut self, node: &NodeId, pull: Pull, now: Now) {
        self.serving
            .retain(|_, last| now.mono.saturating_sub(*last) < SERVED_FOR);
        let has_room = self.serving.len() < self.config.donor_transfers || self.serving.contains_key(node);
        if !has_room || self.phase != Phase::Ready {
            self.counters.transfers_refused += 1;
            let request = pull.request;
            self.send(node, Message::Busy { request });
            return;
        }
        if let Some(peer) = self.peers.get_mut(node) {
            self.serving.insert(node.clone(), now.mono);
            if peer.wanted.len() >= PULLS_KEPT_MAX {
                peer.wanted.pop_front();
            }
            peer.wanted.push_back(pull);
            self.outputs.push(Output::Wake(node.clone(), peer.chunk_stream()));
        }
    }

    /// The chunk that answers `pull`. A session too large for one piece goes beside it, as changes.
    pub(in crate::engine) fn chunk(&mut self, to: &NodeId, pull: &Pull) -> Message {
        let (mut records, mut bytes, mut seen) = (Vec::new(), 0, 0);
        let mut large = Vec::new();
        let mut next = None;
        let mut after = pull.cursor.after.as_ref();
        let mut index = pull.cursor.bucket;
        'buckets: while let Some(bucket) = self.table.bucket(index) {
            if pull.buckets.contains(index) {
                let mut last: Option<&SessionKey> = after;
                for (key, record) in bucket.ordered(after) {
                    if bytes >= pull.bytes.min(CHUNK_BYTES) || seen >= CHUNK_RECORDS_MAX {
                        next = Some(Cursor {
                            bucket: index,
                            after: last.cloned(),
                        });
                        break 'buckets;
                    }
                    seen += 1;
                    last = Some(key);
                    // A copy that is not kept is no part of the table.
                    if self.is_shared(to, key, record) && (!record.is_alive() || !self.is_unproven(key)) {
                        let size = record.size();
                        bytes += size + key.id().len();
                        let to = if size > RECORD_BYTES_MAX {
                            &mut large
                        } else {
                            &mut records
                        };
                        to.push((key.clone(), Record::clone(record)));
                    }
                }
            }
            after = None;
            index += 1;
        }
        for (key, record) in large {
            self.push(to, &key, &record);
        }
        Message::Chunk {
            request: pull.request,
            records,
            next,
        }
    }
}
