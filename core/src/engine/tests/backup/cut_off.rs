//! Members that are down and may be all holders of a session: what they alone may have is not denied.

use super::*;

impl Cluster {
    /// Whether a caller that asks for a session of which nothing is here is told that nobody can know.
    fn cannot_know(&mut self, at: &str, id: &str) -> bool {
        assert!(self.make_local(at, id), "all that can be asked have answered");
        let unknown = self.at(at, |engine, now| engine.find(&key(id), now).is_err());
        unknown && self.at(at, |engine, now| engine.may_be_cut_off_from(&key(id), now))
    }
}

#[test]
fn a_session_that_only_nodes_on_the_other_side_of_a_cut_may_have_is_not_denied() {
    let mut cluster = cluster(1);
    let [first, second, third, fourth, fifth] = Cluster::ranked("S1");
    cluster.patch(first, "S1", set("v", "1"));
    cluster.run(Duration::from_secs(20));
    cluster.part(&[third], &[first, second, fourth, fifth]);
    cluster.run(Duration::from_secs(15)); // the other side counts as down
    assert!(cluster.cannot_know(third, "S1"));
    assert!(!cluster.cannot_know(fourth, "S1"), "it is there");
    assert!(
        !cluster.cannot_know(fourth, "unknown"),
        "only one is missing there"
    );
    cluster.patch(third, "another", set("v", "1")); // either side goes on
    cluster.heal();
    cluster.run(Duration::from_secs(10));
    assert!(!cluster.cannot_know(third, "S1"));
    assert_eq!(cluster.value(third, "S1", "v").as_deref(), Some("1"));
}

#[test]
fn what_nodes_had_that_stay_away_is_given_up_after_a_while() {
    let mut cluster = cluster(1);
    let [first, second, third, ..] = Cluster::ranked("S1");
    cluster.run(Duration::from_secs(10));
    cluster.stop(first);
    cluster.stop(second);
    cluster.run(Duration::from_secs(15));
    assert!(cluster.cannot_know(third, "S1"), "they may have had it");
    cluster.run(Duration::from_secs(60)); // state_transfer_timeout
    assert!(!cluster.cannot_know(third, "S1"), "nobody has it");
}
