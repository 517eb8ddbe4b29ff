//! The host call that sends a request: `proxy_http_call`, answered later by `proxy_on_http_call_response`.
//!
//! An unknown cluster, and a request without `:method`, `:path` or `:authority`, are `BadArgument`. A connection that
//! fails is an answer with `:status` 503, a timeout one with 504, as in Envoy. Sending is left to the embedder.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use wasmtime::{Caller, Linker};

use crate::message::head::RequestHead;
use crate::message::map::Map;
use crate::wasm::abi::memory::{Span, put_u32, split};
use crate::wasm::abi::numbers::{Status, code};
use crate::wasm::abi::pairs;
use crate::wasm::state::HostState;
use crate::wasm::state::actions::{Action, Callout};

pub(super) fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    linker.func_wrap(
        "env",
        "proxy_http_call",
        |mut caller: Caller<'_, HostState>,
         cluster: u32,
         cluster_len: u32,
         headers: u32,
         headers_len: u32,
         body: u32,
         body_len: u32,
         _trailers: u32,
         _trailers_len: u32,
         timeout_ms: u32,
         out: u32| {
            let spans = [
                Span(cluster, cluster_len),
                Span(headers, headers_len),
                Span(body, body_len),
            ];
            code(start(&mut caller, spans, timeout_ms, out))
        },
    )?;
    Ok(())
}

fn start(
    caller: &mut Caller<'_, HostState>,
    spans: [Span; 3],
    timeout_ms: u32,
    out: u32,
) -> Result<(), Status> {
    let (memory, host) = split(caller)?;
    let [cluster, headers, body] = spans.map(|span| span.of(memory));
    let root = host.root()?;
    let cluster = std::str::from_utf8(cluster?)
        .map_err(|_| Status::BadArgument)?
        .to_owned();
    if !host.embedder.knows(&cluster) {
        return Err(Status::BadArgument);
    }
    let head = head(&pairs::read(headers?)?)?;
    let body = Bytes::copy_from_slice(body?);
    let token = host.new_token();
    let timeout = std::time::Duration::from_millis(u64::from(timeout_ms));
    host.later(Action::Call(Box::new(Callout {
        root,
        token,
        cluster,
        head,
        body,
        timeout,
    })))?;
    put_u32(memory, out, token)
}

fn head(pairs: &[(&[u8], &[u8])]) -> Result<RequestHead, Status> {
    let given = |name: &[u8]| pairs.iter().any(|(n, _)| *n == name);
    if !(given(b":method") && given(b":path") && given(b":authority")) {
        return Err(Status::BadArgument);
    }
    let mut head = RequestHead {
        method: Method::GET,
        path: http::uri::PathAndQuery::from_static("/"),
        scheme: HeaderValue::from_static("http"),
        headers: HeaderMap::with_capacity(pairs.len()),
    };
    let mut map = Map::Request(&mut head);
    for (name, value) in pairs {
        map.add(name, value).map_err(|_| Status::BadArgument)?;
    }
    Ok(head)
}
