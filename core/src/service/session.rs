//! A session as callers see it: copied out of the table, so that it is encoded while nobody waits for the table.

use std::sync::Arc;

use limpet_wire::report::IdleLimit;

use super::{Life, Value, Version};
use crate::base::id::SessionKey;
use crate::session::Record;

/// A session without its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The id it has now.
    pub key: SessionKey,
    /// The worker it is bound to.
    pub route: Option<Arc<str>>,
    /// Its version.
    pub version: Version,
    /// Its life, which it keeps when it is renamed.
    pub life: Life,
    /// About how many bytes of memory it costs.
    pub size: usize,
    /// How long ago its life began, in milliseconds.
    pub age_ms: u64,
    /// How long ago it was last touched, in milliseconds. Touches at other nodes are known after
    /// `session.touch_interval` at the latest.
    pub idle_ms: u64,
    /// After how long without a touch it ends.
    pub max_inactive: IdleLimit,
}

/// A session with its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// All but the values.
    pub summary: Summary,
    /// Attributes in the order of their names. The values are shared with the table, not copied.
    pub attributes: Vec<(Arc<str>, Value)>,
}

impl Summary {
    /// It as it is at `time_ms` of the cluster's time. `None` for a record that is no whole session: a tombstone, or a
    /// part that arrived before the rest.
    pub(super) fn of(key: &SessionKey, record: &Record, time_ms: u64) -> Option<Self> {
        let last_touch = record.last_touch?;
        let life = Life::from(record.first_life()?);
        Some(Self {
            key: key.clone(),
            route: record.route.as_ref().map(|route| route.value.clone()),
            version: record.version().into(),
            life,
            size: record.size(),
            age_ms: time_ms.saturating_sub(life.began_ms()),
            idle_ms: time_ms.saturating_sub(last_touch.at_ms),
            max_inactive: record.max_inactive.as_ref()?.value,
        })
    }
}

impl Session {
    /// See [`Summary::of`].
    pub(super) fn of(key: &SessionKey, record: &Record, time_ms: u64) -> Option<Self> {
        let values = record.values();
        Some(Self {
            summary: Summary::of(key, record, time_ms)?,
            attributes: values
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
        })
    }
}
