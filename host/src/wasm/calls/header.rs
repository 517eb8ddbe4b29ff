//! Host calls on header maps: `proxy_get_header_map_*`, `proxy_set_header_map_pairs`,
//! `proxy_add|replace|remove_header_map_value`.
//!
//! A map that is not there now is `NotFound`. (Envoy says `BadArgument` for request headers in response callbacks, on
//! which the Rust SDK gives up.) The maps of a call-out are read-only.

use wasmtime::{Caller, Linker};

use crate::message::map::Map;
use crate::wasm::abi::memory::{Out, Span, give, give_bytes, put_u32, split};
use crate::wasm::abi::numbers::{MapKind, Status, code};
use crate::wasm::abi::pairs::{self, PairSource};
use crate::wasm::state::HostState;

pub(super) fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    linker.func_wrap(
        "env",
        "proxy_get_header_map_size",
        |mut caller: Caller<'_, HostState>, map: u32, out: u32| code(size(&mut caller, map, out)),
    )?;
    linker.func_wrap(
        "env",
        "proxy_get_header_map_pairs",
        |mut caller: Caller<'_, HostState>, map: u32, out: u32, out_len: u32| {
            code(get_all(&mut caller, map, Out(out, out_len)))
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_set_header_map_pairs",
        |mut caller: Caller<'_, HostState>, map: u32, at: u32, len: u32| {
            code(set_all(&mut caller, map, Span(at, len)))
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_get_header_map_value",
        |mut caller: Caller<'_, HostState>, map: u32, name: u32, name_len: u32, out: u32, out_len: u32| {
            code(get(&mut caller, map, Span(name, name_len), Out(out, out_len)))
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_add_header_map_value",
        |mut caller: Caller<'_, HostState>,
         map: u32,
         name: u32,
         name_len: u32,
         value: u32,
         value_len: u32| {
            code(change(&mut caller, map, |memory, map| {
                let (name, value) = (
                    Span(name, name_len).of(memory)?,
                    Span(value, value_len).of(memory)?,
                );
                map.add(name, value).map_err(|_| Status::BadArgument)
            }))
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_replace_header_map_value",
        |mut caller: Caller<'_, HostState>,
         map: u32,
         name: u32,
         name_len: u32,
         value: u32,
         value_len: u32| {
            code(change(&mut caller, map, |memory, map| {
                let (name, value) = (
                    Span(name, name_len).of(memory)?,
                    Span(value, value_len).of(memory)?,
                );
                map.replace(name, value).map_err(|_| Status::BadArgument)
            }))
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_remove_header_map_value",
        |mut caller: Caller<'_, HostState>, map: u32, name: u32, name_len: u32| {
            code(change(&mut caller, map, |memory, map| {
                map.remove(Span(name, name_len).of(memory)?);
                Ok(())
            }))
        },
    )?;
    Ok(())
}

impl PairSource for Map<'_> {
    fn each(&self, f: impl FnMut(&[u8], &[u8])) {
        Map::each(self, f);
    }
}

fn size(caller: &mut Caller<'_, HostState>, map: u32, out: u32) -> Result<(), Status> {
    let (memory, host) = split(caller)?;
    let count = host.with_map(MapKind::read(map)?, |map| pairs::size(&*map))?;
    put_u32(
        memory,
        out,
        u32::try_from(count).map_err(|_| Status::InternalFailure)?,
    )
}

fn get_all(caller: &mut Caller<'_, HostState>, map: u32, out: Out) -> Result<(), Status> {
    let kind = MapKind::read(map)?;
    let size = match caller.data_mut().with_map(kind, |map| pairs::size(&*map)) {
        // No map is an empty one here: the SDK cannot tell "none" otherwise.
        Err(Status::NotFound) => 0,
        size => size?,
    };
    give(caller, size, out, |block, host| {
        host.with_map(kind, |map| pairs::write(map, block))?
    })
}

fn get(caller: &mut Caller<'_, HostState>, map: u32, name: Span, out: Out) -> Result<(), Status> {
    let kind = MapKind::read(map)?;
    let (memory, host) = split(caller)?;
    let name = name.of(memory)?;
    let value = host
        .with_map(kind, |map| map.get(name))?
        .ok_or(Status::NotFound)?;
    give_bytes(caller, value.as_bytes(), out)
}

fn set_all(caller: &mut Caller<'_, HostState>, map: u32, at: Span) -> Result<(), Status> {
    change(caller, map, |memory, map| {
        let pairs = pairs::read(at.of(memory)?)?;
        map.set_all(pairs.into_iter()).map_err(|_| Status::BadArgument)
    })
}

fn change(
    caller: &mut Caller<'_, HostState>,
    map: u32,
    f: impl FnOnce(&[u8], &mut Map<'_>) -> Result<(), Status>,
) -> Result<(), Status> {
    let kind = MapKind::read(map)?;
    if matches!(kind, MapKind::CallHeaders | MapKind::CallTrailers) {
        return Err(Status::BadArgument);
    }
    let (memory, host) = split(caller)?;
    host.with_map(kind, |map| f(memory, map))?
}
