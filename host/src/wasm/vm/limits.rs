//! The limits of a guest: memory, stack and time.

use std::time::Duration;

use wasmtime::{StoreLimits, StoreLimitsBuilder};

/// How often the process-wide epoch advances. A deadline is kept to this precision.
pub const EPOCH: Duration = Duration::from_millis(5);

/// The most table elements of a guest: function pointers of a large program.
const TABLE_ELEMENTS_MAX: usize = 100_000;

/// The stack of a guest, in bytes; a thread's own stack must be larger, see [`THREAD_STACK`].
pub const GUEST_STACK: usize = 512 << 10;

/// The stack of a thread that runs guests, in bytes: the guest's and the host frames around it.
pub const THREAD_STACK: usize = 4 << 20;

/// The limits of one virtual machine with at most `memory` bytes.
#[must_use]
pub fn store_limits(memory: usize) -> StoreLimits {
    StoreLimitsBuilder::new()
        .memory_size(memory)
        .table_elements(TABLE_ELEMENTS_MAX)
        .instances(1)
        .memories(1)
        .tables(8)
        .build()
}

/// How many epochs a call may last so that it lasts at least `deadline`.
#[must_use]
pub fn epochs(deadline: Duration) -> u64 {
    u64::try_from(deadline.as_nanos().div_ceil(EPOCH.as_nanos()))
        .unwrap_or(u64::MAX)
        .saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_never_cut_short() {
        assert_eq!(epochs(Duration::ZERO), 1);
        assert_eq!(epochs(Duration::from_millis(1)), 2);
        assert_eq!(epochs(Duration::from_millis(50)), 11);
    }
}
