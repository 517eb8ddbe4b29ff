//! Host calls of the proxy-wasm ABI (0.2.1) that cannot panic, whatever the host answers.
//!
//! The SDK's wrappers panic on every status they do not expect and on header bytes that are not UTF-8, and a panic
//! ends the VM. These declare the same imports as returning a plain number, pass bytes as bytes, and report failure
//! as `None` or `false`. Only [`http_call`] goes through the SDK, because the SDK must know the call's token to
//! deliver the reply; it panics only on a status that no correct host returns.
//!
//! Natively the imports do nothing and return "unimplemented", so that pure code can be tested without a proxy.
//! Reading header maps is left to [`crate::pairs`].

use std::time::Duration;

/// The status of a successful call.
const OK: u32 = 0;

/// Which header map a call reads or changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Map {
    /// Readable only inside the request callbacks.
    RequestHeaders = 0,
    /// Readable from the response callbacks on.
    ResponseHeaders = 2,
    /// Readable only while a call's reply is delivered.
    CallResponseHeaders = 6,
}

/// Which byte buffer a call reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Buffer {
    /// Readable only while a call's reply is delivered.
    CallResponseBody = 4,
    /// Readable only while the plugin is being configured.
    PluginConfiguration = 7,
}

/// The severity of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Level {
    /// A change of state an operator may want to know.
    Info = 2,
    /// Degraded: something was lost or is out of date.
    Warn = 3,
    /// Broken: something does not work until an operator acts.
    Error = 4,
}

/// Writes a line to the proxy's log.
pub fn log(level: Level, message: &str) {
    // SAFETY: pointer and length describe `message`, which outlives the call.
    unsafe { sys::proxy_log(level as u32, message.as_ptr(), message.len()) };
}

/// The wall clock in nanoseconds since 1970.
#[must_use]
pub fn now_nanos() -> Option<u64> {
    let mut nanos = 0_u64;
    // SAFETY: the pointer is to a live u64, which the host overwrites.
    let status = unsafe { sys::proxy_get_current_time_nanoseconds(&raw mut nanos) };
    (status == OK).then_some(nanos)
}

/// Requests `on_tick` of the current root context every `millis` milliseconds; 0 stops it.
pub fn set_tick_period(millis: u32) -> bool {
    // SAFETY: no pointers.
    unsafe { sys::proxy_set_tick_period_milliseconds(millis) == OK }
}

/// The content of a buffer.
#[must_use]
pub fn buffer(buffer: Buffer) -> Option<Vec<u8>> {
    // SAFETY: out pointers come from `receive` and are live; no other pointers.
    receive(|data, size| unsafe {
        sys::proxy_get_buffer_bytes(buffer as u32, 0, i32::MAX as usize, data, size)
    })
}

/// A header map in the encoding that [`crate::pairs`] reads; no bytes where the map is empty.
#[must_use]
pub fn header_pairs(map: Map) -> Option<Vec<u8>> {
    // SAFETY: out pointers come from `receive` and are live; no other pointers.
    receive(|data, size| unsafe { sys::proxy_get_header_map_pairs(map as u32, data, size) })
}

/// The first value of a header.
#[must_use]
pub fn header(map: Map, name: &[u8]) -> Option<Vec<u8>> {
    // SAFETY: out pointers come from `receive` and are live; the others describe `name`, which outlives the call.
    receive(|data, size| unsafe {
        sys::proxy_get_header_map_value(map as u32, name.as_ptr(), name.len(), data, size)
    })
}

/// Adds a header line after those of the same name.
pub fn add_header(map: Map, name: &[u8], value: &[u8]) -> bool {
    // SAFETY: pointers and lengths describe `name` and `value`, which outlive the call.
    unsafe {
        sys::proxy_add_header_map_value(map as u32, name.as_ptr(), name.len(), value.as_ptr(), value.len())
            == OK
    }
}

