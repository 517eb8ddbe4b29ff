//! The proxy's own counters, `limpet_host_*`.
//!
//! Each thread has its own set, so threads never contend for a cache line; the admin page adds them up.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A number that rises.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The number.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! counters {
    ($($field:ident $name:literal $help:literal),* $(,)?) => {
        /// One thread's counters.
        #[derive(Debug, Default)]
        #[repr(align(128))]
        pub struct Counters {
            $(#[doc = $help] pub $field: Counter,)*
        }

        /// Prints the sums of all threads in the Prometheus text format.
        pub fn print(threads: &[Arc<Counters>], out: &mut String) {
            let mut last = "";
            $({
                let sum: u64 = threads.iter().map(|thread| thread.$field.get()).sum();
                let base = $name.split('{').next().unwrap_or($name);
                if base != last {
                    let _ = writeln!(out, "# HELP {base} {}\n# TYPE {base} counter", $help);
                    last = base;
                }
                let _ = writeln!(out, "{} {sum}", $name);
            })*
            let _ = last;
        }
    };
}

counters! {
    connections "limpet_host_connections_total" "Connections accepted.",
    requests "limpet_host_requests_total" "Requests read.",
    informational "limpet_host_responses_total{class=\"1xx\"}" "Answers, by class of status.",
    successes "limpet_host_responses_total{class=\"2xx\"}" "Answers, by class of status.",
    redirections "limpet_host_responses_total{class=\"3xx\"}" "Answers, by class of status.",
    client_errors "limpet_host_responses_total{class=\"4xx\"}" "Answers, by class of status.",
    server_errors "limpet_host_responses_total{class=\"5xx\"}" "Answers, by class of status.",
    rescued "limpet_host_rescued_total" "Answers the proxy made because of an error.",
    attempts "limpet_host_upstream_attempts_total" "Requests sent or tried to send to a worker.",
    retries "limpet_host_upstream_retries_total" "Attempts after the first one of a request.",
    connects "limpet_host_upstream_connects_total" "Connections opened to workers.",
    connect_failures "limpet_host_upstream_connect_failures_total" "Connections to workers that failed.",
    callouts "limpet_host_callouts_total" "Requests sent by filters.",
    callout_failures "limpet_host_callout_failures_total" "Requests of filters that got no answer.",
    vm_traps "limpet_host_vm_traps_total" "Filters that trapped.",
    vm_restarts "limpet_host_vm_restarts_total" "Filters started again after a trap.",
    filter_failures "limpet_host_filter_failures_total" "Requests that found a filter not running.",
    connection_panics "limpet_host_connection_panics_total" "Client connections closed because serving them panicked.",
    upgrades "limpet_host_upgrades_total" "Connections that became tunnels.",
    timeouts "limpet_host_client_timeouts_total" "Client connections closed because nothing came.",
}

impl Counters {
    /// Counts an answer.
    pub fn answered(&self, status: http::StatusCode) {
        match status.as_u16() {
            ..200 => &self.informational,
            200..300 => &self.successes,
            300..400 => &self.redirections,
            400..500 => &self.client_errors,
            500.. => &self.server_errors,
        }
        .add(1);
    }
}
