//! A node that is told whatever a peer with a certificate may tell it: frames of one link, one after the other.

use std::collections::BTreeSet;
use std::time::Duration;

use limpet_core::base::clock::Now;
use limpet_core::base::id::{NodeId, SessionKey};
use limpet_core::base::limits::FRAME_MAX;
use limpet_core::engine::sessions::Patch;
use limpet_core::engine::{ClockLimits, Engine, EngineConfig, Mode};
use limpet_core::replication::message::{self, DeclaredWorker};
use limpet_core::replication::streams::CONTROL;
use limpet_wire::report::IdleLimit;

use super::targets::{identity, receiver, swim_config};

/// Milliseconds since 1970 at which everything happens.
pub const WALL_MS: u64 = 1_700_000_000_000;
/// The most messages of one input that are taken.
const MESSAGES_MAX: usize = 64;
/// How long a node alone takes to be ready, and more.
const BEGIN: Duration = Duration::from_secs(5);

/// Reads `bytes` as frames, and hands those that are messages to a ready node, with time passing between them.
/// Afterwards it still has to do its work, and to know what it holds.
///
/// # Panics
/// When it does not.
pub fn messages(bytes: &[u8]) {
    for mode in [Mode::Delta, Mode::Backup { copies: 1 }] {
        receives_in(mode, bytes);
    }
}

fn receives_in(mode: Mode, mut bytes: &[u8]) {
    let mut mono = BEGIN;
    let at = |mono: Duration| Now {
        wall_ms: WALL_MS + mono.as_millis() as u64,
        mono,
    };
    let mut engine = ready(mode);
    let peer = NodeId::parse("b").expect("a name");
    let own = SessionKey::parse("default", "own").expect("a key");
    engine.listen();
    engine.link_up(&peer, identity("b", 2, WALL_MS + 1), CONTROL, at(mono));
    let listening = engine.on_hello(&peer, CONTROL, ([10, 0, 0, 2], 4000).into());
    for _ in 0..MESSAGES_MAX {
        let Some((head, rest)) = bytes.split_first_chunk::<4>() else {
            break;
        };
        let len = u32::from_le_bytes(*head) as usize;
        if len == 0 || len > FRAME_MAX || len > rest.len() {
            break;
        }
        let (frame, rest) = rest.split_at(len);
        bytes = rest;
        let Ok(message) = message::decode(frame) else {
            break;
        };
        if !engine.on_message(&peer, listening, message, at(mono)) {
            break;
        }
        for message in engine.next_messages(&peer, CONTROL) {
            message::encode(&message).expect("what it says can be said");
        }
        let mut changes = Vec::new();
        if engine.next_changes(&peer, CONTROL, &mut changes).is_some() {
            message::decode(&changes).expect("what it says can be read");
        }
        mono += Duration::from_millis(50);
        engine.tick(at(mono));
        engine.take_outputs();
        engine.take_events();
    }
    let alive = engine
        .table()
        .iter()
        .filter(|(_, record)| record.is_alive())
        .count();
    assert_eq!(alive, engine.table().alive(), "it lost count of its sessions");
    let digest = engine
        .table()
        .iter()
        .fold(0, |sum, (_, record)| sum ^ record.digest());
    let told = engine.table().digests().fold(0, |sum, digest| sum ^ digest);
    assert_eq!(digest, told, "its digest is not that of what it holds");
    if engine.check_ready().is_ok() {
        let patch = Patch {
            set: vec![("x".into(), b"1"[..].into())],
            ..Patch::default()
        };
        // The peer may have said that a part of just this session is on its way.
        if let Ok(written) = engine.patch(&own, patch, at(mono)) {
            assert!(engine.session(&written.key, at(mono)).is_some());
        }
    }
}

/// A node alone that is ready.
fn ready(mode: Mode) -> Engine {
    let me = receiver();
    let config = EngineConfig {
        node: NodeId::parse(&me.node).expect("a name"),
        cluster: "shop".into(),
        addr: me.addr,
        swim: swim_config(),
        seeds: BTreeSet::new(),
        hints: false,
        links: 1,
        mode,
        quorum_founders: Some(1),
        queue_bytes: 1 << 20,
        donor_transfers: 2,
        repair_interval: Duration::from_secs(5),
        state_transfer_timeout: Some(Duration::from_secs(1)),
        max_inactive: IdleLimit::Millis(1_800_000),
        max_active: None,
        touch_interval: Duration::from_secs(60),
        tombstone_life: Duration::from_secs(24 * 3600),
        rename_forward: Duration::from_secs(30),
        clocks: ClockLimits::default(),
        quarantine: BTreeSet::new(),
        fail_on_id: None,
        workers: vec![DeclaredWorker {
            route: "a".into(),
            url: "http://10.0.0.1:8080".into(),
            addr: "10.0.0.1:8080".into(),
            weight: 1,
            healthy: true,
        }],
        seed: 7,
    };
    let at = |ms: u64| Now {
        wall_ms: WALL_MS + ms,
        mono: Duration::from_millis(ms),
    };
    let mut engine = Engine::new(config, at(0));
    for ms in (50..BEGIN.as_millis() as u64).step_by(50) {
        engine.tick(at(ms));
    }
    engine.take_outputs();
    assert!(engine.check_ready().is_ok(), "a node alone is ready");
    engine
}
