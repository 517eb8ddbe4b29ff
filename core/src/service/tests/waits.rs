//! What the service waits for: copies at other members, and other members that hold a session.

use limpet_wire::table::WorkerStatus;

use super::*;
use crate::drivers::node::run_ticks;
use crate::replication::streams::CONTROL;

#[tokio::test]
async fn a_caller_says_how_long_it_waits_and_never_longer_than_configured() {
    let service = service();
    let default = Ack {
        level: Level::One,
        timeout: Duration::from_secs(2),
    };
    assert_eq!(service.ack(None, None), default);
    let short = service.ack(Some(Level::All), Some(Duration::from_millis(5)));
    assert_eq!(
        (short.level, short.timeout),
        (Level::All, Duration::from_millis(5))
    );
    let long = service.ack(None, Some(Duration::from_secs(60)));
    assert_eq!(long.timeout, default.timeout);
    // A node alone has all copies there are.
    let outcome = service
        .patch(
            &key("S"),
            set(&[("a", "1")]),
            None,
            service.ack(Some(Level::All), None),
        )
        .await
        .unwrap();
    assert_eq!(outcome.copies, 1);
}

/// The service of a node in backup mode, and another member that has the whole table and from now on says nothing.
fn beside_a_silent_member() -> (Service, NodeId) {
    let backup = |name: &str, port: u16| EngineConfig {
        node: NodeId::parse(name).unwrap(),
        addr: ([127, 0, 0, 1], port).into(),
        mode: Mode::Backup { copies: 1 },
        ..config()
    };
    let service = service_of(backup("a", 1), &[]);
    let (other, _requests) = Node::start(backup("b", 2), Quarantine::default());
    let nodes = [service.node.clone(), other];
    let sides = [(0, 1), (1, 0)].map(|(at, of)| {
        let peer = nodes[of].with(|engine, _| engine.identity().clone());
        let id = NodeId::parse(&peer.node.to_string()).unwrap();
        let inbound = nodes[at].with(|engine, now| {
            let inbound = engine.on_hello(&id, CONTROL, peer.addr);
            engine.link_up(&id, peer, CONTROL, now);
            inbound
        });
        (at, of, id, inbound)
    });
    // Until both know each other as ready members: a few messages each way.
    for _ in 0..20 {
        for (at, of, id, inbound) in &sides {
            let own = nodes[*at].with(|engine, _| engine.node().clone());
            let messages = nodes[*of].with(|engine, _| engine.next_messages(&own, CONTROL));
            nodes[*at].with(|engine, now| {
                for message in messages {
                    engine.on_message(id, *inbound, message, now);
                }
                engine.tick(now);
            });
        }
    }
    assert_eq!(service.members().others[0].0.state.name(), "ready");
    let [(_, _, silent, _), _] = sides;
    (service, silent)
}

#[tokio::test]
async fn a_session_that_others_may_hold_is_not_called_missing_when_they_cannot_be_asked() {
    let (service, silent) = beside_a_silent_member();
    service
        .node
        .with(|engine, now| engine.link_down(&silent, CONTROL, false, now));
    let unreachable = ServiceError::from(NodeError::Unreachable);
    let missing = ServiceError::from(CallerError::NoSuchSession);
    assert_eq!(
        service.read(&key("S"), Consistency::Holder).await,
        Err(unreachable.clone())
    );
    assert_eq!(service.read(&key("S"), Consistency::Local).await, Err(missing));
    assert_eq!(service.touch(&key("S"), NOBODY).await, Err(unreachable));
}

#[tokio::test]
async fn a_change_stands_when_its_copies_do_not_come_in_time() {
    let (service, _) = beside_a_silent_member();
    let ticks = tokio::spawn(run_ticks(service.node.clone()));
    let ack = Ack {
        level: Level::All,
        timeout: Duration::from_millis(100),
    };
    let begin = std::time::Instant::now();
    let outcome = service.set_admin_state("w1", AdminState::Drain, ack).await;
    ticks.abort();
    assert_eq!(outcome.map(|outcome| outcome.copies), Ok(1));
    assert!(begin.elapsed() >= ack.timeout, "{:?}", begin.elapsed());
    assert_eq!(service.worker_table().workers[0].status, WorkerStatus::Draining);
}
