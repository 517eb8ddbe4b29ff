//! The watch of the worker table: decides at every tick of a root context which VM fetches it, and when.
//!
//! ```text
//! every VM      tick ──► shared version changed? ──► load the shared table
//! one VM of     tick ──► lease free, or own? ──► write lease ──► GET the table (long poll) ──► share it
//! the process              │ held by another VM: wait
//! ```
//! The lease is the time until which its holder fetches. The holder renews it well before, so that another VM takes
//! over soon after a holder died. The worker table service takes the lease from any other holder. While the core is
//! unreachable the last table stays in use: a stale table routes better than none, and the proxy retries requests
//! that reach a dead worker. Pure: the host calls are made by [`crate::tables`].

use limpet_wire::table::TableVersion;

/// The length of a lease, in milliseconds.
pub const LEASE_MS: u64 = 2_000;
/// A holder renews its lease when less than this is left of it, in milliseconds.
pub const RENEW_MS: u64 = 1_000;
/// How often a VM without the lease reads it, in milliseconds.
pub const LEASE_CHECK_MS: u64 = 250;
/// How long the core holds a fetch while the table does not change or is not complete yet, in milliseconds.
pub const WAIT_MS: u64 = 2_000;
/// The timeout of one fetch in the proxy, in milliseconds.
pub const FETCH_TIMEOUT_MS: u64 = 5_000;
/// After this a fetch without a reply is given up, in milliseconds; the proxy's timeout should have ended it before.
pub const FETCH_LOST_MS: u64 = FETCH_TIMEOUT_MS + 1_000;
/// The shortest time from the start of one fetch to the start of the next, in milliseconds: no busy loop where a core
/// does not hold fetches.
pub const FETCH_GAP_MS: u64 = 20;
/// The first pause after a failed fetch, in milliseconds; it doubles.
pub const BACKOFF_FIRST_MS: u64 = 50;
/// The longest pause after a failed fetch, in milliseconds.
pub const BACKOFF_MAX_MS: u64 = 1_000;

/// What a tick finds due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Due {
    /// The shared table is not the one in use: load it.
    pub load: bool,
    /// Read the lease and hand it to [`Watch::lease`].
    pub lease: bool,
}

/// The watch of one VM.
#[derive(Debug, Default)]
pub struct Watch {
    service: bool,
    seen_version: Vec<u8>,
    table_version: Option<TableVersion>,
    held_until: Option<u64>,
    lease_check_at: u64,
    fetch: Option<Fetch>,
    next_fetch_at: u64,
    failures: u32,
}

#[derive(Debug, Clone, Copy)]
struct Fetch {
    token: u32,
    started: u64,
}

impl Watch {
    /// Makes this VM the worker table service, which takes the lease from other holders.
    pub fn serve(&mut self) {
        self.service = true;
    }

    /// A tick at `now`, with the shared version as it is.
    pub fn tick(&mut self, shared_version: Option<&[u8]>, now: u64) -> Due {
        if self
            .fetch
            .is_some_and(|fetch| now.saturating_sub(fetch.started) >= FETCH_LOST_MS)
        {
            self.on_failure(now);
        }
        let load = shared_version.is_some_and(|version| version != self.seen_version);
        if let (true, Some(version)) = (load, shared_version) {
            self.seen_version = version.to_vec();
        }
        let idle = self.fetch.is_none() && now >= self.next_fetch_at;
        let lease = match self.held_until {
            Some(until) => until < now.saturating_add(RENEW_MS) || idle,
            None if self.service => idle,
            None => now >= self.lease_check_at || self.lease_check_at > now.saturating_add(LEASE_CHECK_MS),
        };
        Due { load, lease }
    }

    /// A loaded or fetched table is now in use.
    pub fn on_loaded(&mut self, version: TableVersion) {
        self.table_version = Some(version);
    }

