//! Host calls on properties: `proxy_get_property`, `proxy_set_property`.
//!
//! A path is segments joined by one zero byte. Strings are their bytes, numbers are 8 bytes little-endian, a timestamp
//! counts nanoseconds since 1970. A property that a filter set is found under its own path, by every filter of the
//! exchange, unless the host has one of that name.

use std::rc::Rc;

use bytes::Bytes;
use wasmtime::{Caller, Linker};

use super::clock::nanoseconds;
use crate::message::head::{RequestHead, Value};
use crate::wasm::abi::memory::{Out, Span, give_bytes, split};
use crate::wasm::abi::numbers::{Status, code};
use crate::wasm::state::HostState;
use crate::wasm::stream::{PROPERTIES_MAX, PROPERTY_MAX, State};

pub(super) fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    linker.func_wrap(
        "env",
        "proxy_get_property",
        |mut caller: Caller<'_, HostState>, path: u32, len: u32, out: u32, out_len: u32| {
            code(get(&mut caller, Span(path, len), Out(out, out_len)))
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_set_property",
        |mut caller: Caller<'_, HostState>, path: u32, len: u32, value: u32, value_len: u32| {
            code(set(&mut caller, Span(path, len), Span(value, value_len)))
        },
    )?;
    Ok(())
}

/// A property's value, shared where it can be.
enum Property {
    Text(Rc<str>),
    Owned(String),
    Bytes(Bytes),
    Field(Value),
    Number([u8; 8]),
}

impl Property {
    fn number(number: u64) -> Self {
        Self::Number(number.to_le_bytes())
    }

    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Owned(text) => text.as_bytes(),
            Self::Bytes(bytes) => bytes,
            Self::Field(value) => value.as_bytes(),
            Self::Number(bytes) => bytes,
        }
    }
}

fn get(caller: &mut Caller<'_, HostState>, path: Span, out: Out) -> Result<(), Status> {
    let (memory, host) = split(caller)?;
    let path = path.of(memory)?;
    let property = find(host, path).ok_or(Status::NotFound)?;
    give_bytes(caller, property.as_bytes(), out)
}

fn find(host: &HostState, path: &[u8]) -> Option<Property> {
    let path = path.strip_suffix(b"\0").unwrap_or(path);
    let (first, rest) = match path.iter().position(|byte| *byte == 0) {
        Some(at) => (path.get(..at)?, path.get(at + 1..)?),
        None => (path, &b""[..]),
    };
    let plugin = host.plugin();
    match first {
        b"plugin_name" => return plugin.map(|plugin| Property::Owned(plugin.name.clone())),
        b"plugin_root_id" => return plugin.map(|plugin| Property::Owned(plugin.root_id.clone())),
        b"plugin_vm_id" => return Some(Property::Owned(host.vm_id.clone())),
        b"node" => return Some(Property::Owned(crate::telemetry::node_name().to_owned())),
        _ => {}
    }
    let state = host.stream().ok()?.stream.state();
    let info = &state.info;
    match first {
        b"request" => request(&state, rest),
        b"response" => response(&state, rest),
        b"upstream" => match rest {
            b"address" => info.upstream.clone().map(Property::Text),
            b"port" => {
                let address: std::net::SocketAddr = info.upstream.as_ref()?.parse().ok()?;
                Some(Property::number(u64::from(address.port())))
            }
            b"request_attempt_count" => Some(Property::number(u64::from(info.attempts))),
            _ => None,
        },
        b"source" => match rest {
            b"address" => Some(Property::Text(Rc::clone(&info.connection.source_text))),
            b"port" => Some(Property::number(u64::from(info.connection.source.port()))),
            _ => None,
        },
        b"destination" => match rest {
            b"address" => Some(Property::Text(Rc::clone(&info.connection.destination_text))),
            b"port" => Some(Property::number(u64::from(info.connection.destination.port()))),
            _ => None,
        },
        b"connection" if rest == b"id" => Some(Property::number(info.connection.id)),
        b"connection_id" => Some(Property::number(info.connection.id)),
        b"cluster_name" => named(&info.cluster),
        b"route_name" => named(&info.route),
        b"xds" => match rest {
            b"cluster_name" => named(&info.cluster),
            b"route_name" => named(&info.route),
            b"node" => Some(Property::Owned(crate::telemetry::node_name().to_owned())),
            _ => None,
        },
        _ => None,
    }
    .or_else(|| {
        let known = state.properties.iter().find(|(known, _)| **known == *path);
        known.map(|(_, value)| Property::Bytes(value.clone()))
    })
}

fn named(name: &Option<std::sync::Arc<str>>) -> Option<Property> {
    name.as_ref().map(|name| Property::Owned(name.to_string()))
}

fn request(state: &State, rest: &[u8]) -> Option<Property> {
    let info = &state.info;
    match rest {
        b"time" => return Some(Property::number(nanoseconds(info.started))),
        b"duration" => {
            let elapsed = info.started.elapsed().unwrap_or_default();
            return Some(Property::number(
                u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX),
            ));
        }
        b"protocol" => return Some(Property::Owned(format!("{:?}", info.version))),
        b"size" => return Some(Property::number(info.sizes[0])),
        _ => {}
    }
    let head = state.request.as_ref()?;
    match rest {
        b"path" => head.get(b":path"),
        b"url_path" => return Some(Property::Owned(head.path.path().to_owned())),
        b"query" => return Some(Property::Owned(head.path.query().unwrap_or_default().to_owned())),
        b"host" => head.get(b":authority"),
        b"scheme" => head.get(b":scheme"),
        b"method" => head.get(b":method"),
        b"referer" => head.get(b"referer"),
        b"useragent" => head.get(b"user-agent"),
        b"id" => head.get(b"x-request-id"),
        b"headers_bytes" => return Some(Property::number(bytes_of(head))),
        _ => head.get(rest.strip_prefix(b"headers\0")?),
    }
    .map(Property::Field)
}

fn bytes_of(head: &RequestHead) -> u64 {
    let mut bytes = 0;
    head.each(|name, value| bytes += (name.len() + value.len()) as u64);
    bytes
}

fn response(state: &State, rest: &[u8]) -> Option<Property> {
    match rest {
        b"code" => {
            let status = state
                .response
                .as_ref()
                .map(|head| head.status.as_u16())
                .or(state.info.status);
            status.map(|status| Property::number(u64::from(status)))
        }
        b"code_details" => state.info.details.clone().map(Property::Text),
        b"size" => Some(Property::number(state.info.sizes[1])),
        _ => state
            .response
            .as_ref()?
            .get(rest.strip_prefix(b"headers\0")?)
            .map(Property::Field),
    }
}

fn set(caller: &mut Caller<'_, HostState>, path: Span, value: Span) -> Result<(), Status> {
    let (memory, host) = split(caller)?;
    let (path, value) = (path.of(memory)?, value.of(memory)?);
    if path.is_empty() || path.len() + value.len() > PROPERTY_MAX {
        return Err(Status::BadArgument);
    }
    let mut state = host.stream()?.stream.state();
    let value = Bytes::copy_from_slice(value);
    if let Some((_, known)) = state.properties.iter_mut().find(|(known, _)| **known == *path) {
        *known = value;
    } else if state.properties.len() < PROPERTIES_MAX {
        state.properties.push((path.into(), value));
    } else {
        return Err(Status::InternalFailure);
    }
    Ok(())
}
