//! Getting the table from others: several donors, lost ones, busy ones, and what ready means.

use super::*;
use crate::base::limits::CHUNK_BYTES;
use crate::replication::message::Message;

/// Sessions of about a kilobyte at `at`, known everywhere.
fn fill(cluster: &mut Cluster, at: &str, count: usize) {
    for n in 0..count {
        cluster.patch(at, &format!("S{n}"), set("v", &"x".repeat(1000)));
        if n % 500 == 0 {
            cluster.settle();
        }
    }
    cluster.settle();
}

/// Everything `from` says to `to` now, heard by it.
fn round(cluster: &mut Cluster, from: &str, to: &str) -> Vec<Message> {
    let (from, to, now) = (node(from), node(to), cluster.now());
    let mut sent_batch = Vec::new();
    for stream in StreamId::first(STREAMS) {
        let Some(on) = cluster.links.get(&(from.clone(), to.clone(), stream)).copied() else {
            continue;
        };
        for message in cluster.engines.get_mut(&from).unwrap().says(&to, stream) {
            let hearing = cluster.engines.get_mut(&to).unwrap();
            hearing.on_message(&from, on, message.clone(), now);
            sent_batch.push(message);
        }
    }
    sent_batch
}

fn records(messages: &[Message]) -> usize {
    let chunks = messages.iter().map(|message| match message {
        Message::Chunk { records, .. } => records.len(),
        _ => 0,
    });
    chunks.sum()
}

fn is_ready(cluster: &Cluster, at: &str) -> bool {
    cluster.engines[&node(at)].phase() == &Phase::Ready
}

#[test]
fn a_joining_node_gets_the_table_from_all_donors_at_once_and_nothing_twice() {
    let mut cluster = Cluster::of(&["a", "b", "c"]);
    fill(&mut cluster, "a", 4000);
    cluster.start("d");
    let mut sent = BTreeMap::from([("a", 0), ("b", 0), ("c", 0)]);
    for _ in 0..200 {
        for (donor, sent) in &mut sent {
            *sent += records(&round(&mut cluster, donor, "d"));
            round(&mut cluster, "d", donor);
        }
        if is_ready(&cluster, "d") {
            break;
        }
    }
    assert!(is_ready(&cluster, "d"));
    assert!(sent.values().all(|sent| *sent > 700), "{sent:?}");
    let reserved = cluster.engines[&node("d")]
        .table()
        .iter()
        .filter(|(key, _)| key.is_reserved());
    assert_eq!(sent.values().sum::<usize>(), 4000 + reserved.count(), "{sent:?}");
    cluster.assert_converged();
}

#[test]
fn a_donor_lost_in_the_middle_is_replaced_where_it_stopped() {
    let mut cluster = Cluster::of(&["a", "b"]);
    fill(&mut cluster, "a", 4000);
    cluster.start("c");
    let mut sent = 0;
    for _ in 0..3 {
        for donor in ["a", "b"] {
            sent += records(&round(&mut cluster, donor, "c"));
            round(&mut cluster, "c", donor);
        }
    }
    assert!(!is_ready(&cluster, "c") && sent > 0);
    cluster.part(&["a"], &["c"]);
    for _ in 0..200 {
        sent += records(&round(&mut cluster, "b", "c"));
        round(&mut cluster, "c", "b");
        let now = cluster.now();
        let engine = cluster.engines.get_mut(&node("c")).unwrap();
        engine.changed.note(Changed::JOINING);
        engine.settle(now);
    }
    let one_chunk = 2 * CHUNK_BYTES / 1000; // at most what was on its way of each range
    assert!(
        sent <= 4002 + 2 * one_chunk,
        "{sent} records where 4000 are wanted"
    );
    cluster.run(Duration::from_secs(3)); // a is a member without a link, which is waited for a while
    assert!(is_ready(&cluster, "c"));
    assert_eq!(cluster.engines[&node("c")].sessions(), 4000);
}

#[test]
fn a_busy_donor_sends_receivers_away_and_all_are_served_in_the_end() {
    let mut cluster = Cluster::of(&["a"]);
    fill(&mut cluster, "a", 1000);
    let joining = ["b", "c", "d", "e", "f", "g", "h", "i"];
    for name in joining {
        cluster.start(name);
    }
    cluster.run(Duration::from_secs(10));
    for name in joining {
        assert!(is_ready(&cluster, name), "{name}");
        assert_eq!(cluster.engines[&node(name)].sessions(), 1000, "{name}");
    }
    assert!(cluster.engines[&node("a")].counters().transfers_refused > 0);
    cluster.assert_converged();
}

