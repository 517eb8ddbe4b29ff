//! `wasi_snapshot_preview1` for programs without files, sockets or arguments: output goes to the log, clocks and random
//! numbers are real, and everything else answers that it is not there.
//!
//! The numbers are those of the specification's `errno`.

use std::time::SystemTime;

use wasmtime::{Caller, Linker};

use super::clock::nanoseconds;
use super::log;
use crate::wasm::abi::memory::{Span, put, put_u32, put_u64, split};
use crate::wasm::abi::numbers::Status;
use crate::wasm::state::HostState;

const MODULE: &str = "wasi_snapshot_preview1";
const OK: i32 = 0;
const BADF: i32 = 8;
const FAULT: i32 = 21;
const INVAL: i32 = 28;
const IO: i32 = 29;
const NOENT: i32 = 44;
const NOSYS: i32 = 52;
const NOTSUP: i32 = 58;

/// The most random bytes of one call; more are refused.
const RANDOM_MAX: usize = 64 << 10;
/// The most pieces of one write that are looked at.
const PIECES_MAX: u32 = 1024;

pub(super) fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    link_real(linker)?;
    link_absent(linker)
}

fn link_real(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "fd_write",
        |mut caller: Caller<'_, HostState>, fd: u32, pieces: u32, count: u32, out: u32| {
            errno(write(&mut caller, fd, pieces, count, out))
        },
    )?;
    linker.func_wrap(
        MODULE,
        "clock_time_get",
        |mut caller: Caller<'_, HostState>, clock: u32, _precision: u64, out: u32| {
            errno(time(&mut caller, clock, out))
        },
    )?;
    linker.func_wrap(
        MODULE,
        "clock_res_get",
        |mut caller: Caller<'_, HostState>, clock: u32, out: u32| {
            errno(if clock > 1 {
                Err(NOTSUP)
            } else {
                with_memory(&mut caller, |memory| put_u64(memory, out, 1))
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "random_get",
        |mut caller: Caller<'_, HostState>, at: u32, len: u32| errno(random(&mut caller, at, len as usize)),
    )?;
    for name in ["environ_sizes_get", "args_sizes_get"] {
        linker.func_wrap(
            MODULE,
            name,
            |mut caller: Caller<'_, HostState>, count: u32, size: u32| {
                errno(with_memory(&mut caller, |memory| {
                    put_u32(memory, count, 0)?;
                    put_u32(memory, size, 0)
                }))
            },
        )?;
    }
    for name in ["environ_get", "args_get"] {
        linker.func_wrap(MODULE, name, |_: Caller<'_, HostState>, _: u32, _: u32| OK)?;
    }
    linker.func_wrap(MODULE, "sched_yield", |_: Caller<'_, HostState>| OK)?;
    linker.func_wrap(
        MODULE,
        "poll_oneoff",
        |mut caller: Caller<'_, HostState>, _in: u32, _out: u32, _count: u32, events: u32| {
            errno(with_memory(&mut caller, |memory| put_u32(memory, events, 0)))
        },
    )?;
    linker.func_wrap(
        MODULE,
        "proc_exit",
        |_: Caller<'_, HostState>, status: u32| -> wasmtime::Result<()> {
            Err(wasmtime::Error::msg(format!("the filter called exit({status})")))
        },
    )?;
    linker.func_wrap(
        MODULE,
        "fd_fdstat_get",
        |mut caller: Caller<'_, HostState>, fd: u32, out: u32| {
            errno(match fd {
                // A character device that may be written to.
                1 | 2 => with_memory(&mut caller, |memory| {
                    let mut stat = [0_u8; 24];
                    stat[0] = 2;
                    stat[8] = 64;
                    put(memory, out, &stat)
                }),
                _ => Err(BADF),
            })
        },
    )?;
    linker.func_wrap(MODULE, "fd_close", |_: Caller<'_, HostState>, _: u32| OK)?;
    linker.func_wrap(
        MODULE,
        "fd_seek",
        |_: Caller<'_, HostState>, _: u32, _: i64, _: u32, _: u32| NOTSUP,
    )?;
    linker.func_wrap(
        MODULE,
        "fd_prestat_get",
        |_: Caller<'_, HostState>, _: u32, _: u32| BADF,
    )?;
    linker.func_wrap(
        MODULE,
        "fd_prestat_dir_name",
        |_: Caller<'_, HostState>, _: u32, _: u32, _: u32| BADF,
    )?;
    Ok(())
}

