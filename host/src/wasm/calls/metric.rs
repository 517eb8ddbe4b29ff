//! Host calls on metrics: `proxy_define_metric`, `proxy_increment_metric`, `proxy_record_metric`, `proxy_get_metric`.

use std::sync::Arc;

use wasmtime::{Caller, Linker};

use crate::wasm::abi::memory::{Span, put_u32, put_u64, split};
use crate::wasm::abi::numbers::{Status, code};
use crate::wasm::shared::metric::{METRICS_MAX, Metric};
use crate::wasm::state::HostState;

pub(super) fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    linker.func_wrap(
        "env",
        "proxy_define_metric",
        |mut caller: Caller<'_, HostState>, kind: u32, name: u32, len: u32, out: u32| {
            code(define(&mut caller, kind, Span(name, len), out))
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_increment_metric",
        |caller: Caller<'_, HostState>, id: u32, delta: i64| {
            code(metric(caller.data(), id).and_then(|metric| metric.increment(delta)))
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_record_metric",
        |caller: Caller<'_, HostState>, id: u32, value: u64| {
            code(metric(caller.data(), id).map(|metric| metric.record(value)))
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_get_metric",
        |mut caller: Caller<'_, HostState>, id: u32, out: u32| {
            let value = metric(caller.data(), id).and_then(|metric| metric.value());
            code(
                value
                    .and_then(|value| split(&mut caller).and_then(|(memory, _)| put_u64(memory, out, value))),
            )
        },
    )?;
    Ok(())
}

fn define(caller: &mut Caller<'_, HostState>, kind: u32, name: Span, out: u32) -> Result<(), Status> {
    let (memory, host) = split(caller)?;
    let metric = host.shared.metrics.define(kind, name.of(memory)?)?;
    let known = host.metrics.iter().position(|known| Arc::ptr_eq(known, &metric));
    let position = match known {
        Some(position) => position,
        None if host.metrics.len() >= METRICS_MAX => return Err(Status::InternalFailure),
        None => {
            host.metrics.push(metric);
            host.metrics.len() - 1
        }
    };
    put_u32(
        memory,
        out,
        u32::try_from(position + 1).map_err(|_| Status::InternalFailure)?,
    )
}

fn metric(host: &HostState, id: u32) -> Result<&Arc<Metric>, Status> {
    let position = (id as usize).checked_sub(1).ok_or(Status::NotFound)?;
    host.metrics.get(position).ok_or(Status::NotFound)
}
