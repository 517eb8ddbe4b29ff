//! A stamp of the hybrid logical clock: when something was written and by whom, in a total order that is the same on
//! every node.
//!
//! Taking stamps is in [`super::hlc`].

/// A hybrid logical time and the node that took it. Greater is later; equal only for one and the same write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Stamp {
    /// Milliseconds since 1970 in the upper 48 bits, a counter in the lower 16.
    pub time: u64,
    /// [`crate::base::id::NodeId::tag`] of the writer; decides between writes of the same time.
    pub node: u64,
}

impl Stamp {
    /// Before every write.
    pub const ZERO: Self = Self { time: 0, node: 0 };

    /// The earliest stamp of the millisecond `wall_ms` since 1970. Times past the last one that 48 bits hold count as
    /// that one.
    #[must_use]
    pub const fn at(wall_ms: u64) -> Self {
        Self {
            time: (if wall_ms >> 48 == 0 {
                wall_ms
            } else {
                u64::MAX >> 16
            }) << 16,
            node: 0,
        }
    }

    /// The wall-clock part, in milliseconds since 1970.
    #[must_use]
    pub const fn wall_ms(self) -> u64 {
        self.time >> 16
    }
}
