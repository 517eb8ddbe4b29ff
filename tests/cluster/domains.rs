//! Two domains of one cluster: one CA, one set of seeds, and nothing to say to each other.

use std::time::Duration;

use limpet_tests::api::encoded;
use limpet_tests::cluster::{Core, Site};
use limpet_tests::wait;
use serde_json::json;

const SOON: Duration = Duration::from_secs(10);

async fn members(core: &Core) -> Vec<String> {
    let Ok((_, answer)) = core.api.get("/v1/members").await else {
        return Vec::new();
    };
    let all = answer["members"].as_array().cloned().unwrap_or_default();
    let ready = all.iter().filter(|member| member["state"] == "ready");
    ready
        .filter_map(|member| member["id"].as_str().map(str::to_owned))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_changes_nor_tables_nor_members_leave_a_domain_and_nobody_complains() {
    let mut site = Site::new("domains", &[], &["a", "b", "c", "d"]);
    for (node, domain) in [("a", "left"), ("b", "left"), ("c", "right"), ("d", "right")] {
        site.change(node, |plan| plan.node = format!("domain = \"{domain}\""));
    }
    // Every node has all others as seeds, those of the other domain included, and still is ready at once.
    let (a, b) = (site.core("a").await, site.core("b").await);
    let write = async |core: &Core, value: &str| {
        let change = json!({"set": {"v": encoded(value)}});
        let answer = core
            .api
            .patch("default", "S", "all", &change)
            .await
            .expect("written");
        assert_eq!(answer["copies"], 2, "the copies of its own domain");
    };
    wait::until("a sees b", SOON, async || members(&a).await == ["a", "b"]).await;
    write(&a, "left").await;
    // c begins beside a table that is none of its business.
    let (c, d) = (site.core("c").await, site.core("d").await);
    assert_eq!(c.api.session("default", "S").await.expect("an answer"), None);
    wait::until("c sees d", SOON, async || members(&c).await == ["c", "d"]).await;
    write(&c, "right").await;

    let kept = [
        (&a, "left", ["a", "b"]),
        (&b, "left", ["a", "b"]),
        (&c, "right", ["c", "d"]),
        (&d, "right", ["c", "d"]),
    ];
    // Several attempts to link, had they any effect.
    wait::stays("each keeps to its domain", Duration::from_secs(3), async || {
        for (core, value, domain) in &kept {
            let session = core
                .api
                .session("default", "S")
                .await
                .map_err(|e| e.to_string())?;
            let there = session.map(|session| session["attributes"]["v"].clone());
            let seen = members(core).await;
            if there != Some(encoded(*value)) || seen != *domain {
                return Err(format!("{} has {there:?} and sees {seen:?}", core.node.id));
            }
        }
        Ok(())
    })
    .await;
    for (core, ..) in kept {
        let log = core.process.log();
        let said = log.lines().filter(|line| line.contains("another domain")).count();
        assert!((1..=2).contains(&said), "{} said it {said} times", core.node.id);
        assert!(!log.contains("WARN"), "{}", core.process.tail());
    }
}
