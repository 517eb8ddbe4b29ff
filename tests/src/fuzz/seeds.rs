//! Inputs to begin with: what is really said, spelled by the product itself, and what was made by hand to do harm.

use limpet_core::membership::{Hint, MemberMessage, SignedHint};
use limpet_core::net::frame;
use limpet_core::net::hello::{Hello, Verdict};
use limpet_core::replication::message::{self, Message};
use limpet_wire::codec;
use limpet_wire::report::{IdleLimit, Operation, Reply, Report};
use limpet_wire::table::{TableVersion, Worker, WorkerStatus, WorkerTable};
use limpet_wire::token::{self, Claims};

use super::engine::WALL_MS;
use super::spoken::{messages, words};
use super::targets::token_key;

/// An input.
#[derive(Debug, Clone)]
pub struct Seed {
    /// The target it is for.
    pub target: &'static str,
    /// What it is, as the name of a file.
    pub name: String,
    /// The input.
    pub bytes: Vec<u8>,
}

/// All of them.
#[must_use]
pub fn seeds() -> Vec<Seed> {
    let mut seeds = Vec::new();
    let mut add = |target, name: &str, bytes: Vec<u8>| {
        seeds.push(Seed {
            target,
            name: name.to_owned(),
            bytes,
        });
    };
    let messages = messages();
    for (name, message) in &messages {
        let bytes = message::encode(message).expect("a message");
        for (harm, bytes) in harmed(&bytes) {
            add("message", &format!("{name}{harm}"), bytes);
        }
        add("engine", name, framed([bytes]));
    }
    let encoded = |(_, message): &(&str, Message)| message::encode(message).expect("a message");
    add("engine", "everything", framed(messages.iter().map(encoded)));
    add(
        "engine",
        "everything-backwards",
        framed(messages.iter().rev().map(encoded)),
    );
    let twice = [&messages[..], &messages[..]].concat();
    add("engine", "everything-twice", framed(twice.iter().map(encoded)));
    for (name, bytes) in hostile_messages() {
        add("message", &name, bytes.clone());
        add("engine", &name, framed([bytes]));
    }
    add("frames", "two", framed([vec![1], vec![2; 300]]));
    add("frames", "empty", vec![0; 4]);
    add("frames", "cut-in-length", vec![9, 0]);
    add("frames", "cut-in-body", vec![9, 0, 0, 0, 1]);
    add(
        "frames",
        "largest-claimed",
        [&(64_u32 << 20).to_le_bytes()[..], &[1; 100]].concat(),
    );
    add(
        "frames",
        "past-largest",
        [&((64_u32 << 20) + 1).to_le_bytes()[..], &[1; 100]].concat(),
    );
    add("frames", "longest-claimed", vec![0xff; 64]);
    for (name, claim) in [
        ("zstd-nothing", 0),
        ("zstd-claim", 64_u32 << 20),
        ("zstd-past-largest", u32::MAX),
    ] {
        let body = [&claim.to_le_bytes()[..], &[0x28, 0xb5, 0x2f, 0xfd, 0, 0, 1, 0, 0]].concat();
        let head = (body.len() as u32 | 1 << 31).to_le_bytes();
        add("frames", name, [&head[..], &body].concat());
    }
    add("frames", "http", b"GET / HTTP/1.1\r\nhost: a\r\n\r\n".to_vec());
    add("frames", "tls", vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]);
    for (name, verdict) in [
        ("welcome", Verdict::Welcome),
        ("taken", Verdict::IdTaken(([10, 0, 0, 9], 4000).into())),
        ("other-domain", Verdict::OtherDomain),
    ] {
        let hello = Hello {
            node: "b".into(),
            domain: "d10".into(),
            incarnation: WALL_MS,
            addr: "[::1]:4000".parse().expect("an address"),
            knows: WALL_MS - 1,
            stream: 1,
            verdict,
        };
        for (harm, bytes) in harmed(&hello.encode().expect("a hello")) {
            add("hello", &format!("{name}{harm}"), bytes);
        }
    }
    for (name, word) in words() {
        for (harm, bytes) in harmed(&word.encode()) {
            add("word", &format!("{name}{harm}"), bytes);
        }
        if let MemberMessage::Swim(packet) = word {
            for (harm, bytes) in harmed(&packet) {
                add("swim", &format!("{name}{harm}"), bytes);
            }
        }
    }
    let hint = Hint {
        cluster: "shop".into(),
        domain: String::new(),
        node: "b".into(),
        addr: ([10, 0, 0, 2], 4000).into(),
        sent_ms: WALL_MS,
    };
    let signed = SignedHint {
        body: hint.encode().expect("a hint"),
        certificate: vec![0x30; 400],
        scheme: 0x0403,
        signature: vec![0x31; 70],
    };
    for (harm, bytes) in harmed(&signed.encode().expect("a datagram")) {
        add("hint", &format!("hint{harm}"), bytes);
    }
    for (harm, bytes) in harmed(&codec::encode(&report()).expect("a report")) {
        add("report", &format!("report{harm}"), bytes);
    }
    let reply = Reply {
        copies: 3,
        refused: vec![(1, "there is no such session".into())],
    };
    add("report", "reply", codec::encode(&reply).expect("a reply"));
    for (harm, bytes) in harmed(&codec::encode(&table()).expect("a table")) {
        add("table", &format!("table{harm}"), bytes);
    }
    let claims = Claims {
        app: "default".into(),
        route: "a".into(),
        fallbacks: vec!["b".into(), "c".into()],
        first_seen: WALL_MS / 1000,
        last_seen: WALL_MS / 1000,
    };
    let sealed = token::seal(&claims, "shop", &token_key(), [3; 24]).expect("a token");
    for (harm, bytes) in harmed(sealed.as_bytes()) {
        add("token", &format!("token{harm}"), bytes);
    }
    for (name, text) in CONFIGS {
        add("config", name, text.as_bytes().to_vec());
    }
    seeds
}

