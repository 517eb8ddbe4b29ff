//! Host calls on logging: `proxy_log`, `proxy_get_log_level`.

use wasmtime::{Caller, Linker};

use crate::wasm::abi::memory::{Span, put_u32, split};
use crate::wasm::abi::numbers::{Status, code};
use crate::wasm::state::HostState;

/// The longest line that is logged, in bytes; the rest of a longer one is cut off.
pub(super) const LINE_MAX: usize = 8 << 10;

pub(super) fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    linker.func_wrap(
        "env",
        "proxy_log",
        |mut caller: Caller<'_, HostState>, level: u32, at: u32, len: u32| {
            code(log(&mut caller, level, Span(at, len)))
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_get_log_level",
        |mut caller: Caller<'_, HostState>, out: u32| {
            code(split(&mut caller).and_then(|(memory, _)| put_u32(memory, out, level())))
        },
    )?;
    Ok(())
}

fn log(caller: &mut Caller<'_, HostState>, level: u32, line: Span) -> Result<(), Status> {
    let (memory, host) = split(caller)?;
    let line = line.of(memory)?;
    if level > 5 {
        return Err(Status::BadArgument);
    }
    write(host, level, line);
    Ok(())
}

/// Logs `line` in the name of the active plugin. Control characters are escaped: a guest writes no lines of its own.
pub(super) fn write(host: &HostState, level: u32, line: &[u8]) {
    let name = host.plugin().map_or(&*host.name, |plugin| plugin.name.as_str());
    let text = String::from_utf8_lossy(line.get(..LINE_MAX).unwrap_or(line));
    let text = if text.contains(char::is_control) {
        std::borrow::Cow::Owned(text.escape_debug().to_string())
    } else {
        text
    };
    match level {
        0 => tracing::trace!(filter = name, "{text}"),
        1 => tracing::debug!(filter = name, "{text}"),
        2 => tracing::info!(filter = name, "{text}"),
        3 => tracing::warn!(filter = name, "{text}"),
        _ => tracing::error!(filter = name, "{text}"),
    }
}

fn level() -> u32 {
    use tracing::level_filters::LevelFilter;
    match LevelFilter::current() {
        LevelFilter::TRACE => 0,
        LevelFilter::DEBUG => 1,
        LevelFilter::INFO => 2,
        LevelFilter::WARN => 3,
        LevelFilter::ERROR => 4,
        _ => 5,
    }
}
