//! Claims about the link keeper, as tables: what happens, and what is to be done.

use super::*;

const STREAMS: u8 = 2;
/// Jitter of 1 makes every pause as long as it gets: 50 ms after the first failure, 100 ms after the second.
const JITTER: f64 = 1.0;

/// What membership is made to answer.
#[derive(Debug, Default)]
struct Stub {
    leaving: bool,
    linked: Vec<SocketAddr>,
    wanted: Vec<SocketAddr>,
}

impl Members for Stub {
    fn is_leaving(&self) -> bool {
        self.leaving
    }

    fn is_own_or_linked(&self, addr: SocketAddr) -> bool {
        addr == at(0) || self.linked.contains(&addr)
    }

    fn wanted(&self) -> Vec<SocketAddr> {
        self.wanted.clone()
    }
}

/// One step of a table, at its moment in milliseconds.
#[derive(Debug, Clone, Copy)]
enum Step {
    Want(u8),
    Dialled(u8),
    Resolved(SeedId, &'static [u8]),
    Up(AttemptId, &'static str),
    End(AttemptId, Outcome),
    Pass,
    Linked(&'static [u8]),
    Wanted(&'static [u8]),
    Leave,
}

use Outcome::{AlreadyLinked, Failed, OtherDomain, Refused};
use Step::{Dialled, End, Leave, Linked, Pass, Resolved, Up, Want, Wanted};

const CLOSED: Outcome = Outcome::Closed { renew: false };
const RENEW: Outcome = Outcome::Closed { renew: true };

fn at(last: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, last], 4000))
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn all(addrs: &[u8]) -> Vec<SocketAddr> {
    addrs.iter().copied().map(at).collect()
}

/// An output as one word or two.
fn brief(output: &KeeperOutput) -> String {
    match output {
        KeeperOutput::Dial(Dial {
            attempt,
            addr,
            stream,
            expected,
        }) => {
            let expected = expected
                .as_ref()
                .map_or(String::new(), |node| format!(" of {node}"));
            let SocketAddr::V4(addr) = addr else {
                return "?".into();
            };
            format!("dial#{attempt} .{}/{stream}{expected}", addr.ip().octets()[3])
        }
        KeeperOutput::Resolve { seed, name } => format!("resolve {seed}:{name}"),
        KeeperOutput::Close(attempt) => format!("close#{attempt}"),
        KeeperOutput::LinkDown(peer, stream) => format!("down {peer}/{stream}"),
        KeeperOutput::Unreachable { addr, refused } => {
            format!("{} {addr}", if *refused { "refused" } else { "unreachable" })
        }
        KeeperOutput::Resolved(name, addrs) => format!("{name} is {}", addrs.len()),
    }
}

/// Goes through `table`: at each moment, in milliseconds, the event, and then all that is to be done.
fn run(seeds: &[&str], lookup: Option<&str>, table: &[(u64, Step, &[&str])]) {
    let config = KeeperConfig {
        seeds: seeds.iter().map(|seed| (*seed).to_owned()).collect(),
        lookup: lookup.map(|name| (name.to_owned(), ms(10_000))),
        streams: STREAMS,
    };
    let mut keeper = LinkKeeper::new(config, ms(0));
    let mut stub = Stub::default();
    for (line, (moment, step, expected)) in table.iter().enumerate() {
        let now = ms(*moment);
        let mut outputs = Vec::new();
        match step {
            Want(addr) => keeper.on_wanted(at(*addr), now),
            Dialled(addr) => keeper.on_dialled(at(*addr), now),
            Resolved(seed, addrs) => keeper.on_resolved(*seed, all(addrs)),
            Up(attempt, peer) => keeper.on_up(*attempt, NodeId::parse(peer).unwrap(), now),
            End(attempt, outcome) => outputs = keeper.on_end(*attempt, *outcome, now),
            Linked(addrs) => stub.linked = all(addrs),
            Wanted(addrs) => stub.wanted = all(addrs),
            Leave => stub.leaving = true,
            Pass => {}
        }
        outputs.extend(keeper.tick(&stub, now, JITTER));
        let outputs: Vec<_> = outputs.iter().map(brief).collect();
        assert_eq!(outputs, *expected, "line {line}: {step:?} at {moment} ms");
    }
}

#[test]
fn a_link_the_engine_wants_is_dialled_until_it_is_not_wanted_any_more() {
    run(
        &[],
        None,
        &[
            (0, Wanted(&[1]), &["dial#1 .1/0"]),
            (5, Want(1), &[]),
            (10, End(1, Refused), &["refused 10.0.0.1:4000"]),
            (59, Pass, &[]),
            (60, Pass, &["dial#2 .1/0"]),
            (70, End(2, Failed), &["unreachable 10.0.0.1:4000"]),
            (169, Pass, &[]),
            (170, Pass, &["dial#3 .1/0"]),
            (171, Wanted(&[]), &[]),
            (180, End(3, Failed), &["unreachable 10.0.0.1:4000"]),
            (5000, Pass, &[]),
        ],
    );
}

#[test]
fn a_node_that_has_dialled_this_one_is_dialled_back_without_the_rest_of_a_pause() {
    run(
        &[],
        None,
        &[
            (0, Wanted(&[1]), &["dial#1 .1/0"]),
            (10, Dialled(1), &[]),
            (20, End(1, Refused), &["refused 10.0.0.1:4000"]),
            (30, Want(1), &[]),
            (40, Dialled(1), &["dial#2 .1/0"]),
            (50, End(2, Refused), &["refused 10.0.0.1:4000"]),
            (60, Dialled(2), &["dial#3 .2/0"]),
            (149, Pass, &[]),
            // The pauses go on from where they were.
            (150, Pass, &["dial#4 .1/0"]),
        ],
    );
}

#[test]
fn an_address_that_is_linked_or_is_its_own_or_being_dialled_is_not_dialled() {
    run(
        &["a:1"],
        None,
        &[
            (0, Want(0), &["resolve 0:a:1"]),
            (1, Linked(&[1]), &[]),
            (2, Want(1), &[]),
            (3, Resolved(0, &[2]), &["dial#1 .2/0", "a:1 is 1"]),
            (4, Want(2), &[]),
            (5, End(1, Failed), &["unreachable 10.0.0.2:4000"]),
            (6, Want(2), &["dial#2 .2/0"]),
            (7, End(2, AlreadyLinked), &[]),
            (8, Leave, &[]),
            (9, Want(3), &[]),
        ],
    );
}

#[test]
fn a_look_every_second_finds_what_is_wanted() {
    run(
        &[],
        None,
        &[
            (0, Pass, &[]),
            (999, Wanted(&[1]), &[]),
            (1000, Pass, &["dial#1 .1/0"]),
            (1010, End(1, AlreadyLinked), &[]),
            (2000, Pass, &["dial#2 .1/0"]),
        ],
    );
}

#[test]
fn other_streams_come_after_the_first_and_end_before_it() {
    run(
        &[],
        None,
        &[
            (0, Wanted(&[1]), &["dial#1 .1/0"]),
            (10, Up(1, "b"), &["dial#2 .1/1 of b"]),
            (20, Up(2, "b"), &[]),
            (30, End(2, CLOSED), &["down b/1"]),
            (80, Pass, &["dial#3 .1/1 of b"]),
            (90, End(3, Refused), &[]),
            (190, Pass, &["dial#4 .1/1 of b"]),
            (200, Up(4, "b"), &[]),
            (900, End(1, CLOSED), &["close#4", "down b/0"]),
            (910, End(4, Failed), &[]),
            (950, Pass, &["dial#5 .1/0"]),
        ],
    );
}

#[test]
fn a_link_that_lasted_or_is_to_be_renewed_is_made_again_at_once() {
    run(
        &[],
        None,
        &[
            (0, Wanted(&[1]), &["dial#1 .1/0"]),
            (1, End(1, Failed), &["unreachable 10.0.0.1:4000"]),
            (51, Pass, &["dial#2 .1/0"]),
            (60, Up(2, "b"), &["dial#3 .1/1 of b"]),
            (1060, End(2, CLOSED), &["close#3", "down b/0", "dial#4 .1/0"]),
            (1070, Up(4, "b"), &["dial#5 .1/1 of b"]),
            (1080, End(4, RENEW), &["close#5", "down b/0", "dial#6 .1/0"]),
            (1090, End(6, Failed), &["unreachable 10.0.0.1:4000"]),
            // The pauses began anew.
            (1140, Pass, &["dial#7 .1/0"]),
        ],
    );
}

#[test]
fn the_addresses_of_a_seed_are_dialled_in_turn_and_its_name_resolved_again() {
    run(
        &["a:1"],
        None,
        &[
            (0, Pass, &["resolve 0:a:1"]),
            (1, Resolved(0, &[1, 2, 1]), &["dial#1 .1/0", "a:1 is 2"]),
            (2, End(1, Refused), &["refused 10.0.0.1:4000", "dial#2 .2/0"]),
            (3, Up(2, "b"), &["dial#3 .2/1 of b"]),
            (4, Linked(&[2]), &[]),
            (5, End(2, CLOSED), &["close#3", "down b/0"]),
            (54, Pass, &[]),
            (55, Pass, &["resolve 0:a:1"]),
            (56, Resolved(0, &[]), &["a:1 is 0"]),
            (156, Pass, &["resolve 0:a:1"]),
            (157, Resolved(0, &[2]), &["a:1 is 1"]),
            (357, Pass, &["resolve 0:a:1"]),
        ],
    );
}

#[test]
fn a_seed_whose_link_lasted_begins_its_next_round_at_once() {
    run(
        &["a:1"],
        None,
        &[
            (0, Pass, &["resolve 0:a:1"]),
            (1, Resolved(0, &[1]), &["dial#1 .1/0", "a:1 is 1"]),
            (2, Up(1, "b"), &["dial#2 .1/1 of b"]),
            (2000, End(1, CLOSED), &["close#2", "down b/0"]),
            (2000, Pass, &["resolve 0:a:1"]),
        ],
    );
}

#[test]
fn a_looked_up_name_has_all_its_addresses_dialled_at_once_and_its_links_kept_as_members() {
    run(
        &[],
        Some("all:1"),
        &[
            (0, Pass, &["resolve 0:all:1"]),
            (
                1,
                Resolved(0, &[2, 1, 0]),
                &["dial#1 .1/0", "dial#2 .2/0", "all:1 is 3"],
            ),
            (2, Up(1, "b"), &["dial#3 .1/1 of b"]),
            (3, End(2, OtherDomain), &[]),
            (10_002, Linked(&[1]), &[]),
            (10_003, Pass, &["resolve 0:all:1"]),
            (10_004, Resolved(0, &[1]), &["all:1 is 1"]),
            (10_005, Linked(&[]), &[]),
            (10_006, End(1, CLOSED), &["close#3", "down b/0", "dial#4 .1/0"]),
            (10_007, End(4, Refused), &["refused 10.0.0.1:4000"]),
            (12_000, Pass, &[]),
        ],
    );
}

#[test]
fn what_nobody_knows_changes_nothing() {
    run(
        &[],
        None,
        &[
            (0, Up(7, "b"), &[]),
            (0, End(7, CLOSED), &[]),
            (0, Resolved(3, &[1]), &[]),
        ],
    );
}

#[test]
fn the_next_wake_is_the_first_thing_that_is_due() {
    let config = KeeperConfig {
        seeds: Vec::new(),
        lookup: None,
        streams: STREAMS,
    };
    let mut keeper = LinkKeeper::new(config, ms(0));
    let stub = Stub {
        wanted: vec![at(1)],
        ..Stub::default()
    };
    assert_eq!(keeper.next_wake(), ms(0));
    assert_eq!(keeper.tick(&stub, ms(0), JITTER).len(), 1);
    assert_eq!(keeper.next_wake(), LOOK_INTERVAL, "an attempt is waited for");
    keeper.on_end(1, Failed, ms(100));
    keeper.tick(&stub, ms(100), JITTER);
    assert_eq!(keeper.next_wake(), ms(150));
}

#[test]
fn wishes_beyond_the_bound_are_dropped() {
    let config = KeeperConfig {
        seeds: Vec::new(),
        lookup: None,
        streams: STREAMS,
    };
    let mut keeper = LinkKeeper::new(config, ms(0));
    for number in 0..=MEMBERS_MAX {
        let port = u16::try_from(number).unwrap();
        keeper.on_wanted(SocketAddr::from(([10, 0, 0, 9], port)), ms(0));
    }
    let dials = keeper.tick(&Stub::default(), ms(0), JITTER);
    assert_eq!(dials.len(), MEMBERS_MAX);
}
