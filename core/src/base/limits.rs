//! The bounds that are not configurable, each with what happens when it is reached.
//!
//! Bounds that only one file needs are in that file.

use std::time::Duration;

/// The largest session, names and values together, in bytes. A change that would pass it is refused (413).
pub const SESSION_BYTES_MAX: usize = 4 << 20;
/// The largest frame between nodes, in bytes. A longer one closes the link.
pub const FRAME_MAX: usize = 64 << 20;
/// The largest record that is sent in one piece, in bytes as [`crate::session::Record::size`] counts. A larger one is
/// split by its attributes, so that whatever is sent fits into a frame. Room for two full sessions.
pub const RECORD_BYTES_MAX: usize = 8 << 20;
/// How many bytes of deltas one frame carries before the next is begun.
pub const BATCH_BYTES: usize = 64 << 10;
/// How many bytes of sessions one chunk of a state transfer carries before the next is asked for.
pub const CHUNK_BYTES: usize = 256 << 10;
/// The most control messages waiting for one link. Past it the link is closed and repaired by a new one.
pub const CONTROL_QUEUE_MAX: usize = 4096;
/// The most members one node tracks. A hello beyond it is refused.
pub const MEMBERS_MAX: usize = 1024;
/// How many nodes it is kept of how far they were received from. Past it what came from nodes that are no members goes.
pub const INBOUND_MAX: usize = 2 * MEMBERS_MAX;
/// How long a member that failed or left stays in the roster. After that all that is kept of it is dropped.
pub const FORGET_GONE_AFTER: Duration = REDIAL_DOWN_FOR;
/// The most workers one node may declare; a configuration or an announcement with more is refused.
pub const WORKERS_MAX: usize = 256;
/// The largest API request body, in bytes; a larger one is answered 413. Holds one full session in base64.
pub const API_BODY_MAX: usize = 8 << 20;
/// The most callers waiting for copies at once. One more is answered at once with the count that is true then.
pub const WAITERS_MAX: usize = 65_536;
/// The most connections one API listener serves at once. Further ones wait in the kernel's backlog.
pub const API_CONNECTIONS_MAX: usize = 4096;
/// How long past its idle limit a session stays in memory, unreadable, so that a touch under way still counts.
pub const EXPIRY_GRACE: Duration = Duration::from_millis(500);
/// The most listeners to events at once. One more is answered 503.
pub const EVENT_LISTENERS_MAX: usize = 64;
/// How many events are kept for a listener that is slow to take them. Past it the oldest go, and it is told how many.
pub const EVENTS_KEPT: usize = 4096;
/// How many attributes one event names; further ones are counted.
pub const EVENT_NAMES_MAX: usize = 16;
/// How long a TLS handshake and the hello after it may take.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest pause between two attempts to make one link, before jitter.
pub const REDIAL_PAUSE_MAX: Duration = Duration::from_secs(2);
/// How long a node keeps dialling the address of a member that is down and is not a seed, and how long the workers of
/// such a member stay in the worker table.
pub const REDIAL_DOWN_FOR: Duration = Duration::from_secs(24 * 3600);
/// How long the workers of a node that left stay in the worker table. A restart for an upgrade takes less.
pub const LEFT_REMEMBERED_FOR: Duration = Duration::from_secs(3600);
/// How long a route is known whose worker nobody declares any more: ids that carry it are still cut at it.
pub const ROUTE_REMEMBERED_FOR: Duration = Duration::from_secs(7 * 24 * 3600);
/// The most such routes. Past it the oldest is forgotten.
pub const DEPARTED_ROUTES_MAX: usize = 1024;
/// How many ranges of a table one donor is asked for at a time: while one chunk is being applied, the next is made.
pub const PULLS_PER_DONOR: usize = 2;
/// How many unanswered pulls of one peer a donor keeps; the oldest goes, its asker having given it up most likely.
pub const PULLS_KEPT_MAX: usize = 4;
/// How long after its last pull a receiver counts as being served, among the `donor_transfers` a donor serves.
pub const SERVED_FOR: Duration = Duration::from_millis(250);
/// How many records one chunk looks at before the next is asked for, however few of them the receiver shares.
pub const CHUNK_RECORDS_MAX: usize = 1024;
/// How long a donor may leave a pull unanswered before another is asked as well.
pub const PULL_TIMEOUT: Duration = Duration::from_secs(5);
