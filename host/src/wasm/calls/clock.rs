//! Host calls on time: `proxy_get_current_time_nanoseconds`, `proxy_set_tick_period_milliseconds`. Running the timer is
//! left to the embedder.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use wasmtime::{Caller, Linker};

use crate::wasm::abi::memory::{put_u64, split};
use crate::wasm::abi::numbers::code;
use crate::wasm::state::HostState;
use crate::wasm::state::actions::Action;

pub(super) fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    linker.func_wrap(
        "env",
        "proxy_get_current_time_nanoseconds",
        |mut caller: Caller<'_, HostState>, out: u32| {
            code(
                split(&mut caller)
                    .and_then(|(memory, _)| put_u64(memory, out, nanoseconds(SystemTime::now()))),
            )
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_set_tick_period_milliseconds",
        |mut caller: Caller<'_, HostState>, period: u32| {
            let host = caller.data_mut();
            let period = Duration::from_millis(u64::from(period));
            code(
                host.root()
                    .and_then(|root| host.later(Action::SetTimer(root, period))),
            )
        },
    )?;
    Ok(())
}

/// `time` in nanoseconds since 1970.
pub(super) fn nanoseconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}
