//! Who fetches the worker table, and when: pure decisions, made at every tick of a root context.
//!
//! ```text
//! every VM      tick ──► the published version changed? ──► load the published table
//! one VM of     tick ──► lease free, or mine? ──► write lease ──► GET the table (long poll) ──► publish
//! the process              │ somebody else's: wait
//! ```
//! The lease is a time until which its writer promises to fetch; it is renewed well before, so when its VM dies
//! somebody else fetches a moment later. A VM that is the process's table service takes the lease whoever has it.
//! While the core is away the last table stays in use: a stale table routes better than none, and the proxy's
//! retries do the rest. No sockets, no clock, no shared data here: [`crate::tables`] has the hands.

use limpet_wire::table::TableVersion;

/// How long a lease promises to fetch, in milliseconds.
pub const LEASE_MS: u64 = 2_000;
/// A lease with less than this left is renewed by its holder, in milliseconds.
pub const RENEW_MS: u64 = 1_000;
/// How often a VM that does not fetch looks whether it must, in milliseconds.
pub const LOOK_MS: u64 = 250;
/// How long the core holds a fetch that finds nothing new, in milliseconds.
pub const WAIT_MS: u64 = 2_000;
/// The proxy's limit for one fetch, in milliseconds.
pub const CALL_MS: u64 = 5_000;
/// After this a fetch without a reply is forgotten, because the proxy's own limit should have ended it.
pub const CALL_LOST_MS: u64 = CALL_MS + 1_000;
/// The shortest time from the start of one fetch to the start of the next, in milliseconds: a core that answers
/// at once with nothing new is not asked in a busy loop.
pub const GAP_MS: u64 = 20;
/// The first pause after a failed fetch, in milliseconds; it doubles.
pub const BACKOFF_FIRST_MS: u64 = 50;
/// The longest pause after a failed fetch, in milliseconds.
pub const BACKOFF_MAX_MS: u64 = 1_000;

/// What a tick asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wants {
    /// The published table is not the one in use: load it.
    pub load: bool,
    /// Read the lease and hand it to [`Watch::lease`].
    pub lease: bool,
}

/// The state of one VM.
#[derive(Debug, Default)]
pub struct Watch {
    service: bool,
    seen: Vec<u8>,
    have: Option<TableVersion>,
    mine: Option<u64>,
    look_at: u64,
    call: Option<Call>,
    fetch_at: u64,
    failures: u32,
}

#[derive(Debug, Clone, Copy)]
struct Call {
    token: u32,
    started: u64,
}

impl Watch {
    /// From now on this VM is the process's table service and takes the lease from others.
    pub fn serve(&mut self) {
        self.service = true;
    }

    /// A tick at `now`, with the published version as it stands.
    pub fn tick(&mut self, published: Option<&[u8]>, now: u64) -> Wants {
        if self
            .call
            .is_some_and(|call| now.saturating_sub(call.started) >= CALL_LOST_MS)
        {
            self.failed(now);
        }
        let load = published.is_some_and(|version| version != self.seen);
        if let (true, Some(version)) = (load, published) {
            self.seen = version.to_vec();
        }
        let idle = self.call.is_none() && now >= self.fetch_at;
        let lease = match self.mine {
            Some(until) => until < now.saturating_add(RENEW_MS) || idle,
            None if self.service => idle,
            None => now >= self.look_at || self.look_at > now.saturating_add(LOOK_MS),
        };
        Wants { load, lease }
    }

    /// The published table was loaded, or the fetched one is now in use.
    pub fn loaded(&mut self, version: TableVersion) {
        self.have = Some(version);
    }

    /// The lease was read. `Some` is what to write in its place; `None`: somebody else fetches.
    pub fn lease(&mut self, found: Option<u64>, now: u64) -> Option<u64> {
        self.look_at = now.saturating_add(LOOK_MS);
        let mine = self.mine.is_some() && found == self.mine;
        // A lease far ahead of now was written before the clock was set back.
        let free = found.is_none_or(|until| until <= now || until > now.saturating_add(2 * LEASE_MS));
        if mine || free || self.service {
            Some(now.saturating_add(LEASE_MS))
        } else {
            self.mine = None;
            None
        }
    }

    /// The lease `until` was written, or another VM was quicker. `true`: fetch now.
    pub fn leased(&mut self, until: u64, won: bool, now: u64) -> bool {
        self.mine = won.then_some(until);
        won && self.call.is_none() && now >= self.fetch_at
    }

    /// The version a fetch names as known.
    #[must_use]
    pub fn after(&self) -> Option<TableVersion> {
        self.have
    }

    /// A fetch was started under `token`, or could not be.
    pub fn called(&mut self, token: Option<u32>, now: u64) {
        match token {
            Some(token) => self.call = Some(Call { token, started: now }),
            None => self.failed(now),
        }
    }

