//! Host calls on buffers: `proxy_get_buffer_bytes`, `proxy_get_buffer_status`, `proxy_set_buffer_bytes`.

use bytes::{Bytes, BytesMut};
use wasmtime::{Caller, Linker};

use crate::wasm::abi::memory::{Out, Span, give, give_bytes, put_u32, split};
use crate::wasm::abi::numbers::{BufferKind, Direction, Status, code};
use crate::wasm::state::HostState;

/// The largest body a filter may make of one, in bytes; past it the change is refused with `InternalFailure`.
pub(super) const BODY_MAX: usize = 64 << 20;

pub(super) fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    linker.func_wrap(
        "env",
        "proxy_get_buffer_bytes",
        |mut caller: Caller<'_, HostState>, buffer: u32, start: u32, max: u32, out: u32, out_len: u32| {
            code(get(&mut caller, buffer, start, max, Out(out, out_len)))
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_get_buffer_status",
        |mut caller: Caller<'_, HostState>, buffer: u32, size: u32, flags: u32| {
            code(status(&mut caller, buffer, size, flags))
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_set_buffer_bytes",
        |mut caller: Caller<'_, HostState>, buffer: u32, start: u32, size: u32, at: u32, len: u32| {
            code(set(
                &mut caller,
                buffer,
                start as usize,
                size as usize,
                Span(at, len),
            ))
        },
    )?;
    Ok(())
}

fn get(
    caller: &mut Caller<'_, HostState>,
    buffer: u32,
    start: u32,
    max: u32,
    out: Out,
) -> Result<(), Status> {
    start.checked_add(max).ok_or(Status::BadArgument)?;
    let kind = BufferKind::read(buffer)?;
    let (start, max) = (start as usize, max as usize);
    if let Some(bytes) = fixed(caller.data(), kind)? {
        let end = bytes.len().min(start.saturating_add(max));
        return give_bytes(caller, bytes.get(start..end).unwrap_or_default(), out);
    }
    let direction = direction(kind)?;
    let len = caller
        .data()
        .with_body(direction, |bytes| bytes.len().saturating_sub(start).min(max))?;
    give(caller, len, out, |block, host| {
        host.with_body(direction, |bytes| match bytes.get(start..start + len) {
            Some(bytes) => {
                block.copy_from_slice(bytes);
                Ok(())
            }
            None => Err(Status::InternalFailure),
        })?
    })
}

fn status(caller: &mut Caller<'_, HostState>, buffer: u32, size: u32, flags: u32) -> Result<(), Status> {
    let kind = BufferKind::read(buffer)?;
    let (memory, host) = split(caller)?;
    let len = match fixed(host, kind)? {
        Some(bytes) => bytes.len(),
        None => host.with_body(direction(kind)?, |bytes| bytes.len())?,
    };
    put_u32(
        memory,
        size,
        u32::try_from(len).map_err(|_| Status::InternalFailure)?,
    )?;
    put_u32(memory, flags, 0)
}

fn set(
    caller: &mut Caller<'_, HostState>,
    buffer: u32,
    start: usize,
    size: usize,
    at: Span,
) -> Result<(), Status> {
    let kind = BufferKind::read(buffer)?;
    let (memory, host) = split(caller)?;
    let new = at.of(memory)?;
    if fixed(host, kind)?.is_some() {
        return Err(Status::BadArgument);
    }
    host.with_body(direction(kind)?, |bytes| replace(bytes, start, size, new))?
}

/// Changes a body as Envoy does: from the start, so many bytes are replaced; at or past the end, `new` is appended;
/// in between nothing is possible.
fn replace(bytes: &mut BytesMut, start: usize, size: usize, new: &[u8]) -> Result<(), Status> {
    if bytes.len() + new.len() > BODY_MAX {
        return Err(Status::InternalFailure);
    }
    if start == 0 {
        let tail = bytes.split_off(size.min(bytes.len()));
        bytes.clear();
        bytes.extend_from_slice(new);
        bytes.extend_from_slice(&tail);
        Ok(())
    } else if start >= bytes.len() {
        bytes.extend_from_slice(new);
        Ok(())
    } else {
        Err(Status::BadArgument)
    }
}

/// A buffer that guests only read; `None` when `kind` is a body.
fn fixed(host: &HostState, kind: BufferKind) -> Result<Option<Bytes>, Status> {
    match kind {
        BufferKind::RequestBody | BufferKind::ResponseBody => Ok(None),
        BufferKind::CallBody => host
            .reply
            .as_ref()
            .map(|reply| Some(reply.body.clone()))
            .ok_or(Status::NotFound),
        BufferKind::VmConfiguration => Ok(Some(Bytes::new())),
        BufferKind::PluginConfiguration if host.configuring => host
            .plugin()
            .map(|plugin| Some(plugin.config.clone()))
            .ok_or(Status::NotFound),
        BufferKind::PluginConfiguration => Err(Status::NotFound),
    }
}

const fn direction(kind: BufferKind) -> Result<Direction, Status> {
    match kind {
        BufferKind::RequestBody => Ok(Direction::Request),
        BufferKind::ResponseBody => Ok(Direction::Response),
        _ => Err(Status::BadArgument),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(start: usize, size: usize, expected: Result<&[u8], Status>) {
        let mut bytes = BytesMut::from(&b"abcd"[..]);
        let done = replace(&mut bytes, start, size, b"XY");
        assert_eq!(done.map(|()| &bytes[..]), expected, "({start}, {size})");
    }

    #[test]
    fn as_envoy_does() {
        check(0, 0, Ok(b"XYabcd"));
        check(0, 4, Ok(b"XY"));
        check(0, usize::MAX, Ok(b"XY"));
        check(0, 1, Ok(b"XYbcd"));
        check(4, 0, Ok(b"abcdXY"));
        check(9, 9, Ok(b"abcdXY"));
        check(2, 1, Err(Status::BadArgument));
    }
}