#[test]
fn a_chunk_keeps_nothing_else_waiting() {
    let mut cluster = Cluster::of(&["a"]);
    fill(&mut cluster, "a", 4000);
    for name in ["b", "c", "d"] {
        cluster.start(name);
    }
    let a = node("a");
    for _ in 0..50 {
        for name in ["b", "c", "d"] {
            let to = node(name);
            for stream in StreamId::first(STREAMS - 1) {
                let messages = cluster.engines.get_mut(&a).unwrap().says(&to, stream);
                let now = cluster.now();
                let on = cluster.links[&(a.clone(), to.clone(), stream)];
                for message in messages {
                    assert!(
                        !matches!(message, Message::Chunk { .. }),
                        "a chunk on stream {stream}"
                    );
                    cluster
                        .engines
                        .get_mut(&to)
                        .unwrap()
                        .on_message(&a, on, message, now);
                }
            }
            let sent_batch = round(&mut cluster, "a", name);
            let chunks: Vec<_> = sent_batch
                .iter()
                .filter(|message| matches!(message, Message::Chunk { .. }))
                .collect();
            assert!(chunks.len() <= 1, "one chunk per call");
            let bytes: usize = chunks.iter().map(|c| message::encode(c).unwrap().len()).sum();
            assert!(bytes <= CHUNK_BYTES + 4096, "{bytes}");
            round(&mut cluster, name, "a");
        }
    }
}

#[test]
fn what_only_one_member_knows_is_there_before_the_node_is_ready() {
    let mut cluster = Cluster::of(&["a", "b"]);
    fill(&mut cluster, "a", 100);
    cluster.part(&["a"], &["b"]);
    cluster.patch("b", "only-b", set("v", "1"));
    cluster.patch("a", "only-a", set("v", "1"));
    cluster.start("c");
    for _ in 0..400 {
        for other in ["a", "b"] {
            round(&mut cluster, other, "c");
            round(&mut cluster, "c", other);
        }
        if is_ready(&cluster, "c") {
            break;
        }
    }
    assert!(is_ready(&cluster, "c"));
    for id in ["only-a", "only-b"] {
        assert!(cluster.value("c", id, "v").is_some(), "{id}");
    }
    assert_eq!(cluster.engines[&node("c")].counters().joined_without_members, 0);
}

#[test]
fn a_member_that_cannot_be_reached_is_waited_for_a_while_and_then_counted() {
    let mut cluster = Cluster::of(&["a", "b"]);
    fill(&mut cluster, "a", 100);
    for (from, to) in [("b", "c"), ("c", "b")] {
        cluster.cut.insert((node(from), node(to)));
    }
    cluster.start("c");
    cluster.run(Duration::from_secs(1));
    assert!(!is_ready(&cluster, "c"));
    cluster.run(Duration::from_secs(4));
    assert!(is_ready(&cluster, "c"));
    assert_eq!(cluster.engines[&node("c")].counters().joined_without_members, 1);
}

#[test]
fn a_donor_whose_answers_do_not_arrive_is_given_up_after_a_while() {
    let mut cluster = Cluster::of(&["a"]);
    fill(&mut cluster, "a", 4000);
    cluster.start("b");
    round(&mut cluster, "a", "b");
    round(&mut cluster, "b", "a");
    round(&mut cluster, "a", "b");
    // From now on a hears b, and cannot answer.
    cluster.unlink(&node("a"), &node("b"));
    cluster.cut.insert((node("a"), node("b")));
    cluster.run(Duration::from_secs(55));
    assert!(!is_ready(&cluster, "b"));
    cluster.run(Duration::from_secs(10));
    assert!(is_ready(&cluster, "b"));
    assert_eq!(cluster.engines[&node("b")].counters().joined_without_members, 1);
    cluster.heal();
    cluster.run(Duration::from_secs(10));
    cluster.assert_converged();
}