    /// The lease was read. `Some`: write this in its place; `None`: another VM holds it.
    pub fn lease(&mut self, found: Option<u64>, now: u64) -> Option<u64> {
        self.lease_check_at = now.saturating_add(LEASE_CHECK_MS);
        let own = self.held_until.is_some() && found == self.held_until;
        // A lease that ends later than any can was written before the clock was set back.
        let free = found.is_none_or(|until| until <= now || until > now.saturating_add(2 * LEASE_MS));
        if own || free || self.service {
            Some(now.saturating_add(LEASE_MS))
        } else {
            self.held_until = None;
            None
        }
    }

    /// The lease `until` was written (`won`), or another VM wrote one first. `true`: fetch now.
    pub fn on_lease_written(&mut self, until: u64, won: bool, now: u64) -> bool {
        self.held_until = won.then_some(until);
        won && self.fetch.is_none() && now >= self.next_fetch_at
    }

    /// The version of the table in use; a fetch names it as known.
    #[must_use]
    pub fn table_version(&self) -> Option<TableVersion> {
        self.table_version
    }

    /// A fetch was started under `token`. Where it could not be, use [`Self::on_failure`].
    pub fn on_fetch_started(&mut self, token: u32, now: u64) {
        self.fetch = Some(Fetch { token, started: now });
    }

    /// Whether a reply under `token` belongs to the fetch, which it ends. Follow with [`Self::on_success`] or
    /// [`Self::on_failure`].
    pub fn on_reply(&mut self, token: u32) -> bool {
        let Some(fetch) = self.fetch.take_if(|fetch| fetch.token == token) else {
            return false;
        };
        self.next_fetch_at = fetch.started.saturating_add(FETCH_GAP_MS);
        true
    }

    /// The core answered with a table, or that there is no newer one.
    pub fn on_success(&mut self) {
        self.failures = 0;
    }

    /// The fetch could not be started, got no answer, or an unusable one.
    pub fn on_failure(&mut self, now: u64) {
        self.fetch = None;
        let pause = BACKOFF_FIRST_MS
            .saturating_mul(1 << self.failures.min(10))
            .min(BACKOFF_MAX_MS);
        self.failures = self.failures.saturating_add(1);
        self.next_fetch_at = now.saturating_add(pause);
    }

