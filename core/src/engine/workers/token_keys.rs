//! The keys of the token cookie: attributes of a session of the cluster's own, so that they are replicated,
//! transferred and repaired like everything else.
//!
//! A node that is ready and knows no key makes one. Two that do so at once leave two keys, which is well: every key
//! opens, and all nodes agree on the one that seals, the youngest that is old enough for all to know it.

use limpet_wire::token::TokenKey;

use crate::base::clock::Now;
use crate::base::id::SessionKey;
use crate::engine::sessions::Patch;
use crate::engine::{Engine, Phase};
use crate::session::{Record, Stamp};

/// How long a key seals before another is made, in milliseconds.
const KEY_LIFE_MS: u64 = 7 * 24 * 3_600_000;
/// How old a key must be before it seals while there is an older one, in milliseconds.
const KEY_SETTLE_MS: u64 = 60_000;
/// How many keys are kept: a token lives at least one key life after it was sealed.
const KEYS_KEPT: usize = 3;

struct StoredKey {
    made_ms: u64,
    key: TokenKey,
}

impl Engine {
    /// Makes a key when there is none, or the youngest has sealed long enough.
    pub(in crate::engine) fn rotate_keys(&mut self, now: Now) {
        if self.phase != Phase::Ready {
            return;
        }
        let stored = self.stored_keys();
        let youngest = stored.first().map(|stored| stored.made_ms);
        let first_node = self
            .roster
            .active()
            .all(|(node, m)| !m.ready || *node > self.config.node);
        let due = youngest.is_none_or(|made| first_node && now.wall_ms.saturating_sub(made) > KEY_LIFE_MS);
        if !due {
            return;
        }
        let mut secret = [0; 32];
        let mut id = [0; 4];
        if getrandom::fill(&mut secret).is_err() || getrandom::fill(&mut id).is_err() {
            tracing::error!("the operating system gives no random bytes; no token key was made");
            return;
        }
        let id = u32::from_le_bytes(id);
        let value: Vec<u8> = now.wall_ms.to_le_bytes().into_iter().chain(secret).collect();
        let patch = Patch {
            set: vec![(format!("{id:08x}"), value.into())],
            remove: stored
                .iter()
                .skip(KEYS_KEPT - 1)
                .map(|old| format!("{:08x}", old.key.id))
                .collect(),
            ..Patch::default()
        };
        if let Err(error) = self.patch(&keys_session(), patch, now) {
            tracing::error!(%error, "no token key was made");
        }
    }

    /// The keys, the one that seals first.
    pub(in crate::engine) fn token_keys(&self, now_ms: u64) -> Vec<TokenKey> {
        let mut stored = self.stored_keys();
        let settled = |key: &StoredKey| now_ms.saturating_sub(key.made_ms) >= KEY_SETTLE_MS;
        // Where none is settled yet, the oldest is known to most.
        let sealing = stored.iter().position(settled).or(stored.len().checked_sub(1));
        if let Some(sealing) = sealing {
            let first = stored.remove(sealing);
            stored.insert(0, first);
        }
        stored.into_iter().map(|stored| stored.key).collect()
    }

    /// Whether the keys are in the table, as a session that is none of the users'.
    pub(in crate::engine) fn has_keys(&self) -> bool {
        self.table.get(&keys_session()).is_some_and(Record::is_alive)
    }

    /// Changes with every change of the keys.
    pub(in crate::engine) fn keys_version(&self) -> Stamp {
        self.table
            .get(&keys_session())
            .map(Record::version)
            .unwrap_or_default()
    }

    /// The keys, the youngest first.
    fn stored_keys(&self) -> Vec<StoredKey> {
        let Some(record) = self.table.get(&keys_session()) else {
            return Vec::new();
        };
        let mut keys: Vec<_> = record
            .values()
            .filter_map(|(name, value)| read(name, value))
            .collect();
        keys.sort_by_key(|stored| (std::cmp::Reverse(stored.made_ms), stored.key.id));
        keys
    }
}

fn keys_session() -> SessionKey {
    SessionKey::reserved("limpet", "token-keys")
}

fn read(name: &str, value: &[u8]) -> Option<StoredKey> {
    let (made, secret) = value.split_at_checked(8)?;
    Some(StoredKey {
        made_ms: u64::from_le_bytes(made.try_into().ok()?),
        key: TokenKey {
            id: u32::from_str_radix(name, 16).ok()?,
            secret: secret.try_into().ok()?,
        },
    })
}
