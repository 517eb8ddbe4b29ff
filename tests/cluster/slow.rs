//! Peers that are slow, or stopped, or that missed something: they cost the others nothing and are caught up.

use std::time::{Duration, Instant};

use limpet_tests::api::encoded;
use limpet_tests::cluster::NodePlan;
use limpet_tests::fleet::Fleet;
use limpet_tests::wait;
use limpet_tests::writers::{APP, percentile};
use serde_json::json;

const ALL: [&str; 5] = ["a", "b", "c", "d", "e"];
/// Time for a repair that begins with the second comparison, over a link that was just made again.
const REPAIRED: Duration = Duration::from_secs(25);
/// The shortest time a claim about slowness counts from: below it the machine's scheduler decides.
const NOTICEABLE: Duration = Duration::from_millis(10);

/// Small queues, and a silence that lasts for longer than the test: a slow peer stays a member.
fn small_queues(node: &mut NodePlan) {
    node.membership = "drop_time = \"120s\"".to_owned();
    node.extra = "\n[replication]\nqueue_bytes = \"128KiB\"\n".to_owned();
}

/// Changes `count` sessions at a node, one after the other; says how long each took.
async fn changes(fleet: &Fleet, at: &str, count: usize, ack: &str) -> Vec<Duration> {
    let mut waits = Vec::new();
    for number in 0..count {
        let start = Instant::now();
        fleet
            .set(at, &format!("S{}", number % 50), "x", &number.to_string(), ack)
            .await;
        waits.push(start.elapsed());
    }
    waits
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f08_a_stopped_peer_and_a_slow_one_slow_nobody_else() {
    let mut fleet = Fleet::alone("f08", &ALL, |_| ()).await;
    fleet.assemble(&ALL).await;
    let before = (
        percentile(&changes(&fleet, "a", 1000, "none").await, 99),
        percentile(&changes(&fleet, "a", 300, "quorum").await, 99),
    );
    fleet.core("d").process.freeze().await;
    fleet.network().throttle_to("e", 10_000);
    let meanwhile = (
        percentile(&changes(&fleet, "a", 1000, "none").await, 99),
        percentile(&changes(&fleet, "a", 300, "quorum").await, 99),
    );
    println!("p99 of (none, quorum): {before:?} before, {meanwhile:?} beside a stopped and a slow peer");
    assert!(
        meanwhile.0 <= (before.0 * 2).max(NOTICEABLE),
        "{meanwhile:?} after {before:?}"
    );
    assert!(
        meanwhile.1 <= (before.1 * 2).max(NOTICEABLE * 3),
        "{meanwhile:?} after {before:?}"
    );
    fleet.set("a", "last", "x", "1", "none").await;
    wait::until(
        "b and c have the last change",
        Duration::from_secs(2),
        async || fleet.get("b", "last").await.is_some() && fleet.get("c", "last").await.is_some(),
    )
    .await;
    fleet.core("d").process.thaw();
    fleet.network().unthrottle("e");
    fleet.see_each_other(REPAIRED).await;
    fleet.agree(REPAIRED).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f08_a_wait_for_copies_ends_in_its_time_and_counts_only_what_is_there() {
    const TIMEOUT: Duration = Duration::from_millis(300);
    let fleet = Fleet::assembled("f08-acks", &["a", "b", "c", "d"], |_| ()).await;
    fleet.core("c").process.freeze().await;
    fleet.core("d").process.freeze().await;
    let change = json!({ "set": { "x": encoded("1") } });
    let mut prompt = 0;
    let start = Instant::now();
    // Until both are known to be down, and some more.
    while prompt < 20 {
        let begin = Instant::now();
        let path = format!("/v1/sessions/{APP}/S?ack=all&timeout_ms={}", TIMEOUT.as_millis());
        let answer = fleet
            .core("a")
            .api
            .call("PATCH", &path, change.to_string().as_bytes())
            .await;
        let (answer, took) = (answer.expect("an answer"), begin.elapsed());
        assert_eq!(answer.status, 200, "a timeout is no error: {}", answer.text());
        assert_eq!(answer.json()["copies"], 2, "{}", answer.text());
        assert!(took < TIMEOUT * 2, "the wait took {took:?}");
        prompt += usize::from(took < TIMEOUT);
        assert!(start.elapsed() < REPAIRED, "stopped nodes are still waited for");
    }
    for id in ["c", "d"] {
        fleet.core(id).process.thaw();
    }
    fleet.see_each_other(REPAIRED).await;
    wait::eventually("they are waited for again", REPAIRED, async || {
        match fleet.set("a", "S", "x", "2", "all").await {
            4 => Ok(()),
            copies => Err(format!("{copies} copies")),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f09_a_queue_stays_within_its_bound_and_the_slow_peer_catches_up() {
    const BOUND: u64 = 128 << 10;
    const SESSION: u64 = 1 << 10;
    let fleet = Fleet::assembled("f09", &["a", "b", "e"], small_queues).await;
    fleet.network().throttle_to("e", 20_000);
    let of_e = "peer=\"e\"";
    let mut most = 0;
    for part in 0..20 {
        fleet.fill("a", &format!("S{part}-"), 50, SESSION as usize).await;
        most = most.max(fleet.metric("a", "limpet_peer_queue_bytes", of_e).await);
        let so_far = 50 * (part + 1);
        wait::until("b is not slowed", Duration::from_secs(5), async || {
            fleet
                .core("b")
                .digest()
                .await
                .is_ok_and(|(sessions, _)| sessions == so_far)
        })
        .await;
    }
    assert!(most <= BOUND, "{most} bytes wait for one peer");
    assert!(
        fleet.metric("a", "limpet_peer_dropped_total", of_e).await > 0,
        "it was too slow"
    );
    fleet.network().unthrottle("e");
    assert_eq!(fleet.agree(REPAIRED).await, 1000);
    assert!(
        fleet.metric("a", "limpet_peer_behind_total", "").await > 0,
        "that is counted"
    );
    assert!(
        fleet.metric("e", "limpet_repairs_total", "").await > 0,
        "so is the repair"
    );
    assert_eq!(fleet.metric("a", "limpet_peer_queue_bytes", of_e).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f09_an_attribute_larger_than_the_queue_arrives_and_the_cluster_comes_to_rest() {
    let fleet = Fleet::assembled("f09-large", &["a", "b", "c"], small_queues).await;
    for round in 0..3 {
        let value = format!("{round}").repeat(600 << 10);
        fleet.set("a", "large", "x", &value, "none").await;
        for id in ["b", "c"] {
            wait::until(&format!("{id} has it"), REPAIRED, async || {
                fleet.text(id, "large", "x").await.as_deref() == Some(value.as_str())
            })
            .await;
        }
    }
    fleet.agree(REPAIRED).await;
    let repairs = async || {
        let mut sum = 0;
        for id in ["a", "b", "c"] {
            sum += fleet.metric(id, "limpet_repairs_total", "").await;
        }
        sum
    };
    let before = repairs().await;
    // Longer than the interval between two comparisons: whoever had something to repair would do so.
    wait::stays(
        "nothing is repaired",
        Duration::from_secs(6),
        async || match repairs().await {
            more if more > before => Err(format!("{more} repairs, {before} before")),
            _ => Ok(()),
        },
    )
    .await;
    assert_eq!(
        fleet.set("a", "small", "x", "1", "all").await,
        3,
        "and nothing is stuck"
    );
}

/// Changes and ends that were dropped on the way to one peer, because they did not fit into its queue.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f11_what_was_dropped_on_its_way_is_found_by_comparing_and_repaired_and_counted() {
    let fleet = Fleet::assembled("f11", &["a", "b", "c"], small_queues).await;
    for number in 0..20 {
        fleet.set("a", &format!("old{number}"), "x", "old", "all").await;
    }
    let repairs = fleet.metric("c", "limpet_repairs_total", "").await;
    fleet.network().silence(&["a"], &["c"]);
    for number in 0..20 {
        fleet.end("a", &format!("old{number}")).await;
    }
    fleet.fill("a", "S", 300, 1000).await;
    assert!(fleet.metric("a", "limpet_peer_dropped_total", "peer=\"c\"").await > 0);
    fleet.network().heal();
    assert_eq!(fleet.agree(REPAIRED).await, 300);
    for number in 0..20 {
        assert_eq!(fleet.get("c", &format!("old{number}")).await, None);
    }
    assert!(fleet.metric("a", "limpet_peer_behind_total", "").await > 0);
    assert!(fleet.metric("c", "limpet_repairs_total", "").await > repairs);
}
