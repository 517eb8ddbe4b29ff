//! Whoever listens hears what happens, here and elsewhere, and nobody who is slow holds anybody up.

use std::time::{Duration, Instant};

use limpet_tests::api::encoded;
use limpet_tests::cluster::{Core, Site};
use limpet_tests::events::{Event, Events};
use limpet_tests::http::Address;
use limpet_tests::wait;
use limpet_wire::report::{Operation, Report};
use serde_json::json;

const SOON: Duration = Duration::from_secs(10);

async fn listen(core: &Core, query: &str) -> Events {
    let to = Address::Tcp(core.node.api.clone());
    let events = Events::open(&to, query, "").await.expect("an answer");
    assert_eq!(events.status, 200, "{}", events.head);
    assert!(
        events.head.contains("content-type: text/event-stream"),
        "{}",
        events.head
    );
    events
}

async fn next(events: &mut Events, name: &str) -> Event {
    let event = events.next(SOON).await.expect("an event");
    assert_eq!(event.name, name, "{event:?}");
    event
}

fn number(event: &Event) -> u64 {
    let number = event.id.rsplit('-').next().and_then(|number| number.parse().ok());
    number.unwrap_or_else(|| panic!("an event without a number: {event:?}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_heard_of_here_and_elsewhere_and_members_and_workers_too() {
    let site = Site::new("events", &["b"], &["a"]);
    let a = site.core("a").await;
    let mut members = listen(&a, "kind=member,worker").await;
    let b = site.core("b").await;
    let mut seen = Vec::new();
    while seen.last().map(String::as_str) != Some("ready") {
        let event = members.next(SOON).await.expect("an event");
        if event.name == "member" {
            assert_eq!(
                (&event.data["id"], &event.data["self"]),
                (&json!("b"), &json!(false))
            );
            seen.extend(event.data["change"].as_str().map(str::to_owned));
        }
    }
    assert_eq!(seen.first().map(String::as_str), Some("up"), "{seen:?}");
    let worker = loop {
        let event = members.next(SOON).await.expect("an event");
        if event.name == "worker" {
            break event;
        }
    };
    assert_eq!(worker.data["node"], "b", "{worker:?}");

    let mut here = listen(&b, "kind=session&app=shop").await;
    let mut there = listen(&a, "kind=session&app=shop").await;
    let mut own = listen(&a, "kind=session&replicated=false").await;
    let set = |value: &str| json!({ "set": { "cart": encoded(value) } });
    b.api
        .patch("other", "X", "all", &set("1"))
        .await
        .expect("an answer");
    b.api
        .patch("shop", "S", "all", &set("1"))
        .await
        .expect("an answer");
    b.api
        .patch("shop", "S", "all", &set("2"))
        .await
        .expect("an answer");
    b.api
        .call("DELETE", "/v1/sessions/shop/S?ack=all", b"")
        .await
        .expect("an answer");
    for (events, origin) in [(&mut here, "local"), (&mut there, "replicated")] {
        for change in ["created", "changed", "deleted"] {
            let event = next(events, "session").await;
            let data = &event.data;
            assert_eq!(
                (&data["app"], &data["id"]),
                (&json!("shop"), &json!("S")),
                "{event:?}"
            );
            assert_eq!(
                (&data["change"], &data["origin"]),
                (&json!(change), &json!(origin)),
                "{event:?}"
            );
            assert!(!event.data.to_string().contains("Mg=="), "a value: {event:?}");
        }
    }
    a.api
        .patch("third", "Y", "none", &set("1"))
        .await
        .expect("an answer");
    let event = next(&mut own, "session").await;
    assert_eq!(
        (&event.data["app"], &event.data["origin"]),
        (&json!("third"), &json!("local"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_that_is_too_slow_is_told_how_much_it_missed_and_holds_nobody_up() {
    let site = Site::new("slow-events", &[], &["a"]);
    let a = site.core("a").await;
    let to = Address::Unix(a.node.socket.clone());
    let mut slow = Events::open(&to, "kind=session", "").await.expect("an answer");
    let operation = |n: usize| Operation {
        app: "default".into(),
        id: format!("S{}", n % 10),
        set: vec![(format!("{}{n}", "n".repeat(100)).split_off(n % 10), vec![0])],
        ..Operation::default()
    };
    let begun = Instant::now();
    for _ in 0..4 {
        let report = Report {
            operations: (0..900).map(operation).collect(),
        };
        for _ in 0..4 {
            let reply = a.api.report(&report, "none").await.expect("a reply");
            assert!(reply.refused.is_empty(), "{:?}", reply.refused);
        }
    }
    assert!(
        begun.elapsed() < SOON,
        "writers waited {:?} for a listener",
        begun.elapsed()
    );
    a.api
        .patch(
            "default",
            "last",
            "none",
            &json!({ "set": { "x": encoded("1") } }),
        )
        .await
        .expect("an answer");
    let (mut expected, mut missed) = (None, 0);
    loop {
        let event = slow.next(SOON).await.expect("an event");
        if event.name == "lagged" {
            let gap = event.data["missed"].as_u64().expect("a number");
            missed += gap;
            expected = expected.map(|number: u64| number + gap);
            continue;
        }
        let number = number(&event);
        assert_eq!(
            number,
            expected.unwrap_or(number),
            "events are missing and nobody said so"
        );
        expected = Some(number + 1);
        if event.data["id"] == "last" {
            break;
        }
    }
    assert!(missed > 0, "nothing was missed, so nothing was tried");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listeners_are_bounded_and_what_was_before_is_not_told_again() {
    let site = Site::new("many-events", &[], &["a"]);
    let a = site.core("a").await;
    let to = Address::Tcp(a.node.api.clone());
    let mut listeners = Vec::new();
    for _ in 0..64 {
        listeners.push(listen(&a, "").await);
    }
    let refused = Events::open(&to, "", "").await.expect("an answer");
    assert_eq!(refused.status, 503, "{}", refused.head);
    listeners.pop();
    wait::until("a place is free again", SOON, async || {
        Events::open(&to, "", "")
            .await
            .is_ok_and(|events| events.status == 200)
    })
    .await;
    listeners.clear();
    let mut again = wait::eventually("places are free again", SOON, async || {
        let events = Events::open(&to, "", "last-event-id: 1-7\r\n").await;
        events
            .ok()
            .filter(|events| events.status == 200)
            .ok_or_else(|| "503".to_owned())
    })
    .await;
    let event = next(&mut again, "lagged").await;
    assert_eq!(event.data, json!({ "missed": null }));
    for query in ["kind=sessions", "replicated=maybe", "kinds=session"] {
        let answer = Events::open(&to, query, "").await.expect("an answer");
        assert_eq!(answer.status, 400, "{query}");
    }
}