    /// Whether a reply under `token` is for the fetch; it is then over. Follow with [`Self::answered`] or
    /// [`Self::failed`].
    pub fn take_call(&mut self, token: u32) -> bool {
        let ours = self.call.is_some_and(|call| call.token == token);
        if let (true, Some(call)) = (ours, self.call.take()) {
            self.fetch_at = call.started.saturating_add(GAP_MS);
        }
        ours
    }

    /// The core answered, with a table or with nothing new.
    pub fn answered(&mut self) {
        self.failures = 0;
    }

    /// The core did not answer, or with nothing that can be used.
    pub fn failed(&mut self, now: u64) {
        self.call = None;
        let pause = BACKOFF_FIRST_MS
            .saturating_mul(1 << self.failures.min(10))
            .min(BACKOFF_MAX_MS);
        self.failures = self.failures.saturating_add(1);
        self.fetch_at = now.saturating_add(pause);
    }

    /// Whether `fetched` may take the place of the table in use: another core's, or a later one of the same.
    #[must_use]
    pub fn is_news(&self, fetched: TableVersion) -> bool {
        self.have
            .is_none_or(|have| have.epoch != fetched.epoch || have.number < fetched.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: u64 = 1_700_000_000_000;

    /// One tick with the lease kept in `shared`; says whether a fetch starts.
    fn step(watch: &mut Watch, shared: &mut Option<u64>, now: u64) -> bool {
        if !watch.tick(None, now).lease {
            return false;
        }
        let Some(until) = watch.lease(*shared, now) else {
            return false;
        };
        *shared = Some(until);
        watch.leased(until, true, now)
    }

    #[test]
    fn one_fetches_and_the_other_takes_over_when_it_dies() {
        let (mut one, mut two, mut shared) = (Watch::default(), Watch::default(), None);
        assert!(step(&mut one, &mut shared, T0));
        one.called(Some(4), T0);
        assert!(!step(&mut two, &mut shared, T0));
        for now in (T0..T0 + 4_000).step_by(10) {
            assert!(!step(&mut one, &mut shared, now), "a call is under way");
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
            takeover.is_some_and(|now| now <= died + LEASE_MS + LOOK_MS),
            "{takeover:?}"
        );
    }

    #[test]
    fn the_service_takes_the_lease_from_whoever_has_it() {
        let (mut filter, mut service, mut shared) = (Watch::default(), Watch::default(), None);
        service.serve();
        assert!(step(&mut filter, &mut shared, T0));
        filter.called(Some(4), T0);
        assert!(step(&mut service, &mut shared, T0 + 10));
        service.called(Some(8), T0 + 10);
        assert!(filter.take_call(4));
        filter.answered();
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
        assert!(!watch.leased(until, false, T0));
        assert!(!watch.tick(None, T0 + 10).lease, "looks again only after a while");
        assert!(watch.tick(None, T0 + LOOK_MS).lease);
    }

    #[test]
    fn failures_back_off_and_success_resets() {
        let mut watch = Watch::default();
        let mut pauses = Vec::new();
        for _ in 0..8 {
            watch.failed(T0);
            pauses.push(watch.fetch_at - T0);
        }
        assert_eq!(pauses.first(), Some(&BACKOFF_FIRST_MS));
        assert_eq!(pauses.last(), Some(&BACKOFF_MAX_MS));
        watch.answered();
        watch.failed(T0);
        assert_eq!(watch.fetch_at - T0, BACKOFF_FIRST_MS);
    }

    #[test]
    fn a_call_without_a_reply_is_forgotten() {
        let (mut watch, mut shared) = (Watch::default(), None);
        assert!(step(&mut watch, &mut shared, T0));
        watch.called(Some(4), T0);
        let again = (T0..T0 + 20_000)
            .step_by(10)
            .find(|now| step(&mut watch, &mut shared, *now));
        assert!(again.is_some_and(|now| now >= T0 + CALL_LOST_MS), "{again:?}");
        assert!(!watch.take_call(4), "a late reply is nobody's");
    }

    #[test]
    fn a_clock_set_back_does_not_stop_the_watch() {
        let (mut watch, mut shared) = (Watch::default(), Some(T0 + 3_600_000));
        watch.look_at = T0 + 3_600_000;
        assert!(step(&mut watch, &mut shared, T0));
    }

    #[test]
    fn loads_each_published_version_once() {
        let mut watch = Watch::default();
        assert!(watch.tick(Some(b"1.1"), T0).load);
        assert!(!watch.tick(Some(b"1.1"), T0).load);
        assert!(watch.tick(Some(b"1.2"), T0).load);
    }

    #[test]
    fn older_tables_of_the_same_core_are_no_news() {
        let mut watch = Watch::default();
        let version = |epoch, number| TableVersion { epoch, number };
        assert!(watch.is_news(version(5, 5)));
        watch.loaded(version(5, 5));
        for (epoch, number, news) in [
            (5, 5, false),
            (5, 4, false),
            (5, 6, true),
            (4, 9, true),
            (6, 0, true),
        ] {
            assert_eq!(watch.is_news(version(epoch, number)), news, "{epoch}.{number}");
        }
    }
}
