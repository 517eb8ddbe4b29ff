//! The token cache: claims of tokens that were opened before, which saves a client's next request the decryption.
//!
//! Only authentic tokens enter, so that forged ones cannot displace them. One cache per plugin and VM, for one worker
//! table: a new table may have other keys, and then every token is opened again. A tree, because a hash map asks the
//! host for randomness and panics without. Whether claims are too old is decided in [`crate::token`].

use std::collections::BTreeMap;
use std::rc::Rc;

use limpet_wire::table::{TableVersion, WorkerTable};
use limpet_wire::token::{self, Claims};

/// The most tokens kept; at one more, all are dropped. About 2 MiB of memory.
pub const TOKENS_MAX: usize = 4096;

/// The claims of opened tokens, by their text.
#[derive(Debug, Default)]
pub struct TokenCache {
    table: TableVersion,
    opened: BTreeMap<Vec<u8>, Rc<Claims>>,
}

impl TokenCache {
    /// Opens `text` with the keys of `table`; `None` where it is no token of this cluster.
    pub fn open(&mut self, text: &[u8], table: &WorkerTable) -> Option<Rc<Claims>> {
        if self.table != table.version {
            self.table = table.version;
            self.opened.clear();
        }
        if let Some(claims) = self.opened.get(text) {
            return Some(Rc::clone(claims));
        }
        let claims = Rc::new(token::open(text, &table.cluster, &table.keys).ok()?);
        if self.opened.len() >= TOKENS_MAX {
            self.opened.clear();
        }
        self.opened.insert(text.to_vec(), Rc::clone(&claims));
        Some(claims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use limpet_wire::token::TokenKey;

    fn table(number: u64, key: u8) -> WorkerTable {
        WorkerTable {
            cluster: "shop".into(),
            version: TableVersion { epoch: 1, number },
            keys: vec![TokenKey {
                id: 1,
                secret: [key; 32],
            }],
            workers: Vec::new(),
        }
    }

    #[test]
    fn a_removed_key_opens_nothing_any_more() {
        let claims = Claims {
            app: "default".into(),
            route: "node1".into(),
            fallbacks: Vec::new(),
            first_seen: 1,
            last_seen: 1,
        };
        let text = token::seal(&claims, "shop", &table(1, 7).keys[0], [1; 24]).unwrap();
        let mut cache = TokenCache::default();
        for _ in 0..2 {
            assert_eq!(
                cache.open(text.as_bytes(), &table(1, 7)),
                Some(Rc::new(claims.clone()))
            );
        }
        assert_eq!(cache.open(text.as_bytes(), &table(2, 8)), None);
        assert_eq!(cache.open(b"forged", &table(2, 8)), None);
    }
}
