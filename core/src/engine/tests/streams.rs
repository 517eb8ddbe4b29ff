//! Several links to one peer: what each carries, and what is counted when one of them stands still.

use super::*;
use crate::membership::Identity;
use crate::replication::message::Message;
use crate::replication::streams::stream_of;

fn stream(number: u8) -> StreamId {
    StreamId::new(number)
}

/// An id of a session that takes `stream`.
fn id_on(stream: StreamId) -> String {
    (0..)
        .map(|n| format!("S{n}"))
        .find(|id| stream_of(&key(id), STREAMS) == stream)
        .unwrap()
}

/// Carries what waits on one stream from `a` to `b`, and nothing else.
fn carry(cluster: &mut Cluster, stream: StreamId) {
    let (a, b, now) = (node("a"), node("b"), cluster.now());
    let on = cluster.links[&(a.clone(), b.clone(), stream)];
    for message in cluster.engines.get_mut(&a).unwrap().says(&b, stream) {
        cluster
            .engines
            .get_mut(&b)
            .unwrap()
            .on_message(&a, on, message, now);
    }
}

/// Carries what `b` has to say on its first stream back to `a`.
fn answer(cluster: &mut Cluster) {
    let (a, b, now) = (node("a"), node("b"), cluster.now());
    let on = cluster.links[&(b.clone(), a.clone(), CONTROL)];
    for message in cluster.engines.get_mut(&b).unwrap().says(&a, CONTROL) {
        cluster
            .engines
            .get_mut(&a)
            .unwrap()
            .on_message(&b, on, message, now);
    }
}

fn wait(cluster: &mut Cluster, write_set: WriteSet) -> Waiter {
    let now = cluster.now();
    let a = cluster.engines.get_mut(&node("a")).unwrap();
    a.wait_for(Level::All, Duration::from_secs(60), write_set, now)
        .unwrap()
}

#[test]
fn one_sessions_changes_take_one_stream_and_arrive_in_order() {
    let mut cluster = Cluster::of(&["a", "b"]);
    let (a, b) = (node("a"), node("b"));
    let mut seen: BTreeMap<SessionKey, (StreamId, crate::session::Stamp)> = BTreeMap::new();
    for round in 0..5 {
        for n in 0..50 {
            cluster.patch("a", &format!("S{n}"), set("v", &round.to_string()));
        }
        for stream in StreamId::first(STREAMS) {
            for message in cluster.engines.get_mut(&a).unwrap().says(&b, stream) {
                let Message::Deltas { changes, .. } = message else {
                    continue;
                };
                for (key, delta) in changes {
                    let version = delta.version();
                    let (first, before) = seen.entry(key).or_insert((stream, version));
                    assert!(*first == stream && *before <= version);
                    *before = version;
                }
            }
        }
    }
    assert_eq!(seen.len(), 50);
}

#[test]
fn a_change_on_several_streams_counts_once_every_part_is_there() {
    let mut cluster = Cluster::of(&["a", "b"]);
    let mut write_set = WriteSet::default();
    for stream in StreamId::first(STREAMS) {
        write_set.merge(cluster.patch("a", &id_on(stream), set("v", "1")));
    }
    let waiter = wait(&mut cluster, write_set);
    for stream in StreamId::first(STREAMS) {
        assert_eq!(
            cluster.copies.get(&(node("a"), waiter)),
            None,
            "before stream {stream}"
        );
        carry(&mut cluster, stream);
        answer(&mut cluster);
        let outputs = cluster.engines.get_mut(&node("a")).unwrap().take_outputs();
        for output in outputs {
            if let Output::Copies(waiter, copies) = output {
                cluster.copies.insert((node("a"), waiter), copies);
            }
        }
    }
    assert_eq!(cluster.copies.get(&(node("a"), waiter)), Some(&2));
}

#[test]
fn a_stream_that_stands_still_holds_no_other_up() {
    let mut cluster = Cluster::of(&["a", "b"]);
    let stuck = (node("a"), node("b"), stream(1));
    let on = cluster.links.remove(&stuck).unwrap();
    let held = cluster.patch("a", &id_on(stream(1)), set("v", "1"));
    let free = cluster.patch("a", &id_on(stream(2)), set("v", "1"));
    let (held, free) = (wait(&mut cluster, held), wait(&mut cluster, free));
    cluster.settle();
    assert_eq!(cluster.copies.get(&(node("a"), free)), Some(&2));
    assert_eq!(cluster.copies.get(&(node("a"), held)), None);
    cluster.links.insert(stuck, on);
    cluster.settle();
    assert_eq!(cluster.copies.get(&(node("a"), held)), Some(&2));
}

