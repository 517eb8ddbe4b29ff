//! Host calls that decide how a stream goes on: `proxy_continue_stream`, `proxy_close_stream`,
//! `proxy_send_local_response`.

use std::rc::Rc;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use wasmtime::{Caller, Linker};

use crate::message::head::{ResponseHead, field};
use crate::message::reply::LocalReply;
use crate::wasm::abi::memory::{Span, split};
use crate::wasm::abi::numbers::{Direction, Status, code};
use crate::wasm::abi::pairs;
use crate::wasm::state::HostState;
use crate::wasm::state::actions::Action;

pub(super) fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    linker.func_wrap(
        "env",
        "proxy_continue_stream",
        |mut caller: Caller<'_, HostState>, direction: u32| {
            let host = caller.data_mut();
            code(Direction::read(direction).and_then(|direction| {
                let context = host.stream()?;
                let action = Action::Resume(Rc::clone(&context.stream), direction, context.position);
                host.later(action)
            }))
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_close_stream",
        |mut caller: Caller<'_, HostState>, direction: u32| {
            let host = caller.data_mut();
            code(Direction::read(direction).and_then(|_| {
                let action = Action::Close(Rc::clone(&host.stream()?.stream));
                host.later(action)
            }))
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_send_local_response",
        |mut caller: Caller<'_, HostState>,
         status: u32,
         details: u32,
         details_len: u32,
         body: u32,
         body_len: u32,
         headers: u32,
         headers_len: u32,
         _grpc_status: i32| {
            let spans = [
                Span(details, details_len),
                Span(body, body_len),
                Span(headers, headers_len),
            ];
            code(reply(&mut caller, status, spans))
        },
    )?;
    Ok(())
}

fn reply(caller: &mut Caller<'_, HostState>, status: u32, spans: [Span; 3]) -> Result<(), Status> {
    let (memory, host) = split(caller)?;
    let [details, body, headers] = spans.map(|span| span.of(memory));
    let status = u16::try_from(status).map_err(|_| Status::BadArgument)?;
    let status = StatusCode::from_u16(status).map_err(|_| Status::BadArgument)?;
    if status.is_informational() {
        return Err(Status::BadArgument);
    }
    let mut fields = HeaderMap::new();
    for (name, value) in pairs::read(headers?)? {
        let (name, value) = field(name, value).map_err(|_| Status::BadArgument)?;
        fields.append(name, value);
    }
    let details = String::from_utf8_lossy(details?).replace(char::is_whitespace, "_");
    let reply = LocalReply {
        head: ResponseHead {
            status,
            headers: fields,
        },
        body: Bytes::copy_from_slice(body?),
        details: details.into(),
    };
    let mut state = host.stream()?.stream.state();
    // The first answer counts: a second one could not be sent any more.
    state.reply.get_or_insert(reply);
    state.wake();
    Ok(())
}