    /// Whether `fetched` replaces the table in use: another core's, or a newer one of the same core.
    #[must_use]
    pub fn is_newer(&self, fetched: TableVersion) -> bool {
        self.table_version
            .is_none_or(|own| own.epoch != fetched.epoch || own.number < fetched.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: u64 = 1_700_000_000_000;

    /// One tick with the lease in `shared`; returns whether a fetch starts.
    fn step(watch: &mut Watch, shared: &mut Option<u64>, now: u64) -> bool {
        if !watch.tick(None, now).lease {
            return false;
        }
        let Some(until) = watch.lease(*shared, now) else {
            return false;
        };
        *shared = Some(until);
        watch.on_lease_written(until, true, now)
    }

    #[test]
    fn one_fetches_and_the_other_takes_over_when_it_dies() {
        let (mut one, mut two, mut shared) = (Watch::default(), Watch::default(), None);
        assert!(step(&mut one, &mut shared, T0));
        one.on_fetch_started(4, T0);
        assert!(!step(&mut two, &mut shared, T0));
        for now in (T0..T0 + 4_000).step_by(10) {
            assert!(!step(&mut one, &mut shared, now), "a fetch is in flight");
            assert!(
                !step(&mut two, &mut shared, now),
                "the first one renews its lease"
            );
        }
        let died = T0 + 4_000;
        let takeover = (died..died + 10_000)
            .step_by(10)
            .find(|now| step(&mut two, &mut shared, *now));
        assert!(
            takeover.is_some_and(|now| now <= died + LEASE_MS + LEASE_CHECK_MS),
            "{takeover:?}"
        );
    }

    #[test]
    fn the_service_takes_the_lease_from_whoever_has_it() {
        let (mut filter, mut service, mut shared) = (Watch::default(), Watch::default(), None);
        service.serve();
        assert!(step(&mut filter, &mut shared, T0));
        filter.on_fetch_started(4, T0);
        assert!(step(&mut service, &mut shared, T0 + 10));
        service.on_fetch_started(8, T0 + 10);
        assert!(filter.on_reply(4));
        filter.on_success();
        for now in (T0 + 100..T0 + 5_000).step_by(10) {
            assert!(!step(&mut filter, &mut shared, now), "the service fetches");
            step(&mut service, &mut shared, now);
        }
    }

    #[test]
    fn a_lost_race_for_the_lease_fetches_nothing() {
        let mut watch = Watch::default();
        assert!(watch.tick(None, T0).lease);
        let until = watch.lease(None, T0).unwrap();
        assert!(!watch.on_lease_written(until, false, T0));
        assert!(
            !watch.tick(None, T0 + 10).lease,
            "reads the lease again only after a pause"
        );
        assert!(watch.tick(None, T0 + LEASE_CHECK_MS).lease);
    }

    #[test]
    fn failures_back_off_and_success_resets() {
        let mut watch = Watch::default();
        let mut pauses = Vec::new();
        for _ in 0..8 {
            watch.on_failure(T0);
            pauses.push(watch.next_fetch_at - T0);
        }
        assert_eq!(pauses.first(), Some(&BACKOFF_FIRST_MS));
        assert_eq!(pauses.last(), Some(&BACKOFF_MAX_MS));
        watch.on_success();
        watch.on_failure(T0);
        assert_eq!(watch.next_fetch_at - T0, BACKOFF_FIRST_MS);
    }

    #[test]
    fn a_fetch_without_a_reply_is_given_up() {
        let (mut watch, mut shared) = (Watch::default(), None);
        assert!(step(&mut watch, &mut shared, T0));
        watch.on_fetch_started(4, T0);
        let again = (T0..T0 + 20_000)
            .step_by(10)
            .find(|now| step(&mut watch, &mut shared, *now));
        assert!(again.is_some_and(|now| now >= T0 + FETCH_LOST_MS), "{again:?}");
        assert!(!watch.on_reply(4), "a late reply is ignored");
    }

    #[test]
    fn a_reply_to_another_call_leaves_the_fetch_in_flight() {
        let (mut watch, mut shared) = (Watch::default(), None);
        assert!(step(&mut watch, &mut shared, T0));
        watch.on_fetch_started(4, T0);
        assert!(!watch.on_reply(8), "the reply to a report, for example");
        assert!(!step(&mut watch, &mut shared, T0 + 10), "no second fetch");
        assert!(watch.on_reply(4));
    }

    #[test]
    fn a_clock_set_back_does_not_stop_the_watch() {
        let (mut watch, mut shared) = (Watch::default(), Some(T0 + 3_600_000));
        watch.lease_check_at = T0 + 3_600_000;
        assert!(step(&mut watch, &mut shared, T0));
    }

    #[test]
    fn loads_each_shared_version_once() {
        let mut watch = Watch::default();
        assert!(watch.tick(Some(b"1.1"), T0).load);
        assert!(!watch.tick(Some(b"1.1"), T0).load);
        assert!(watch.tick(Some(b"1.2"), T0).load);
    }

    #[test]
    fn older_tables_of_the_same_core_are_not_newer() {
        let mut watch = Watch::default();
        let version = |epoch, number| TableVersion { epoch, number };
        assert!(watch.is_newer(version(5, 5)));
        watch.on_loaded(version(5, 5));
        for (epoch, number, newer) in [
            (5, 5, false),
            (5, 4, false),
            (5, 6, true),
            (4, 9, true),
            (6, 0, true),
        ] {
            assert_eq!(watch.is_newer(version(epoch, number)), newer, "{epoch}.{number}");
        }
    }
}
