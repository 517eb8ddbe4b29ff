//! Every option that is a number, a duration or a size: at nothing, below nothing, at one, at its bounds and past
//! them. What is refused is refused with one sentence under its own key.

use super::*;

/// A key, what is written there, whether it is taken.
type Row = (&'static str, &'static [(&'static str, bool)]);

const ROWS: &[Row] = &[
    (
        "listen.autobind",
        &[
            ("-1", false),
            ("0", true),
            ("1", true),
            ("1000", true),
            ("1001", false),
            ("9223372036854775807", false),
        ],
    ),
    (
        "tls.reauthenticate",
        &[
            ("\"-1s\"", false),
            ("\"0s\"", true),
            ("\"1ms\"", true),
            ("\"1h\"", true),
            ("\"3600001ms\"", false),
        ],
    ),
    (
        "tls.max_link_age",
        &[
            ("\"-1s\"", false),
            ("\"0s\"", false),
            ("\"999ms\"", false),
            ("\"1s\"", true),
            ("\"30d\"", true),
            ("\"2592000001ms\"", false),
        ],
    ),
    (
        "membership.probe_interval",
        &[
            ("\"-1ms\"", false),
            ("\"0ms\"", false),
            ("\"1ms\"", false),
            ("\"49ms\"", false),
            ("\"50ms\"", true),
            ("\"1s\"", true),
            ("\"60s\"\ndrop_time = \"10m\"", true),
            ("\"60001ms\"\ndrop_time = \"10m\"", false),
            ("500", false),
        ],
    ),
    (
        "membership.drop_time",
        &[
            ("\"-1ms\"", false),
            ("\"0ms\"", false),
            ("\"1ms\"", false),
            ("\"199ms\"\nprobe_interval = \"50ms\"", false),
            ("\"200ms\"\nprobe_interval = \"50ms\"", true),
            ("\"1499ms\"", false),
            ("\"1500ms\"", true),
            ("\"10m\"", true),
            ("\"600001ms\"", false),
        ],
    ),
    (
        "membership.dns_interval",
        &[
            ("\"-1s\"", false),
            ("\"0s\"", false),
            ("\"999ms\"", false),
            ("\"1s\"", true),
            ("\"1h\"", true),
            ("\"3600001ms\"", false),
        ],
    ),
    (
        "membership.multicast.frequency",
        &[
            ("\"-1ms\"", false),
            ("\"0ms\"", false),
            ("\"1ms\"", false),
            ("\"50ms\"", true),
            ("\"60s\"", true),
            ("\"60001ms\"", false),
        ],
    ),
    (
        "membership.multicast.ttl",
        &[
            ("-1", false),
            ("0", false),
            ("1", true),
            ("255", true),
            ("256", false),
        ],
    ),
    (
        "membership.max_drift_warning",
        &[
            ("\"-1ms\"", false),
            ("\"0ms\"", false),
            ("\"1ms\"", false),
            ("\"10ms\"", true),
            ("\"1h\"", true),
            ("\"3600001ms\"", false),
        ],
    ),
    (
        "replication.max_skew",
        &[
            ("\"-1s\"", false),
            ("\"0s\"", false),
            ("\"999ms\"", false),
            ("\"1s\"", true),
            ("\"1h\"", true),
            ("\"3600001ms\"", false),
        ],
    ),
    (
        "worker.weight",
        &[
            ("-1", false),
            ("0", false),
            ("1", true),
            ("1000", true),
            ("1001", false),
            ("4294967297", false),
        ],
    ),
    (
        "replication.ack_timeout",
        &[
            ("\"-1ms\"", false),
            ("\"0ms\"", false),
            ("\"1ms\"", true),
            ("\"10m\"", true),
            ("\"600001ms\"", false),
        ],
    ),
    (
        "replication.compress",
        &[
            ("\"none\"", true),
            ("\"zstd\"", true),
            ("\"gzip\"", false),
            ("\"\"", false),
            ("1", false),
        ],
    ),
    (
        "replication.links",
        &[
            ("-1", false),
            ("0", false),
            ("1", true),
            ("16", true),
            ("17", false),
            ("\"2\"", false),
        ],
    ),
    (
        "replication.donor_transfers",
        &[
            ("-1", false),
            ("0", false),
            ("1", true),
            ("64", true),
            ("65", false),
        ],
    ),
    (
        "replication.repair_interval",
        &[
            ("\"-1ms\"", false),
            ("\"0ms\"", false),
            ("\"1ms\"", false),
            ("\"99ms\"", false),
            ("\"100ms\"", true),
            ("\"1h\"", true),
            ("\"3600001ms\"", false),
        ],
    ),
    (
        "replication.queue_bytes",
        &[
            ("\"-1B\"", false),
            ("\"0B\"", false),
            ("\"1B\"", false),
            ("\"65535B\"", false),
            ("\"64KiB\"", true),
            ("\"16GiB\"", true),
            ("\"17179869185B\"", false),
            ("\"99999999999999999GiB\"", false),
            ("64", false),
        ],
    ),
    (
        "replication.state_transfer_timeout",
        &[
            ("\"-1ms\"", false),
            ("\"0ms\"", false),
            ("\"1ms\"", false),
            ("\"100ms\"", true),
            ("\"1d\"", true),
            ("\"86400001ms\"", false),
            ("\"never\"", true),
            ("\"Never\"", false),
        ],
    ),
    (
        "session.max_inactive",
        &[
            ("\"-1\"", true),
            ("\"-2\"", false),
            ("\"0s\"", false),
            ("\"1ms\"", true),
            ("\"18446744073709551615d\"", false),
        ],
    ),
    (
        "session.max_active",
        &[
            ("-2", false),
            ("-1", true),
            ("0", false),
            ("1", true),
            ("9223372036854775807", true),
            ("1.5", false),
        ],
    ),
    (
        "replication.copies",
        &[
            ("-1", false),
            ("0", false),
            ("1", true),
            ("8", true),
            ("9", false),
            ("\"2\"", false),
        ],
    ),
    (
        "replication.mode",
        &[
            ("\"delta\"", true),
            ("\"backup\"", true),
            ("\"\"", false),
            ("1", false),
        ],
    ),
    (
        "replication.tombstone_life",
        &[
            ("\"-1ms\"", false),
            ("\"0s\"", false),
            ("\"1s\"", false),
            ("\"10s\"", true),
            ("\"30d\"", true),
            ("\"31d\"", false),
        ],
    ),
    (
        "session.rename_forward",
        &[
            ("\"-1ms\"", false),
            ("\"0s\"", true),
            ("\"1ms\"", true),
            ("\"10m\"", true),
            ("\"600001ms\"", false),
        ],
    ),
    (
        "session.touch_interval",
        &[
            ("\"-1ms\"", false),
            ("\"0s\"", false),
            ("\"1ms\"", false),
            ("\"100ms\"", true),
            ("\"1d\"", true),
            ("\"86400001ms\"", false),
        ],
    ),
];

/// The least good file with `key = written` in it.
fn with(key: &str, written: &str) -> String {
    let (table, name) = key.rsplit_once('.').unwrap();
    if table == "worker" {
        return format!("{GOOD}\n[[worker]]\nroute = \"w\"\nurl = \"http://10.0.0.1\"\n{name} = {written}\n");
    }
    if table == "membership.multicast" {
        return format!("{GOOD}\n[{table}]\naddress = \"228.0.0.4:45564\"\n{name} = {written}\n");
    }
    let head = format!("[{table}]");
    if GOOD.contains(&head) {
        GOOD.replace(&head, &format!("{head}\n{name} = {written}"))
    } else {
        format!("{GOOD}\n{head}\n{name} = {written}\n")
    }
}

#[test]
fn every_number_is_taken_within_its_bounds_and_refused_past_them() {
    let mut wrong = Vec::new();
    for (key, values) in ROWS {
        for (written, taken) in *values {
            let found = problems(&with(key, written));
            let place = key.replace("worker.", "worker[0].");
            let right = match found.as_slice() {
                [] => *taken,
                [only] => !taken && only.starts_with(&format!("{place}: ")) && only.len() > place.len() + 10,
                _ => false,
            };
            if !right {
                wrong.push(format!("{key} = {written}: {found:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