#[test]
fn an_overflow_is_repaired_at_once() {
    let mut cluster = Cluster::of(&["a", "b"]);
    cluster.run(Duration::from_secs(6));
    let held: Vec<_> = StreamId::first(STREAMS)
        .map(|stream| (node("a"), node("b"), stream))
        .map(|link| (link.clone(), cluster.links.remove(&link).unwrap()))
        .collect();
    cluster.cut.insert((node("a"), node("b")));
    for n in 0..3 {
        cluster.patch("a", &format!("big{n}"), set("v", &"x".repeat(500_000)));
    }
    cluster.links.extend(held);
    cluster.cut.clear();
    cluster.run(Duration::from_secs(1));
    for n in 0..3 {
        assert!(cluster.value("b", &format!("big{n}"), "v").is_some(), "big{n}");
    }
    let b = &cluster.engines[&node("b")];
    assert_eq!(b.peers()[&node("a")].comparison.mismatched_sessions, 3);
    cluster.run(Duration::from_secs(6));
    let b = &cluster.engines[&node("b")];
    assert_eq!(
        b.peers()[&node("a")].comparison.mismatched_sessions,
        0,
        "equal since"
    );
}

#[test]
fn nothing_is_pulled_where_only_changes_on_their_way_differ() {
    let mut cluster = Cluster::of(&["a", "b"]);
    cluster.run(Duration::from_secs(6));
    let repairs = |cluster: &Cluster| -> u64 { cluster.engines.values().map(|e| e.counters().repairs).sum() };
    let before = repairs(&cluster);
    for n in 0..400 {
        // What was changed last is not carried before tables are compared: every comparison finds a difference.
        let now = cluster.now();
        cluster.engines.values_mut().for_each(|engine| {
            engine.tick(now);
        });
        cluster.patch("a", &format!("S{}", n % 50), set("v", &n.to_string()));
        for (from, to) in [("a", "b"), ("b", "a")] {
            let (from, to) = (node(from), node(to));
            let on = cluster.links[&(from.clone(), to.clone(), CONTROL)];
            let now = cluster.now();
            let held = cluster.engines.get_mut(&from).unwrap();
            let (deltas, control): (Vec<_>, Vec<_>) = held
                .says(&to, CONTROL)
                .into_iter()
                .partition(|message| matches!(message, Message::Deltas { .. }));
            for message in control.into_iter().chain(deltas) {
                cluster
                    .engines
                    .get_mut(&to)
                    .unwrap()
                    .on_message(&from, on, message, now);
            }
        }
        if n % 3 == 0 {
            cluster.settle();
        }
        cluster.elapsed += Duration::from_millis(50);
    }
    assert_eq!(repairs(&cluster), before, "nothing was ever lost");
}

#[test]
fn a_node_compares_with_a_few_peers_at_a_time_and_in_turn_with_all() {
    let duplicates: Vec<String> = (0..14).map(|n| format!("n{n:02}")).collect();
    let duplicates: Vec<&str> = duplicates.iter().map(String::as_str).collect();
    let mut cluster = Cluster::of(&duplicates);
    cluster.settle();
    let mut told = BTreeSet::new();
    for _ in 0..3 {
        cluster.elapsed += Duration::from_secs(5);
        let now = cluster.now();
        cluster.engines.get_mut(&node("n00")).unwrap().tick(now);
        let mut this_time = 0;
        for name in &duplicates {
            let engine = cluster.engines.get_mut(&node("n00")).unwrap();
            let summaries = engine.says(&node(name), CONTROL);
            if summaries.iter().any(|m| matches!(m, Message::Summary(_))) {
                this_time += 1;
                told.insert(*name);
            }
        }
        assert!((1..=8).contains(&this_time), "{this_time}");
    }
    assert_eq!(told.len(), 13);
}

#[test]
fn a_node_that_leaves_while_it_joins_does_not_become_ready_by_a_late_answer() {
    let mut cluster = Cluster::of(&["a", "c"]);
    cluster.cut.insert((node("b"), node("c")));
    cluster.cut.insert((node("c"), node("b")));
    cluster.start("b");
    cluster.run(Duration::from_millis(800));
    let later = Now {
        mono: cluster.now().mono + Duration::from_secs(5),
        ..cluster.now()
    };
    let now = cluster.now();
    let joiner = cluster.engines.get_mut(&node("b")).unwrap();
    assert!(
        matches!(joiner.joining.step, Step::Checking(_)),
        "it waits for c, which it cannot reach: {:?}",
        joiner.joining.step
    );
    joiner.leave(now);
    joiner.on_digest(&node("a"), &[], later);
    assert_eq!(joiner.phase(), &Phase::Leaving);
}

/// Whether `at` would give filters and proxies its worker table.
fn publishes(cluster: &Cluster, at: &str) -> bool {
    cluster.engines[&node(at)].knows_all_workers()
}

