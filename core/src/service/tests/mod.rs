//! One node without a network: what the service answers, whom it blames, and what it waits for. This is the harness;
//! the claims are in [`changes`] (operations on sessions, reports), [`waits`] (copies and other holders) and
//! [`observers`] (lists, workers, events, status).

mod changes;
mod observers;
mod waits;

use std::collections::BTreeSet;
use std::time::Duration;

use limpet_wire::report::{IdleLimit, Operation};

use super::*;
use crate::base::id::{NodeId, SessionKey};
use crate::drivers::quarantine::Quarantine;
use crate::engine::{ClockLimits, EngineConfig, Mode};
use crate::membership::SwimConfig;
use crate::replication::message::DeclaredWorker;

const NOBODY: Ack = Ack {
    level: Level::None,
    timeout: Duration::ZERO,
};

fn config() -> EngineConfig {
    EngineConfig {
        node: NodeId::parse("a").unwrap(),
        cluster: "shop".into(),
        addr: "127.0.0.1:1".parse().unwrap(),
        swim: SwimConfig {
            probe_interval: Duration::from_millis(500),
            drop_time: Duration::from_secs(3),
        },
        seeds: BTreeSet::new(),
        hints: false,
        links: 2,
        mode: Mode::Delta,
        donor_transfers: 2,
        repair_interval: Duration::from_secs(5),
        quorum_founders: None,
        queue_bytes: 1 << 20,
        state_transfer_timeout: Some(Duration::from_secs(60)),
        max_inactive: IdleLimit::Millis(1_800_000),
        max_active: None,
        touch_interval: Duration::from_secs(60),
        tombstone_life: Duration::from_secs(24 * 3600),
        rename_forward: Duration::from_secs(30),
        clocks: ClockLimits::default(),
        quarantine: BTreeSet::new(),
        fail_on_id: None,
        workers: vec![DeclaredWorker {
            route: "w1".into(),
            url: "http://127.0.0.1:8080".into(),
            addr: "127.0.0.1:8080".into(),
            weight: 1,
            healthy: true,
        }],
        seed: 7,
    }
}

fn service_of(config: EngineConfig, patterns: &[&str]) -> Service {
    let (node, _requests) = Node::start(config, Quarantine::default());
    let patterns = patterns.iter().map(ToString::to_string).collect();
    let settings = Settings {
        ack: Ack {
            level: Level::One,
            timeout: Duration::from_secs(2),
        },
        replicate: AttributeFilter::new(patterns).unwrap(),
    };
    Service::new(node, settings)
}

fn service() -> Service {
    service_of(config(), &[])
}

fn key(id: &str) -> SessionKey {
    SessionKey::parse("default", id).unwrap()
}

fn set(pairs: &[(&str, &str)]) -> Patch {
    let set = pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.as_bytes().into()));
    Patch {
        set: set.collect(),
        ..Patch::default()
    }
}

fn names(session: &Session) -> Vec<&str> {
    session.attributes.iter().map(|(name, _)| &**name).collect()
}

fn operation(id: &str, pairs: &[(&str, &str)]) -> Operation {
    let set = pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()));
    Operation {
        app: "default".into(),
        id: id.into(),
        set: set.collect(),
        ..Operation::default()
    }
}
