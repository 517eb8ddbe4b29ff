//! The keys of the token cookie: when one is made, which are kept, which one seals.
//!
//! They are attributes of one of the cluster's own sessions, so they are replicated, transferred and repaired like
//! everything else. A node that is ready and knows no key makes one; later the first ready node by name makes the next.
//! Two nodes that do so at once leave two keys, and that is well: every key opens, and all nodes agree on the one that
//! seals. The secret is made of random bytes of the operating system, which the engine asks for
//! ([`Output::Entropy`]) and is handed ([`Engine::add_entropy`]). Sealing and opening belong to [`limpet_wire::token`].

use std::cmp::Reverse;
use std::sync::LazyLock;
use std::time::Duration;

use limpet_wire::token::TokenKey;

use crate::base::clock::Now;
use crate::base::id::SessionKey;
use crate::engine::sessions::Patch;
use crate::engine::{Engine, Output, Phase};
use crate::session::{Record, Stamp};

/// How long a key seals before another is made, in milliseconds.
const KEY_LIFE_MS: u64 = 7 * 24 * 3_600_000;
/// How old a key must be before it seals while there is an older one, in milliseconds.
const KEY_SETTLE_MS: u64 = 60_000;
/// How many keys are kept: a token lives at least one key life after it was sealed.
const KEYS_KEPT: usize = 3;
/// How long entropy that was asked for may take before it is asked for again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Random bytes for one key: 4 of its id and 32 of its secret.
pub type Entropy = [u8; 36];

#[derive(Debug, Clone)]
struct StoredKey {
    /// When it was made, in milliseconds since 1970.
    made_ms: u64,
    key: TokenKey,
}

/// The keys there are, the youngest first.
#[derive(Debug, Clone, Default)]
pub(super) struct TokenKeys {
    stored: Vec<StoredKey>,
    /// Changes with every change of the keys.
    version: Stamp,
    /// When entropy for another was asked for.
    asked: Option<Duration>,
}

impl TokenKeys {
    /// Takes over the keys in `record`.
    pub(super) fn read(&mut self, record: Option<&Record>) {
        let values = record.into_iter().flat_map(Record::values);
        self.stored = values.filter_map(|(name, value)| stored(name, value)).collect();
        self.stored
            .sort_by_key(|stored| (Reverse(stored.made_ms), stored.key.id));
        self.version = record.map(Record::version).unwrap_or_default();
    }

    /// Changes with every change of the keys. One that comes of age changes which key seals without changing this:
    /// filters learn of it with the next table, and every key opens until then.
    pub(super) const fn version(&self) -> Stamp {
        self.version
    }

    /// Whether a key is to be made: there is none, or the youngest has sealed for long enough and it is for this node,
    /// the `first` by name, to make the next.
    fn is_due(&self, first: bool, now_ms: u64) -> bool {
        let youngest = self.stored.first().map(|stored| stored.made_ms);
        youngest.is_none_or(|made| first && now_ms.saturating_sub(made) > KEY_LIFE_MS)
    }

    /// Whether to ask for entropy now; if so, not again for a while.
    fn ask(&mut self, now: Duration) -> bool {
        let waits = self.asked.is_some_and(|at| now.saturating_sub(at) < ASK_AGAIN);
        if !waits {
            self.asked = Some(now);
        }
        !waits
    }

    /// The change that adds a key made of `entropy` and removes those that are too many.
    fn addition(&mut self, entropy: &Entropy, now_ms: u64) -> Patch {
        self.asked = None;
        let [a, b, c, d, secret @ ..] = entropy;
        let id = u32::from_le_bytes([*a, *b, *c, *d]);
        let value: Vec<u8> = now_ms.to_le_bytes().into_iter().chain(*secret).collect();
        let old = self.stored.iter().skip(KEYS_KEPT - 1);
        Patch {
            set: vec![(name(id), value.into())],
            remove: old.map(|old| name(old.key.id)).collect(),
            ..Patch::default()
        }
    }

    /// The keys, the one that seals first: the youngest that is old enough for every node to know it.
    pub(super) fn sealing_first(&self, now_ms: u64) -> Vec<TokenKey> {
        let settled = |stored: &StoredKey| now_ms.saturating_sub(stored.made_ms) >= KEY_SETTLE_MS;
        let mut keys: Vec<_> = self.stored.iter().map(|stored| stored.key.clone()).collect();
        // Where none is settled yet, the oldest is known to most.
        let sealing = self.stored.iter().position(settled).or(keys.len().checked_sub(1));
        if let Some(sealing) = sealing {
            let first = keys.remove(sealing);
            keys.insert(0, first);
        }
        keys
    }
}

/// The session that holds the keys.
pub(super) fn session() -> &'static SessionKey {
    static KEY: LazyLock<SessionKey> = LazyLock::new(|| SessionKey::reserved("limpet", "token-keys"));
    &KEY
}

fn name(id: u32) -> String {
    format!("{id:08x}")
}

fn stored(name: &str, value: &[u8]) -> Option<StoredKey> {
    let (made, secret) = value.split_at_checked(8)?;
    Some(StoredKey {
        made_ms: u64::from_le_bytes(made.try_into().ok()?),
        key: TokenKey {
            id: u32::from_str_radix(name, 16).ok()?,
            secret: secret.try_into().ok()?,
        },
    })
}

