//! The names of the contract: header fields, filter API paths, and the upstream cluster of the core.
//!
//! Filters, daemons, `limpet-host` and operators' configurations rely on them; changing one changes the contract.
//! What a header's value means in detail is documented at its reader.

/// The upstream cluster by which a filter reaches its core (Envoy cluster name, limpet-host `[core]`).
pub const CORE_CLUSTER: &str = "limpet_core";

/// The worker table, by long poll. `GET`, query `after=<epoch>.<number>&wait_ms=<n>`: 200 with an encoded
/// [`crate::table::WorkerTable`] as soon as its version is not `after`, or 204 when `wait_ms` passed without a change.
pub const TABLE_PATH: &str = "/v1/filter/table";

/// When an answer left the core, in milliseconds since 1970 by its clock. With every answer to [`TABLE_PATH`]; core to
/// filter only.
pub const CORE_TIME: &str = "limpet-core-time";

/// Session reports. `POST`, query `ack=none|one|quorum|all&timeout_ms=<n>`; the request body is an encoded
/// [`crate::report::Report`], the response body an encoded [`crate::report::Reply`].
pub const REPORT_PATH: &str = "/v1/filter/report";

/// The longest `wait_ms` a core honours, in milliseconds; a longer one counts as this.
pub const TABLE_WAIT_MAX_MS: u64 = 30_000;

/// The workers a request may go to: `ip:port[,ip:port...]`, most preferred first. Filter to proxy only.
pub const DESTINATION: &str = "x-limpet-destination";

/// The session id without its route. Filter to worker.
pub const SESSION_ID: &str = "limpet-session-id";

/// `?1` when the first destination is the worker the session is bound to. Filter to worker.
pub const PRIMARY: &str = "limpet-primary";

/// The id, with its route, that the client sent before the takeover. Filter to worker.
pub const ORIGINAL_SESSION_ID: &str = "limpet-original-session-id";

/// Attributes to set: RFC 9651 dictionary of byte sequences. Worker to filter.
pub const SESSION_SET: &str = "limpet-session-set";

/// Attributes to remove: RFC 9651 list of strings or tokens. Worker to filter.
pub const SESSION_REMOVE: &str = "limpet-session-remove";

/// Idle lifetime in seconds: RFC 9651 integer; 0 or less means that the session never expires. Worker to filter.
pub const SESSION_MAX_INACTIVE: &str = "limpet-session-max-inactive";

/// `?1` deletes the session: RFC 9651 boolean. Worker to filter.
pub const SESSION_INVALIDATE: &str = "limpet-session-invalidate";

/// Whether a header name is reserved for Limpet (`limpet-*`, `x-limpet-*`) and therefore removed from what clients
/// send. `name` may be in any case.
#[must_use]
pub fn is_reserved(name: &[u8]) -> bool {
    let rest = match name {
        [b'x' | b'X', b'-', rest @ ..] => rest,
        other => other,
    };
    rest.get(..7)
        .is_some_and(|head| head.eq_ignore_ascii_case(b"limpet-"))
}

#[cfg(test)]
mod tests {
    use super::is_reserved;

    #[test]
    fn reserved_names_in_any_case_and_no_others() {
        for name in [
            "limpet-session-id",
            "X-Limpet-Destination",
            "LIMPET-x",
            "x-limpet-",
        ] {
            assert!(is_reserved(name.as_bytes()), "{name}");
        }
        for name in ["limpet", "x-limpe", "limpets-x", "xlimpet-x", "", "x-"] {
            assert!(!is_reserved(name.as_bytes()), "{name}");
        }
    }
}
