//! What `copies` says is true, and what was acknowledged is there.

use std::time::Duration;

use limpet_tests::api::{attribute, encoded};
use limpet_tests::cluster::Site;
use limpet_tests::wait;
use serde_json::json;

const APP: &str = "default";
const SOON: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_copies_are_where_they_are_said_to_be() {
    let site = Site::new("copies", &[], &["a", "b", "c"]);
    let cores = [site.core("a").await, site.core("b").await, site.core("c").await];
    wait::eventually("three copies", SOON, async || {
        let change = json!({ "set": { "x": encoded("warm") } });
        let answer = cores[0]
            .api
            .patch(APP, "warm", "all", &change)
            .await
            .map_err(|e| e.to_string())?;
        if answer["copies"] == 3 {
            Ok(())
        } else {
            Err(answer.to_string())
        }
    })
    .await;
    for number in 0..200 {
        let id = format!("S{number}");
        let change = json!({ "set": { "x": encoded(&id) } });
        let (ack, least) = [("all", 3), ("quorum", 2), ("one", 2), ("none", 1)][number % 4];
        let answer = cores[number % 3]
            .api
            .patch(APP, &id, ack, &change)
            .await
            .expect("an answer");
        let copies = answer["copies"].as_u64().expect("copies");
        assert!(copies >= least, "ack={ack} answered {answer}");
        let mut holders = 0;
        for core in &cores {
            let session = core.api.session(APP, &id).await.expect("an answer");
            holders +=
                u64::from(session.is_some_and(|one| attribute(&one, "x").as_deref() == Some(id.as_bytes())));
        }
        assert!(
            holders >= copies,
            "{copies} copies were promised, {holders} are there"
        );
    }
    wait::eventually("equal digests", SOON, async || {
        let mut all = Vec::new();
        for core in &cores {
            all.push(core.api.get("/v1/digest").await.map_err(|e| e.to_string())?.1["hash"].clone());
        }
        if all.windows(2).all(|two| two[0] == two[1]) {
            Ok(())
        } else {
            Err(format!("{all:?}"))
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_to_different_attributes_on_different_nodes_never_lose_each_other() {
    let site = Site::new("merge", &[], &["a", "b"]);
    let (a, b) = (site.core("a").await, site.core("b").await);
    a.api
        .patch(APP, "S", "none", &json!({ "set": { "begun": encoded("1") } }))
        .await
        .expect("an answer");
    wait::until("b holds S", SOON, async || {
        matches!(b.api.session(APP, "S").await, Ok(Some(_)))
    })
    .await;
    for number in 0..50 {
        let left = json!({ "set": { format!("a{number}"): encoded("left") } });
        let right = json!({ "set": { format!("b{number}"): encoded("right") } });
        let (left, right) = tokio::join!(
            a.api.patch(APP, "S", "none", &left),
            b.api.patch(APP, "S", "none", &right)
        );
        left.and(right).expect("both answers");
    }
    for core in [&a, &b] {
        wait::eventually(&format!("{} holds all of it", core.node.id), SOON, async || {
            let session = core
                .api
                .session(APP, "S")
                .await
                .map_err(|e| e.to_string())?
                .ok_or("no session")?;
            let held = session["attributes"].as_object().map_or(0, serde_json::Map::len);
            if held == 101 {
                Ok(())
            } else {
                Err(format!("{held} attributes"))
            }
        })
        .await;
    }
}

/// A node that could not be reached when the answer had to leave is not counted, and the answer is no error.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_timeout_is_no_error_and_the_count_is_true() {
    let mut site = Site::new("timeout", &[], &["a", "b"]);
    site.change("a", |node| {
        node.extra = "\n[replication]\nack_timeout = \"300ms\"\n".into()
    });
    let (a, b) = (site.core("a").await, site.core("b").await);
    wait::until("a sees b", SOON, async || {
        a.state_of("b").await.as_deref() == Some("ready")
    })
    .await;
    b.process.freeze().await;
    let answer = a
        .api
        .patch(APP, "S", "all", &json!({ "set": { "x": encoded("1") } }))
        .await;
    b.process.thaw();
    assert_eq!(answer.expect("no error")["copies"], 1);
    wait::until("b holds it in the end", SOON, async || {
        matches!(b.api.session(APP, "S").await, Ok(Some(_)))
    })
    .await;
}
