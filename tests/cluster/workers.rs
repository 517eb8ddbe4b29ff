//! What operators say of workers through the API of any node.

use std::time::Duration;

use limpet_tests::cluster::{Core, Site};
use limpet_tests::wait;

const SOON: Duration = Duration::from_secs(10);

async fn sees(core: &Core, route: &str, status: &str) {
    wait::eventually(
        &format!("{} sees {route} {status}", core.node.id),
        SOON,
        async || {
            let (_, answer) = core.api.get("/v1/workers").await.map_err(|e| e.to_string())?;
            let workers = answer["workers"].as_array().cloned().unwrap_or_default();
            let found = workers.iter().find(|worker| worker["route"] == route);
            match found {
                Some(worker) if worker["status"] == status => Ok(()),
                _ => Err(answer.to_string()),
            }
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drained_worker_is_draining_for_every_node_until_somebody_enables_it() {
    let site = Site::new("operators", &["a", "b"], &[]);
    let (_wa, _wb) = (site.worker("a"), site.worker("b"));
    let (a, b) = (site.core("a").await, site.core("b").await);
    for core in [&a, &b] {
        core.sees_up(&["a", "b"], SOON).await;
    }

    let unknown = a.api.call("POST", "/v1/workers/nobody/drain", b"").await.unwrap();
    assert_eq!(unknown.status, 404, "{}", unknown.text());
    assert!(unknown.text().contains("nobody"), "{}", unknown.text());
    let misspelt = a.api.call("POST", "/v1/workers/a/dry", b"").await.unwrap();
    assert_eq!(misspelt.status, 404, "{}", misspelt.text());
    let read = a.api.call("GET", "/v1/workers/a/drain", b"").await.unwrap();
    assert_eq!(read.status, 405, "{}", read.text());

    let drained = a
        .api
        .call("POST", "/v1/workers/b/drain?ack=all", b"")
        .await
        .unwrap();
    assert_eq!(drained.status, 200, "{}", drained.text());
    assert_eq!(drained.json()["status"], "draining");
    assert_eq!(drained.json()["copies"], 2);
    sees(&b, "b", "draining").await;

    // The node that was told goes and comes back without its memory.
    let status = { a }.process.terminate(SOON).await;
    assert!(status.success(), "{status}");
    let a = site.core("a").await;
    sees(&a, "b", "draining").await;

    let disabled = b.api.call("POST", "/v1/workers/a/disable", b"").await.unwrap();
    assert_eq!(disabled.status, 200, "{}", disabled.text());
    sees(&a, "a", "disabled").await;
    for (core, route) in [(&a, "a"), (&b, "b")] {
        let path = format!("/v1/workers/{route}/enable");
        let enabled = core.api.call("POST", &path, b"").await.unwrap();
        assert_eq!(enabled.status, 200, "{}", enabled.text());
    }
    for core in [&a, &b] {
        core.sees_up(&["a", "b"], SOON).await;
    }
}