/// An input as it is, cut short, with more after it, of another version, and with a length that is not there.
fn harmed(bytes: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let with = |at: usize, value: u8| {
        let mut bytes = bytes.to_vec();
        if let Some(byte) = bytes.get_mut(at) {
            *byte = value;
        }
        bytes
    };
    let huge = |at: usize| {
        let mut bytes = bytes.to_vec();
        let at = at.min(bytes.len());
        bytes.splice(at..at, [0xfd, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f]);
        bytes
    };
    vec![
        ("", bytes.to_vec()),
        ("-cut-in-half", bytes[..bytes.len() / 2].to_vec()),
        ("-cut-at-end", bytes[..bytes.len().saturating_sub(1)].to_vec()),
        ("-with-more", [bytes, &[0]].concat()),
        ("-other-version", with(0, 0xee)),
        ("-other-kind", with(1, 0xee)),
        ("-huge-length", huge(2)),
        ("-huge-length-later", huge(bytes.len() / 2)),
    ]
}

fn framed(bodies: impl IntoIterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut bytes = Vec::new();
    bodies
        .into_iter()
        .for_each(|body| frame::write(&body, &mut bytes));
    bytes
}

/// Messages that claim more than they hold, or hold more than they seem to.
fn hostile_messages() -> Vec<(String, Vec<u8>)> {
    const VERSION: u8 = message::PROTOCOL;
    let number = |mut value: u64| {
        let mut bytes = Vec::new();
        while value >= 0x80 {
            bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        bytes.push(value as u8);
        bytes
    };
    let claim = [0xfc, 0xff, 0xff, 0x7f, 0];
    let mut all = vec![
        ("nothing".to_owned(), Vec::new()),
        ("version-alone".to_owned(), vec![VERSION]),
    ];
    // Every message that is spelled by bincode, with a list of eight million where the first number stands.
    for kind in 0..16 {
        all.push((
            format!("claim-{kind}"),
            [&[VERSION, 0, kind][..], &claim].concat(),
        ));
        all.push((
            format!("claim-later-{kind}"),
            [&[VERSION, 0, kind, 1][..], &claim].concat(),
        ));
    }
    for kind in 1..4 {
        for count in [65_536, 65_537, u64::MAX] {
            let name = format!("records-{kind}-{count}");
            all.push((name, [&[VERSION, kind, 1][..], &number(count)].concat()));
        }
    }
    // As many records as there can be, each as short as it can be: names and stamps stand for much longer ones.
    let mut short = [&[VERSION, 1, 1][..], &number(8192)].concat();
    short.extend([0_u8, 0x7f]);
    short.resize(short.len() + 8192 * 3, 1);
    all.push(("short-records".to_owned(), short));
    all.push((
        "zeros".to_owned(),
        [&[VERSION, 1, 1][..], &number(4096), &[0; 16_384]].concat(),
    ));
    all.push(("ones".to_owned(), [&[VERSION, 1][..], &[0xff; 4096]].concat()));
    all
}

fn report() -> Report {
    let operation = Operation {
        app: "default".into(),
        id: "S1".into(),
        route: Some("a".into()),
        touch: true,
        set: vec![("cart".into(), b"shoes".to_vec())],
        remove: vec!["coupon".into()],
        max_inactive: Some(IdleLimit::Millis(60_000)),
        invalidate: false,
        began_ms: Some(1_700_000_000_000),
    };
    let over = Operation {
        id: "S2".into(),
        invalidate: true,
        began_ms: Some(1_700_000_000_000),
        ..operation.clone()
    };
    Report {
        operations: vec![operation, over],
    }
}

fn table() -> WorkerTable {
    let worker = |route: &str, status| Worker {
        route: route.into(),
        url: "http://[::1]:8080".into(),
        addr: "[::1]:8080".into(),
        weight: 1,
        status,
        node: route.into(),
    };
    WorkerTable {
        cluster: "shop".into(),
        version: TableVersion {
            epoch: WALL_MS,
            number: 7,
        },
        keys: vec![token_key()],
        workers: vec![worker("a", WorkerStatus::Up), worker("b", WorkerStatus::Draining)],
    }
}

const CONFIGS: &[(&str, &str)] = &[
    (
        "small",
        "[node]\nid = \"a\"\ncluster = \"shop\"\n[listen]\ncluster = \"10.0.0.1:4000\"\n[tls]\nca = \"ca.pem\"\ncert = \"a.pem\"\nkey = \"a.key\"\n",
    ),
    (
        "workers",
        "[[worker]]\nroute = \"a\"\nurl = \"http://127.0.0.1:8081\"\nweight = 1\nhealth = \"/\"\n[[worker]]\nroute = 7\n",
    ),
    (
        "replication",
        "[replication]\nmode = \"backup\"\ncopies = 2\nack = \"all\"\nack_timeout = \"15s\"\nqueue_bytes = \"64MiB\"\nreplicate = [\"cart|user\", \"step[0-9]+\"]\n",
    ),
    (
        "regex-bomb",
        "[replication]\nreplicate = [\"((a{100}){100}){100}\", \"\\\\w{1000}{1000}\", \"(((((((((((((((((((((((a\"]\n",
    ),
    (
        "huge-numbers",
        "[session]\nmax_active = 9223372036854775807\nmax_inactive = \"99999999999999999999h\"\n",
    ),
    (
        "wrong-types",
        "node = []\nlisten = 5\ntls = \"x\"\n[membership]\nseeds = [[[[]]]]\n",
    ),
    (
        "deep",
        "a = [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
    ),
    ("dotted", "a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p = 1\n[a.b.c]\nd = 2\n"),
    ("no-toml", "\u{0}\u{feff}=== [[[["),
];
