//! Deadlines of calls into guests, measured in processor time.
//!
//! A thread of the process advances the engine's epoch; a guest notices at its next loop or call. An epoch that passed
//! is only a hint, because on a busy machine the thread may simply not have run: the processor time of the thread
//! decides, and a guest is stopped when it really computed for its deadline since the first hint.

use std::time::Duration;

use wasmtime::{Engine, UpdateDeadline};

use super::limits::{EPOCH, epochs};
use crate::wasm::state::HostState;

/// A call that lasted too long.
#[derive(Debug, thiserror::Error)]
#[error("the filter did not return within {0:?}")]
pub struct DeadlinePassed(Duration);

/// Advances the epoch of `engine` until the engine is gone.
pub fn advance(engine: &Engine) -> impl FnOnce() + Send + 'static {
    let engine = engine.weak();
    move || {
        loop {
            std::thread::sleep(EPOCH);
            match engine.upgrade() {
                Some(engine) => engine.increment_epoch(),
                None => return,
            }
        }
    }
}

/// Decides what happens when the epochs of a call have passed.
pub(super) fn on_epoch(host: &mut HostState, deadline: Duration) -> wasmtime::Result<UpdateDeadline> {
    let now = processor_time();
    let allowed = u64::try_from(deadline.as_nanos()).unwrap_or(u64::MAX);
    match host.checked {
        Some(before) if now.saturating_sub(before) >= allowed => {
            Err(wasmtime::Error::new(DeadlinePassed(deadline)))
        }
        Some(_) => Ok(UpdateDeadline::Continue(1)),
        None => {
            host.checked = Some(now);
            Ok(UpdateDeadline::Continue(epochs(deadline)))
        }
    }
}

/// The processor time of this thread, in nanoseconds.
fn processor_time() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec
        .unsigned_abs()
        .wrapping_mul(1_000_000_000)
        .wrapping_add(time.tv_nsec.unsigned_abs())
}
