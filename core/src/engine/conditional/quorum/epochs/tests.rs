//! Which epoch should follow, by what a node sees of the others.

use super::*;

fn voter(name: &str, memory: u64) -> Voter {
    let node = NodeId::parse(name).unwrap();
    Voter { node, memory }
}

fn voters(names: &[&str]) -> Vec<Voter> {
    names.iter().map(|name| voter(name, 1)).collect()
}

/// What `b` agrees on next in an epoch of these voters, which copy what `reads` hold.
fn epochs(all: &[Voter], reads: Vec<VoterSet>) -> Epochs {
    let mut epochs = Epochs::new(voter("b", 1), 3);
    epochs.adopt(Epoch {
        number: 7,
        since: 7,
        voters: VoterSet::majority_of(all.to_vec()),
        reads,
        owners: all.to_vec(),
    });
    epochs
}

/// After one of five was forgotten, the four and those that they copied are the same set. What the four have decided since
/// may be with three of them, and two of the next five are new.
#[test]
fn new_voters_copy_the_former_ones_also_where_those_look_as_they_did_before() {
    let four = voters(&["a", "b", "c", "d"]);
    let epochs = epochs(&four, vec![VoterSet::majority_of(four.clone())]);
    let mut present: BTreeSet<_> = voters(&["b", "c", "d", "f"]).into_iter().collect();
    present.insert(voter("a", 2));
    let view = View {
        present,
        synced: voters(&["b", "c", "d"]).into_iter().collect(),
        ..View::default()
    };
    let next = epochs.wants(&view).unwrap();
    assert_eq!((next.voters.voters.len(), next.reads.len()), (5, 1));
    assert_eq!((next.number, next.since), (8, 8));
}

#[test]
fn a_voter_that_was_forgotten_and_lives_is_left_out() {
    let all = voters(&["a", "b", "c"]);
    let mut epochs = epochs(&all, Vec::new());
    assert!(epochs.forget(voter("c", 1)));
    let view = View {
        present: all.into_iter().collect(),
        ..View::default()
    };
    let next = epochs.wants(&view).unwrap();
    assert_eq!(next.voters.voters, voters(&["a", "b"]));
}

#[test]
fn nobody_founds_a_cluster_while_another_member_may_have_an_epoch() {
    let epochs = Epochs::new(voter("b", 1), 3);
    let mut view = View {
        present: voters(&["a", "b", "c"]).into_iter().collect(),
        ..View::default()
    };
    assert!(epochs.wants(&view).is_some());
    view.may_have_epoch = true;
    assert!(epochs.wants(&view).is_none());
}
