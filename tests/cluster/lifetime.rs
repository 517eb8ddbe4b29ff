//! How sessions end: deleted ones stay deleted, idle ones end everywhere, also across a restart.

use std::time::Duration;

use limpet_tests::api::encoded;
use limpet_tests::cluster::Site;
use limpet_tests::wait;
use serde_json::json;

const APP: &str = "default";
const SOON: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_session_does_not_come_back_with_an_old_copy() {
    let site = Site::new("tomb", &[], &["a", "b"]);
    let (a, b) = (site.core("a").await, site.core("b").await);
    wait::eventually("both hold S", SOON, async || {
        let answer = a
            .api
            .patch(APP, "S", "all", &json!({ "set": { "x": encoded("1") } }))
            .await;
        let answer = answer.map_err(|e| e.to_string())?;
        if answer["copies"] == 2 {
            Ok(())
        } else {
            Err(answer.to_string())
        }
    })
    .await;
    b.process.freeze().await;
    let deleted = a
        .api
        .call("DELETE", "/v1/sessions/default/S", b"")
        .await
        .expect("an answer");
    assert!((200..300).contains(&deleted.status), "{}", deleted.text());
    b.process.thaw();
    for core in [&a, &b] {
        wait::until(&format!("S is gone on {}", core.node.id), SOON, async || {
            matches!(core.api.session(APP, "S").await, Ok(None))
        })
        .await;
    }
    let again = {
        b.process.kill();
        site.core("b").await
    };
    assert_eq!(
        again.api.session(APP, "S").await.expect("an answer"),
        None,
        "nor by a transfer"
    );
    assert_eq!(
        a.api.session(APP, "S").await.expect("an answer"),
        None,
        "nor on the node that deleted it"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn touching_keeps_a_session_and_idleness_ends_it_everywhere() {
    let site = Site::new("idle", &[], &["a", "b"]);
    let (a, b) = (site.core("a").await, site.core("b").await);
    let change = json!({ "set": { "x": encoded("1") }, "max_inactive": "2s" });
    for id in ["kept", "idle"] {
        a.api.patch(APP, id, "all", &change).await.expect("an answer");
    }
    wait::until("idle ends on both", Duration::from_secs(8), async || {
        let touched = b
            .api
            .call("POST", "/v1/sessions/default/kept/touch", b"")
            .await
            .expect("an answer");
        assert!(
            (200..300).contains(&touched.status),
            "the touched one ended: {}",
            touched.text()
        );
        let gone = (a.api.lists(APP, "idle").await, b.api.lists(APP, "idle").await);
        matches!(gone, (Ok(false), Ok(false)))
    })
    .await;
    assert!(a.api.lists(APP, "kept").await.expect("a list"), "kept is kept");
    wait::until(
        "kept ends too, once left alone",
        Duration::from_secs(8),
        async || {
            matches!(
                (a.api.lists(APP, "kept").await, b.api.lists(APP, "kept").await),
                (Ok(false), Ok(false))
            )
        },
    )
    .await;
}
