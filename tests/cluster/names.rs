//! Who is who: a node that is restarted again and again, and two nodes with one name.

use std::fs;
use std::time::{Duration, Instant};

use limpet_tests::fleet::Fleet;
use limpet_tests::process::Process;
use limpet_tests::{programs, wait};

const SOON: Duration = Duration::from_secs(10);

/// Five runs of one node within the time in which its first silence would be noticed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f12_a_node_restarted_five_times_in_a_row_replaces_its_old_self_each_time() {
    const DROP_TIME: Duration = Duration::from_secs(20);
    let all = ["a", "b", "c", "d", "e"];
    let mut fleet = Fleet::assembled("f12-again", &all, |node| {
        node.membership = "drop_time = \"20s\"".to_owned();
    })
    .await;
    fleet.set("a", "S", "x", "1", "all").await;
    let start = Instant::now();
    for round in 0..5 {
        fleet.kill("e");
        fleet.start("e", SOON).await;
        fleet.see_each_other(SOON).await;
        let copies = fleet.set("a", "S", "x", &round.to_string(), "all").await;
        assert_eq!(copies, 5, "round {round}");
        fleet.agree(SOON).await;
    }
    assert!(start.elapsed() < DROP_TIME, "no longer what its name says");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f12_a_second_node_of_the_same_name_is_refused_loudly_and_the_first_goes_on() {
    let mut fleet = Fleet::planned("f12-duplicates", &["a", "b", "c", "duplicate"], |_| ()).await;
    fleet.assemble(&["a", "b", "c"]).await;
    fleet.set("a", "S", "x", "1", "all").await;
    let address = fleet.site.node("c").cluster.clone();

    let site = &fleet.site;
    let config = site.toml("duplicate");
    let config = config
        .replace("id = \"duplicate\"", "id = \"c\"")
        .replace("/duplicate.pem", "/c.pem");
    let file = site.scratch.join("duplicate.toml");
    fs::write(&file, config.replace("/duplicate.key", "/c.key")).expect("a file in the test's directory");
    let mut command = fleet
        .network()
        .command("duplicate", &programs::ours("limpet-core"));
    command.args(["run", "--config"]).arg(&file);
    let duplicate = Process::start("core-duplicate", site.scratch.path(), &mut command);

    wait::until("it is refused, loudly", SOON, async || {
        let said = fleet.core("a").process.log();
        let said = said.lines().find(|line| line.contains("two nodes"));
        said.is_some_and(|line| line.contains("WARN") || line.contains("ERROR"))
    })
    .await;
    for id in ["a", "b"] {
        let (_, members) = fleet.core(id).api.get("/v1/members").await.expect("an answer");
        let members = members["members"].as_array().cloned().unwrap_or_default();
        let c = members.iter().find(|member| member["id"] == "c").expect("c");
        assert_eq!(
            (&c["addr"], &c["state"]),
            (&address.clone().into(), &"ready".into()),
            "{c}"
        );
    }
    assert_eq!(fleet.set("b", "S", "x", "2", "all").await, 3);
    assert_eq!(fleet.text("c", "S", "x").await.as_deref(), Some("2"));
    duplicate.kill();
    fleet.agree(SOON).await;
}
