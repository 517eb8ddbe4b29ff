//! Members that are down and may be all holders of a session: what they alone may have is not denied.

use super::*;

#[test]
fn a_session_that_only_nodes_on_the_other_side_of_a_cut_may_have_is_not_denied() {
    let mut cluster = cluster(1);
    let [first, second, third, fourth, fifth] = Cluster::ranked("S1");
    cluster.patch(first, "S1", set("v", "1"));
    cluster.run(Duration::from_secs(20));
    cluster.part(&[third], &[first, second, fourth, fifth]);
    cluster.run(Duration::from_secs(15)); // the other side counts as down
    assert!(!cluster.make_local(third, "S1"), "it cannot know");
    assert!(cluster.make_local(fourth, "S1"), "only one is missing there");
    assert!(cluster.make_local(fourth, "unknown"));
    cluster.heal();
    cluster.run(Duration::from_secs(10));
    assert!(cluster.make_local(third, "S1"));
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
    assert!(!cluster.make_local(third, "S1"), "they may have had it");
    cluster.run(Duration::from_secs(60)); // state_transfer_timeout
    assert!(cluster.make_local(third, "S1"), "nobody has it");
}