#[test]
fn in_backup_mode_a_node_is_not_ready_before_every_member_that_anybody_names_was_compared_with() {
    let mut cluster = Cluster::in_mode(Mode::Backup { copies: 1 }, &["a", "b", "c"]);
    for n in 0..30 {
        cluster.patch("b", &format!("S{n}"), set("v", "1"));
    }
    cluster.run(Duration::from_secs(12));
    cluster.engines.remove(&node("c"));
    cluster.cut.insert((node("c"), node("b")));
    cluster.cut.insert((node("b"), node("c")));
    cluster.start("c");
    cluster.run(Duration::from_secs(30));
    assert!(!is_ready(&cluster, "c"), "b may hold what nobody else does");
    assert!(!publishes(&cluster, "c"));
    let reason = cluster.engines[&node("c")].not_ready_reason().unwrap();
    assert!(reason.ends_with("no link to b"), "{reason}");
    cluster.heal();
    cluster.run(Duration::from_secs(2));
    assert!(is_ready(&cluster, "c") && publishes(&cluster, "c"));
    assert_eq!(cluster.engines[&node("c")].started(), Some(Start::WithTable));
    assert_eq!(cluster.engines[&node("c")].shortfall(), None);
}

#[test]
fn what_a_living_member_may_hold_that_cannot_be_asked_is_unreachable_and_not_absent() {
    let mut cluster = Cluster::in_mode(Mode::Backup { copies: 1 }, &["a", "b", "c"]);
    cluster.run(Duration::from_secs(12));
    cluster.engines.remove(&node("c"));
    cluster.cut.insert((node("c"), node("b")));
    cluster.cut.insert((node("b"), node("c")));
    cluster.start("c");
    cluster.run(Duration::from_secs(70));
    let now = cluster.now();
    let engine = cluster.engines.get_mut(&node("c")).unwrap();
    assert_eq!(
        engine.started(),
        Some(Start::Incomplete),
        "{:?}",
        engine.not_ready_reason()
    );
    assert!(
        engine
            .shortfall()
            .is_some_and(|reason| reason.contains("no link to b"))
    );
    assert!(engine.must_fetch(&key("absent"), now));
    match engine.fetch(&key("absent"), now) {
        Err(refused) => assert_eq!(refused, Refused::Unreachable),
        Ok(fetch) => {
            let fetch = fetch.expect("somebody is asked");
            cluster.run(Duration::from_secs(2));
            assert_eq!(cluster.fetched.get(&(node("c"), fetch)), Some(&false));
        }
    }
    cluster.heal();
    cluster.run(Duration::from_secs(3));
    assert_eq!(cluster.engines[&node("c")].shortfall(), None, "b is linked");
}

#[test]
fn a_worker_table_is_published_once_all_workers_are_known() {
    let mut cluster = Cluster::of(&["a", "b"]);
    fill(&mut cluster, "a", 2000);
    cluster.start("c");
    assert!(!publishes(&cluster, "c"));
    for _ in 0..200 {
        for other in ["a", "b"] {
            round(&mut cluster, other, "c");
            round(&mut cluster, "c", other);
        }
        if publishes(&cluster, "c") {
            break;
        }
    }
    let engine = &cluster.engines[&node("c")];
    let routes: Vec<_> = engine
        .workers()
        .iter()
        .map(|worker| worker.route.as_str())
        .collect();
    assert_eq!((publishes(&cluster, "c"), routes), (true, vec!["a", "b", "c"]));
}

#[test]
fn a_node_that_waited_in_vain_says_so_until_it_meets_the_table() {
    let mut cluster = Cluster::of(&["a"]);
    fill(&mut cluster, "a", 10);
    cluster.cut.insert((node("a"), node("b")));
    cluster.cut.insert((node("b"), node("a")));
    cluster.start("b");
    let now = cluster.now();
    let engine = cluster.engines.get_mut(&node("b")).unwrap();
    engine.unreachable(addr_of("a"), false, now); // it is silent
    cluster.run(Duration::from_secs(59));
    assert!(!is_ready(&cluster, "b"), "silence is no answer");
    cluster.run(Duration::from_secs(2));
    let engine = &cluster.engines[&node("b")];
    assert_eq!(engine.started(), Some(Start::Incomplete));
    let reason = engine.shortfall().expect("it says so");
    assert!(
        reason.contains("waiting for an answer from 10.0.0.97:4000"),
        "{reason}"
    );
    cluster.heal();
    cluster.run(Duration::from_secs(6));
    assert_eq!(cluster.engines[&node("b")].shortfall(), None);
    assert_eq!(cluster.engines[&node("b")].sessions(), 10);
}