/// Everything that needs files or sockets.
fn link_absent(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    type G<'a> = Caller<'a, HostState>;
    linker.func_wrap(MODULE, "fd_read", |_: G<'_>, _: u32, _: u32, _: u32, _: u32| {
        NOSYS
    })?;
    linker.func_wrap(MODULE, "fd_fdstat_set_flags", |_: G<'_>, _: u32, _: u32| NOSYS)?;
    linker.func_wrap(
        MODULE,
        "fd_fdstat_set_rights",
        |_: G<'_>, _: u32, _: u64, _: u64| NOTSUP,
    )?;
    linker.func_wrap(MODULE, "fd_advise", |_: G<'_>, _: u32, _: u64, _: u64, _: u32| {
        NOTSUP
    })?;
    linker.func_wrap(MODULE, "fd_allocate", |_: G<'_>, _: u32, _: u64, _: u64| NOTSUP)?;
    for name in ["fd_datasync", "fd_sync"] {
        linker.func_wrap(MODULE, name, |_: G<'_>, _: u32| NOTSUP)?;
    }
    linker.func_wrap(MODULE, "fd_filestat_get", |_: G<'_>, _: u32, _: u32| NOTSUP)?;
    linker.func_wrap(MODULE, "fd_filestat_set_size", |_: G<'_>, _: u32, _: u64| NOTSUP)?;
    linker.func_wrap(
        MODULE,
        "fd_filestat_set_times",
        |_: G<'_>, _: u32, _: u64, _: u64, _: u32| NOTSUP,
    )?;
    for name in ["fd_pread", "fd_pwrite", "fd_readdir"] {
        linker.func_wrap(
            MODULE,
            name,
            |_: G<'_>, _: u32, _: u32, _: u32, _: u64, _: u32| NOTSUP,
        )?;
    }
    linker.func_wrap(MODULE, "fd_renumber", |_: G<'_>, _: u32, _: u32| NOTSUP)?;
    linker.func_wrap(MODULE, "fd_tell", |_: G<'_>, _: u32, _: u32| NOTSUP)?;
    for name in [
        "path_create_directory",
        "path_remove_directory",
        "path_unlink_file",
    ] {
        linker.func_wrap(MODULE, name, |_: G<'_>, _: u32, _: u32, _: u32| NOTSUP)?;
    }
    linker.func_wrap(
        MODULE,
        "path_filestat_get",
        |_: G<'_>, _: u32, _: u32, _: u32, _: u32, _: u32| NOTSUP,
    )?;
    linker.func_wrap(
        MODULE,
        "path_filestat_set_times",
        |_: G<'_>, _: u32, _: u32, _: u32, _: u32, _: u64, _: u64, _: u32| NOTSUP,
    )?;
    linker.func_wrap(
        MODULE,
        "path_link",
        |_: G<'_>, _: u32, _: u32, _: u32, _: u32, _: u32, _: u32, _: u32| NOTSUP,
    )?;
    linker.func_wrap(
        MODULE,
        "path_open",
        |_: G<'_>, _: u32, _: u32, _: u32, _: u32, _: u32, _: u64, _: u64, _: u32, _: u32| NOENT,
    )?;
    for name in ["path_readlink", "path_rename"] {
        linker.func_wrap(
            MODULE,
            name,
            |_: G<'_>, _: u32, _: u32, _: u32, _: u32, _: u32, _: u32| NOTSUP,
        )?;
    }
    linker.func_wrap(
        MODULE,
        "path_symlink",
        |_: G<'_>, _: u32, _: u32, _: u32, _: u32, _: u32| NOTSUP,
    )?;
    linker.func_wrap(MODULE, "sock_accept", |_: G<'_>, _: u32, _: u32, _: u32| NOTSUP)?;
    linker.func_wrap(
        MODULE,
        "sock_recv",
        |_: G<'_>, _: u32, _: u32, _: u32, _: u32, _: u32, _: u32| NOTSUP,
    )?;
    linker.func_wrap(
        MODULE,
        "sock_send",
        |_: G<'_>, _: u32, _: u32, _: u32, _: u32, _: u32| NOTSUP,
    )?;
    linker.func_wrap(MODULE, "sock_shutdown", |_: G<'_>, _: u32, _: u32| NOTSUP)?;
    Ok(())
}

fn errno(result: Result<(), i32>) -> i32 {
    match result {
        Ok(()) => OK,
        Err(number) => number,
    }
}

fn with_memory(
    caller: &mut Caller<'_, HostState>,
    f: impl FnOnce(&mut [u8]) -> Result<(), Status>,
) -> Result<(), i32> {
    let (memory, _) = split(caller).map_err(|_| FAULT)?;
    f(memory).map_err(|_| FAULT)
}

/// Standard output is logged as information, standard error as an error, without the newline at the end.
fn write(caller: &mut Caller<'_, HostState>, fd: u32, pieces: u32, count: u32, out: u32) -> Result<(), i32> {
    let level = match fd {
        1 => 2,
        2 => 4,
        _ => return Err(BADF),
    };
    let (memory, host) = split(caller).map_err(|_| FAULT)?;
    let mut line = Vec::new();
    let mut written = 0_u32;
    for piece in 0..count.min(PIECES_MAX) {
        let at = piece
            .checked_mul(8)
            .and_then(|offset| pieces.checked_add(offset))
            .ok_or(FAULT)?;
        let entry = Span(at, 8).of(memory).map_err(|_| FAULT)?;
        let (pointer, len) = entry.split_first_chunk::<4>().ok_or(FAULT)?;
        let len = u32::from_le_bytes(len.try_into().map_err(|_| FAULT)?);
        let bytes = Span(u32::from_le_bytes(*pointer), len)
            .of(memory)
            .map_err(|_| FAULT)?;
        written = written.saturating_add(len);
        let room = log::LINE_MAX.saturating_sub(line.len());
        line.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
    }
    let text = line.strip_suffix(b"\n").unwrap_or(&line);
    if !text.is_empty() {
        log::write(host, level, text);
    }
    put_u32(memory, out, written).map_err(|_| FAULT)
}

fn time(caller: &mut Caller<'_, HostState>, clock: u32, out: u32) -> Result<(), i32> {
    let now = match clock {
        0 => nanoseconds(SystemTime::now()),
        1 => u64::try_from(caller.data().epoch.elapsed().as_nanos()).unwrap_or(u64::MAX),
        _ => return Err(NOTSUP),
    };
    with_memory(caller, |memory| put_u64(memory, out, now))
}

fn random(caller: &mut Caller<'_, HostState>, at: u32, len: usize) -> Result<(), i32> {
    if len > RANDOM_MAX {
        return Err(INVAL);
    }
    let (memory, _) = split(caller).map_err(|_| FAULT)?;
    let start = at as usize;
    let block = start
        .checked_add(len)
        .and_then(|end| memory.get_mut(start..end))
        .ok_or(FAULT)?;
    getrandom::fill(block).map_err(|_| IO)
}