/// Replaces the value of a header that has a single line. Where there may be several lines, remove and add: hosts
/// differ in which of them they replace.
pub fn replace_header(map: Map, name: &[u8], value: &[u8]) -> bool {
    // SAFETY: pointers and lengths describe `name` and `value`, which outlive the call.
    unsafe {
        sys::proxy_replace_header_map_value(
            map as u32,
            name.as_ptr(),
            name.len(),
            value.as_ptr(),
            value.len(),
        ) == OK
    }
}

/// Removes every line of a header.
pub fn remove_header(map: Map, name: &[u8]) -> bool {
    // SAFETY: pointer and length describe `name`, which outlives the call.
    unsafe { sys::proxy_remove_header_map_value(map as u32, name.as_ptr(), name.len()) == OK }
}

/// A property; `path` has its segments joined by single zero bytes.
#[must_use]
pub fn property(path: &[u8]) -> Option<Vec<u8>> {
    // SAFETY: out pointers come from `receive` and are live; the others describe `path`, which outlives the call.
    receive(|data, size| unsafe { sys::proxy_get_property(path.as_ptr(), path.len(), data, size) })
}

/// Sets a property of the current stream.
pub fn set_property(path: &[u8], value: &[u8]) -> bool {
    // SAFETY: pointers and lengths describe `path` and `value`, which outlive the call.
    unsafe { sys::proxy_set_property(path.as_ptr(), path.len(), value.as_ptr(), value.len()) == OK }
}

/// Resumes a paused response. Call it at most once for each pause.
pub fn resume_response() -> bool {
    const HTTP_RESPONSE: u32 = 1;
    // SAFETY: no pointers.
    unsafe { sys::proxy_continue_stream(HTTP_RESPONSE) == OK }
}

/// Sends a local reply to the current request. `details` is the reason in access logs.
pub fn send_local_response(status: u32, details: &str, body: &str) -> bool {
    const NO_GRPC_STATUS: i32 = -1;
    // An empty map: a count of zero.
    let headers = 0_u32.to_le_bytes();
    // SAFETY: pointers and lengths describe `details`, `body` and `headers`, which outlive the call.
    unsafe {
        sys::proxy_send_local_response(
            status,
            details.as_ptr(),
            details.len(),
            body.as_ptr(),
            body.len(),
            headers.as_ptr(),
            headers.len(),
            NO_GRPC_STATUS,
        ) == OK
    }
}

/// A value shared by all VMs of the same vm id, and its compare-and-swap number.
#[must_use]
pub fn shared_data(key: &str) -> Option<(Vec<u8>, u32)> {
    let mut cas = 0_u32;
    // SAFETY: out pointers come from `receive` or are to a live u32; the others describe `key`, which outlives
    // the call.
    let value = receive(|data, size| unsafe {
        sys::proxy_get_shared_data(key.as_ptr(), key.len(), data, size, &raw mut cas)
    })?;
    Some((value, cas))
}

/// Sets a shared value; with a `cas` other than 0 only if the value was not set since that number was read. Returns
/// whether the value was set.
pub fn set_shared_data(key: &str, value: &[u8], cas: u32) -> bool {
    // SAFETY: pointers and lengths describe `key` and `value`, which outlive the call.
    unsafe { sys::proxy_set_shared_data(key.as_ptr(), key.len(), value.as_ptr(), value.len(), cas) == OK }
}

/// Defines a counter and returns its id in this VM.
#[must_use]
pub fn define_counter(name: &str) -> Option<u32> {
    const COUNTER: u32 = 0;
    let mut id = 0_u32;
    // SAFETY: pointer and length describe `name`, which outlives the call; `id` is a live u32.
    let status = unsafe { sys::proxy_define_metric(COUNTER, name.as_ptr(), name.len(), &raw mut id) };
    (status == OK).then_some(id)
}

/// Adds to a counter; `by` is 1 or more.
pub fn increment_metric(id: u32, by: i64) -> bool {
    // SAFETY: no pointers.
    unsafe { sys::proxy_increment_metric(id, by) == OK }
}