#[test]
fn a_stream_that_broke_sends_again_what_was_not_acknowledged() {
    let mut cluster = Cluster::of(&["a", "b"]);
    let (a, b) = (node("a"), node("b"));
    let write_set = cluster.patch("a", &id_on(stream(1)), set("v", "1"));
    let waiter = wait(&mut cluster, write_set);
    let lost = cluster.engines.get_mut(&a).unwrap().says(&b, stream(1));
    assert!(!lost.is_empty());
    let now = cluster.now();
    cluster
        .engines
        .get_mut(&a)
        .unwrap()
        .link_down(&b, stream(1), false, now);
    cluster.links.remove(&(a.clone(), b.clone(), stream(1)));
    assert!(
        cluster.engines[&a].peers()[&b].is_linked(),
        "stream 0 is what counts"
    );
    cluster.settle();
    assert_eq!(cluster.copies.get(&(a.clone(), waiter)), None);
    cluster.relink();
    cluster.settle();
    assert_eq!(cluster.copies.get(&(a, waiter)), Some(&2));
}

#[test]
fn with_the_first_stream_all_others_end() {
    let mut cluster = Cluster::of(&["a", "b"]);
    let (a, b) = (node("a"), node("b"));
    let now = cluster.now();
    let engine = cluster.engines.get_mut(&a).unwrap();
    engine.take_outputs();
    engine.link_down(&b, CONTROL, false, now);
    let closed: Vec<_> = engine
        .take_outputs()
        .into_iter()
        .filter_map(|output| match output {
            Output::Close(_, stream) => Some(stream),
            _ => None,
        })
        .collect();
    assert_eq!(closed, [stream(1), stream(2)]);
    assert!(StreamId::first(STREAMS).all(|stream| !engine.peers()[&b].is_up(stream)));
}

#[test]
fn a_stream_without_the_first_is_closed() {
    let mut cluster = Cluster::of(&["a", "b"]);
    let (a, b, now) = (node("a"), node("b"), cluster.now());
    let identity = cluster.engines[&b].identity().clone();
    let engine = cluster.engines.get_mut(&a).unwrap();
    engine.link_down(&b, CONTROL, false, now);
    engine.take_outputs();
    engine.link_up(&b, identity, stream(1), now);
    let outputs = engine.take_outputs();
    assert!(
        outputs
            .iter()
            .any(|output| matches!(output, Output::Close(_, closed) if *closed == stream(1))),
        "{outputs:?}"
    );
    assert!(engine.says(&b, stream(1)).is_empty());
}

#[test]
fn a_change_somebody_waits_for_is_sent_at_once() {
    let mut cluster = Cluster::of(&["a", "b"]);
    let write_set = cluster.patch("a", &id_on(stream(1)), set("v", "1"));
    let engine = cluster.engines.get_mut(&node("a")).unwrap();
    let awake = |outputs: Vec<Output>| {
        let awake = outputs.into_iter().filter_map(|output| match output {
            Output::Wake(to, stream) => Some((to, stream)),
            _ => None,
        });
        awake.collect::<Vec<_>>()
    };
    assert_eq!(awake(engine.take_outputs()), [], "a moment later will do");
    wait(&mut cluster, write_set);
    let outputs = cluster.engines.get_mut(&node("a")).unwrap().take_outputs();
    assert_eq!(awake(outputs), [(node("b"), stream(1))]);
}

#[test]
fn sequences_are_never_given_twice_even_if_the_clock_is_set_back() {
    let mut cluster = Cluster::of(&["a", "b"]);
    let write_set = cluster.patch("a", &id_on(stream(1)), set("v", "1"));
    let before = write_set.groups()[0][0].ranges[0].last;
    let (a, b) = (node("a"), node("b"));
    let identity = cluster.engines[&b].identity().clone();
    let earlier = Now {
        wall_ms: BEGIN_MS - 1_000_000,
        ..cluster.now()
    };
    let engine = cluster.engines.get_mut(&a).unwrap();
    engine.link_down(&b, CONTROL, false, earlier);
    let later = Identity {
        incarnation: identity.incarnation + 1,
        ..identity
    };
    engine.link_up(&b, later, CONTROL, earlier);
    let write_set = cluster.patch("a", &id_on(stream(1)), set("v", "2"));
    let after = write_set.groups()[0][0].ranges[0].last;
    assert!(after > before, "{after} after {before}");
}