impl Engine {
    /// Asks for entropy when a key is to be made.
    pub(in crate::engine) fn rotate_keys(&mut self, now: Now) {
        if self.is_key_due(now) && self.workers.keys.ask(now.mono) {
            self.outputs.push(Output::Entropy);
        }
    }

    /// Random bytes of the operating system, which [`Output::Entropy`] asked for. They become a token key, unless the
    /// cluster has got one meanwhile.
    pub fn add_entropy(&mut self, entropy: &Entropy, now: Now) {
        if !self.is_key_due(now) {
            return;
        }
        let patch = self.workers.keys.addition(entropy, self.members.time_ms(now));
        if let Err(error) = self.patch(session(), patch, now) {
            tracing::error!(%error, "no token key was made");
        }
        self.settle(now);
    }

    fn is_key_due(&self, now: Now) -> bool {
        let comes_later =
            |(node, member): (&_, &crate::membership::Member)| !member.ready || *node > self.config.node;
        self.phase == Phase::Ready
            && self.workers.keys.is_due(
                self.members.roster().active().all(comes_later),
                self.members.time_ms(now),
            )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{Attributes, Register};

    const DAY_MS: u64 = 24 * 3_600_000;

    /// The record after `patch` was made at `now_ms`.
    fn after(keys: &TokenKeys, patch: Patch, now_ms: u64) -> Record {
        let stamp = Stamp {
            time: now_ms << 16,
            node: 1,
        };
        let register = |value| Register {
            life: stamp,
            stamp,
            value: Some(value),
        };
        let known = keys.stored.iter().map(|stored| {
            let secret = stored.key.secret;
            let value: Vec<u8> = stored.made_ms.to_le_bytes().into_iter().chain(secret).collect();
            (name(stored.key.id), value.into())
        });
        let kept = known.filter(|(name, _)| !patch.remove.contains(name));
        let all = kept.chain(patch.set.clone());
        Record {
            attributes: Attributes::from_iter(all.map(|(name, value)| (name.into(), register(value)))),
            ..Record::default()
        }
    }

    fn add(keys: &mut TokenKeys, byte: u8, now_ms: u64) {
        let patch = keys.addition(&[byte; 36], now_ms);
        let record = after(keys, patch, now_ms);
        keys.read(Some(&record));
    }

    fn ids(keys: &TokenKeys, now_ms: u64) -> Vec<u32> {
        keys.sealing_first(now_ms).iter().map(|key| key.id).collect()
    }

    #[test]
    fn a_key_is_made_of_all_the_entropy() {
        let mut keys = TokenKeys::default();
        let mut entropy = [0; 36];
        (0..).zip(&mut entropy).for_each(|(n, byte)| *byte = n);
        let patch = keys.addition(&entropy, 1);
        let record = after(&keys, patch, 1);
        keys.read(Some(&record));
        let key = keys.sealing_first(1).remove(0);
        assert_eq!(key.id, u32::from_le_bytes([0, 1, 2, 3]));
        assert_eq!(key.secret[..], entropy[4..]);
    }

    #[test]
    fn the_first_key_is_made_by_anybody_and_later_ones_by_the_first_node_when_the_last_is_old() {
        let mut keys = TokenKeys::default();
        assert!(keys.is_due(false, 0));
        add(&mut keys, 1, 0);
        assert!(!keys.is_due(true, 7 * DAY_MS));
        assert!(keys.is_due(true, 7 * DAY_MS + 1));
        assert!(!keys.is_due(false, 8 * DAY_MS));
    }

    #[test]
    fn a_new_key_opens_at_once_and_seals_when_it_has_settled() {
        let mut keys = TokenKeys::default();
        add(&mut keys, 1, 0);
        assert_eq!(ids(&keys, 0), [0x0101_0101], "there is no other");
        add(&mut keys, 2, DAY_MS);
        assert_eq!(ids(&keys, DAY_MS), [0x0101_0101, 0x0202_0202]);
        assert_eq!(ids(&keys, DAY_MS + KEY_SETTLE_MS), [0x0202_0202, 0x0101_0101]);
    }

    #[test]
    fn of_many_keys_the_youngest_are_kept() {
        let mut keys = TokenKeys::default();
        for n in 1..=5 {
            add(&mut keys, n, u64::from(n) * DAY_MS);
        }
        assert_eq!(ids(&keys, 9 * DAY_MS), [0x0505_0505, 0x0404_0404, 0x0303_0303]);
    }

    #[test]
    fn entropy_is_asked_for_again_after_a_while_only() {
        let mut keys = TokenKeys::default();
        assert!(keys.ask(Duration::ZERO));
        assert!(!keys.ask(ASK_AGAIN / 2));
        assert!(keys.ask(ASK_AGAIN));
    }

    #[test]
    fn what_is_no_key_is_ignored() {
        assert!(stored("xyz", &[0; 40]).is_none(), "a name that is no number");
        assert!(stored("00000001", &[0; 39]).is_none(), "a short secret");
        assert!(stored("00000001", &[0; 7]).is_none(), "no time");
    }
}