/// Sends an HTTP request to an upstream cluster. The reply is delivered to the current context, under the returned
/// token. `None` where the call failed at once (no such cluster, connection refused); no reply is delivered then.
#[must_use]
pub fn http_call(
    cluster: &str,
    method: &str,
    path: &str,
    body: Option<&[u8]>,
    timeout: Duration,
) -> Option<u32> {
    let headers = vec![
        (":method", method),
        (":path", path),
        (":authority", cluster),
        (":scheme", "http"),
        ("content-type", "application/octet-stream"),
    ];
    proxy_wasm::hostcalls::dispatch_http_call(cluster, headers, body, Vec::new(), timeout).ok()
}

/// Takes ownership of the block that the host allocated in guest memory for the result of `call`.
fn receive(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Option<Vec<u8>> {
    let mut data: *mut u8 = std::ptr::null_mut();
    let mut size = 0_usize;
    if call(&raw mut data, &raw mut size) != OK {
        return None;
    }
    if data.is_null() || size == 0 {
        return Some(Vec::new());
    }
    // SAFETY: the host got this block from the module's exported allocator, which makes boxed slices of exactly
    // `size` bytes, filled it, and passes ownership with this call; there is no other pointer to it.
    Some(unsafe { Vec::from_raw_parts(data, size, size) })
}

/// The imports, with their statuses as plain numbers.
mod sys {
    /// What every call returns where there is no host.
    #[cfg(not(target_arch = "wasm32"))]
    const UNIMPLEMENTED: u32 = 12;

    macro_rules! imports {
        ($(fn $name:ident($($arg:ident: $kind:ty),* $(,)?);)*) => {
            #[cfg(target_arch = "wasm32")]
            #[link(wasm_import_module = "env")]
            unsafe extern "C" {
                $(pub(super) fn $name($($arg: $kind),*) -> u32;)*
            }
            $(
                #[cfg(not(target_arch = "wasm32"))]
                #[allow(clippy::too_many_arguments, reason = "the ABI has this many")]
                pub(super) unsafe fn $name($(_: $kind),*) -> u32 {
                    UNIMPLEMENTED
                }
            )*
        };
    }

    imports! {
        fn proxy_log(level: u32, data: *const u8, size: usize);
        fn proxy_get_current_time_nanoseconds(nanos: *mut u64);
        fn proxy_set_tick_period_milliseconds(period: u32);
        fn proxy_get_buffer_bytes(buffer: u32, start: usize, max: usize, data: *mut *mut u8, size: *mut usize);
        fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize);
        fn proxy_get_header_map_value(
            map: u32, key: *const u8, key_size: usize, data: *mut *mut u8, size: *mut usize,
        );
        fn proxy_add_header_map_value(
            map: u32, key: *const u8, key_size: usize, value: *const u8, value_size: usize,
        );
        fn proxy_replace_header_map_value(
            map: u32, key: *const u8, key_size: usize, value: *const u8, value_size: usize,
        );
        fn proxy_remove_header_map_value(map: u32, key: *const u8, key_size: usize);
        fn proxy_get_property(path: *const u8, path_size: usize, data: *mut *mut u8, size: *mut usize);
        fn proxy_set_property(path: *const u8, path_size: usize, value: *const u8, value_size: usize);
        fn proxy_continue_stream(stream: u32);
        fn proxy_send_local_response(
            status: u32, details: *const u8, details_size: usize, body: *const u8, body_size: usize,
            headers: *const u8, headers_size: usize, grpc_status: i32,
        );
        fn proxy_get_shared_data(
            key: *const u8, key_size: usize, data: *mut *mut u8, size: *mut usize, cas: *mut u32,
        );
        fn proxy_set_shared_data(
            key: *const u8, key_size: usize, value: *const u8, value_size: usize, cas: u32,
        );
        fn proxy_define_metric(kind: u32, name: *const u8, name_size: usize, id: *mut u32);
        fn proxy_increment_metric(id: u32, by: i64);
    }
}
