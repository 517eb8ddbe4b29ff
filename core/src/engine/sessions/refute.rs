//! Expiries that other nodes report: which are refused because a clock must be wrong, and how one is refuted.

use crate::base::clock::Now;
use crate::base::id::{NodeId, SessionKey};
use crate::engine::Engine;
use crate::engine::sessions::expiry;
use crate::session::{Record, Touch};

impl Engine {
    /// Whether `record`, which another node sent, expires a session that by this node's time is far from idle: one of
    /// the two clocks is wrong, and the session stays.
    pub(in crate::engine) fn is_premature_expiry(&self, key: &SessionKey, record: &Record, now: Now) -> bool {
        let Some(known) = self.table.get(key).filter(|known| known.is_alive()) else {
            return false;
        };
        let skew_ms = expiry::ms(self.config.clocks.max_skew);
        record.lifecycle.expired >= known.last_touch
            && record.lifecycle.expired.map(|expired| expired.life) == known.life()
            && self
                .expires_ms(known)
                .is_none_or(|end| end > self.time_ms(now).saturating_add(skew_ms))
    }

    /// `node` expired, since the touch `ended`, a session that is not idle: most likely its idle lifetime was changed
    /// here and that was not known there. The session is touched once more, which refutes the expiry everywhere. Not
    /// if one of the two clocks is wrong, because that would go on for ever.
    pub(in crate::engine) fn refute_expiry(
        &mut self,
        node: &NodeId,
        key: &SessionKey,
        ended: Touch,
        now: Now,
    ) {
        let skew_ms = expiry::ms(self.config.clocks.max_skew);
        let near = |ahead_ms: i64| ahead_ms.unsigned_abs() <= skew_ms;
        if !self.clock_drift_ms(node).is_none_or(near) {
            return;
        }
        let touch = Touch {
            life: ended.life,
            at_ms: self
                .touch_ms(self.table.get(key), now)
                .max(ended.at_ms.saturating_add(1)),
        };
        let version = self.table.get(key).map(Record::version).unwrap_or_default();
        self.commit(key, Record::touch_only(touch), version, now);
        if let Some(record) = self.table.get(key).cloned() {
            self.push(node, key, &record);
        }
    }
}
