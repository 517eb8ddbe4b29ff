//! Conditional writes that a majority decides, with real processes: one winner each, members that are killed, and an
//! operator who forgets those that are dead.

use std::process::Command;
use std::time::Duration;

use limpet_tests::api::encoded;
use limpet_tests::cluster::{Core, Site};
use limpet_tests::{programs, wait};
use serde_json::{Value, json};

const NODES: [&str; 5] = ["a", "b", "c", "d", "e"];
const SOON: Duration = Duration::from_secs(15);

/// The status and the code of a change on condition that there is no such session.
async fn create(core: &Core, id: &str) -> (u16, Value) {
    let change = json!({ "set": { "by": encoded(&core.node.id) } }).to_string();
    let path = format!("/v1/sessions/default/{id}?if=absent");
    let response = core.api.call("PATCH", &path, change.as_bytes()).await;
    let response = response.expect("an answer");
    (response.status, response.json()["error"].clone())
}

/// What a node says of the majority.
async fn quorum(core: &Core) -> Value {
    let members = core.api.get("/v1/members").await;
    members.map_or(Value::Null, |(_, value)| value["quorum"].clone())
}

/// Waits until as many members count at a node, and enough of them can be reached or not.
async fn counts(core: &Core, voters: u64, reached: bool) {
    wait::eventually("the majority is as expected", SOON, async || {
        let quorum = quorum(core).await;
        if quorum["voters"] == voters && quorum["reached"] == reached {
            Ok(())
        } else {
            Err(quorum.to_string())
        }
    })
    .await;
}

/// `limpet-core member forget` at a node.
fn forget(core: &Core, id: &str) -> (bool, String) {
    let mut command = Command::new(programs::ours("limpet-core"));
    let api = format!("http://{}", core.node.api);
    let output = command.args(["member", "forget", id, "--api", &api]).output();
    let output = output.expect("the program");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.success(), said)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_majority_decides_and_goes_on_without_two_of_five_and_after_three_are_forgotten() {
    let mut site = Site::new("quorum", &[], &NODES);
    for node in NODES {
        site.change(node, |plan| {
            plan.extra = "\n[session_server]\nconditional = \"quorum\"\nfounders = 5\n".into();
        });
    }
    let mut cores: Vec<_> = NODES.iter().map(|node| site.start_core(node)).collect();
    for core in &mut cores {
        core.ready(SOON).await;
    }
    for core in &cores {
        counts(core, 5, true).await;
    }
    for n in 0..50 {
        let id = format!("S{n}");
        let [a, b, c, d, e] = &cores[..] else {
            unreachable!("five of them")
        };
        let answers = tokio::join!(
            create(a, &id),
            create(b, &id),
            create(c, &id),
            create(d, &id),
            create(e, &id)
        );
        let answers = [answers.0, answers.1, answers.2, answers.3, answers.4];
        let won = answers.iter().filter(|(status, _)| *status == 200).count();
        let lost = answers.iter().filter(|(status, _)| *status == 412).count();
        assert_eq!((won, lost), (1, 4), "{id}: {answers:?}");
    }

    // Two of five are killed.
    cores.truncate(3);
    wait::eventually("three of five go on", SOON, async || {
        match create(&cores[0], "T").await {
            (200 | 412, _) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    for n in 0..50 {
        let id = format!("S{n}");
        wait::eventually("what was decided stands", SOON, async || {
            let answer = create(&cores[n % 3], &id).await;
            assert_ne!(answer.0, 200, "{id} was created before");
            if answer.0 == 412 {
                Ok(())
            } else {
                Err(format!("{answer:?}"))
            }
        })
        .await;
    }

    // And one more.
    cores.truncate(2);
    counts(&cores[0], 5, false).await;
    let refused = create(&cores[0], "U").await;
    assert_eq!(refused, (503, json!("no_quorum")));
    let (forgotten, said) = forget(&cores[0], "b");
    assert!(!forgotten && said.contains("alive"), "{said}");
    for dead in ["c", "d", "e"] {
        let (forgotten, said) = forget(&cores[0], dead);
        assert!(forgotten, "{said}");
    }
    for core in &cores {
        counts(core, 2, true).await;
    }
    for n in 0..50 {
        let id = format!("S{n}");
        wait::eventually("what was decided stands", SOON, async || {
            let answer = create(&cores[n % 2], &id).await;
            assert_ne!(answer.0, 200, "{id} was created before");
            if answer.0 == 412 {
                Ok(())
            } else {
                Err(format!("{answer:?}"))
            }
        })
        .await;
    }
    wait::eventually("two go on", SOON, async || match create(&cores[1], "U").await {
        (200, _) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
}
