//! Conditional writes: of callers at all nodes one has its way, and what is counted with them is counted right.

use std::sync::Arc;
use std::time::Duration;

use limpet_tests::api::{attribute, encoded};
use limpet_tests::cluster::{Core, Site};
use limpet_tests::wait;
use serde_json::json;

const APP: &str = "default";
const SOON: Duration = Duration::from_secs(10);
const NODES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// Five nodes that know of each other.
async fn five(name: &str) -> (Site, Vec<Arc<Core>>) {
    let site = Site::new(name, &[], &NODES);
    let mut cores = Vec::new();
    for node in NODES {
        cores.push(Arc::new(site.core(node).await));
    }
    for core in &cores {
        wait::until("all members are ready", SOON, async || {
            let members = core.api.get("/v1/members").await;
            let ready = members.ok().and_then(|(_, value)| {
                let all = value["members"].as_array()?;
                Some(all.iter().filter(|member| member["state"] == "ready").count())
            });
            ready == Some(NODES.len())
        })
        .await;
    }
    (site, cores)
}

/// Does all of it at once.
async fn at_once<T: Send + 'static>(all: Vec<impl Future<Output = T> + Send + 'static>) -> Vec<T> {
    let tasks: Vec<_> = all.into_iter().map(tokio::spawn).collect();
    let mut done = Vec::new();
    for task in tasks {
        done.push(task.await.expect("a task that ends"));
    }
    done
}

/// The status of a conditional change of one attribute, and the answer.
async fn change_if(core: &Core, id: &str, condition: &str, value: &str) -> (u16, serde_json::Value) {
    let change = json!({ "set": { "by": encoded(value) } }).to_string();
    let path = format!("/v1/sessions/{APP}/{id}?if={condition}");
    let response = core.api.call("PATCH", &path, change.as_bytes()).await;
    let response = response.expect("an answer");
    (response.status, response.json())
}

/// The status of a conditional deletion.
async fn delete_if(core: &Core, id: &str, condition: &str) -> u16 {
    let path = format!("/v1/sessions/{APP}/{id}?if={condition}");
    let response = core.api.call("DELETE", &path, b"").await;
    response.expect("an answer").status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_ten_thousand_creations_at_five_nodes_each_session_has_one() {
    const SESSIONS: usize = 2000;
    const AT_ONCE: usize = 50;
    let (_site, cores) = five("absent").await;
    let mut winners = Vec::new();
    for first in (0..SESSIONS).step_by(AT_ONCE) {
        let ids: Vec<_> = (first..first + AT_ONCE).map(|n| format!("S{n}")).collect();
        let everywhere = |id: &String| {
            let calls = cores.iter().zip(NODES).map(|(core, node)| {
                let (core, id) = (core.clone(), id.clone());
                async move { change_if(&core, &id, "absent", node).await }
            });
            calls.collect::<Vec<_>>()
        };
        let all = at_once(ids.iter().flat_map(everywhere).collect()).await;
        for (id, answers) in ids.iter().zip(all.chunks(NODES.len())) {
            let statuses: Vec<_> = answers.iter().map(|(status, _)| *status).collect();
            let won: Vec<_> = (0..NODES.len()).filter(|at| statuses[*at] == 200).collect();
            assert_eq!(won.len(), 1, "{id}: {answers:?}");
            let lost = statuses.iter().filter(|status| **status == 412).count();
            assert_eq!(lost, NODES.len() - 1, "{id}: {answers:?}");
            winners.push((id.clone(), NODES[won[0]]));
        }
    }
    for (id, winner) in &winners {
        for core in &cores {
            let session = core
                .api
                .session(APP, id)
                .await
                .expect("an answer")
                .expect("a session");
            assert_eq!(
                attribute(&session, "by").as_deref(),
                Some(winner.as_bytes()),
                "{id}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn increments_on_condition_of_a_version_are_all_counted() {
    const EACH: usize = 40;
    let (_site, cores) = five("version").await;
    assert_eq!(change_if(&cores[0], "counter", "absent", "0").await.0, 200);
    for core in &cores {
        wait::until("every node has it", SOON, async || {
            matches!(core.api.session(APP, "counter").await, Ok(Some(_)))
        })
        .await;
    }
    let increments = async |core: Arc<Core>| {
        for _ in 0..EACH {
            loop {
                let session = core.api.session(APP, "counter").await.expect("an answer");
                let session = session.expect("the counter");
                let count = attribute(&session, "by").expect("a count");
                let count: usize = String::from_utf8(count)
                    .expect("digits")
                    .parse()
                    .expect("a number");
                let version = session["version"].as_str().expect("a version").to_owned();
                let condition = format!("version:{version}");
                match change_if(&core, "counter", &condition, &(count + 1).to_string()).await {
                    (200, _) => break,
                    (412, _) => {}
                    other => panic!("{other:?}"),
                }
            }
        }
    };
    at_once(cores.iter().cloned().map(increments).collect()).await;
    let total = (EACH * NODES.len()).to_string();
    for core in &cores {
        wait::until("the sum is everywhere", SOON, async || {
            let session = core.api.session(APP, "counter").await.ok().flatten();
            session.and_then(|session| attribute(&session, "by")).as_deref() == Some(total.as_bytes())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_condition_sees_what_its_caller_wrote_and_read_at_the_same_node() {
    let (_site, cores) = five("in_order").await;
    for number in 0..100 {
        let core = &cores[number % NODES.len()];
        let id = format!("S{number}");
        let change = json!({ "set": { "by": encoded("1") } });
        let written = core
            .api
            .patch(APP, &id, "none", &change)
            .await
            .expect("an answer");
        assert_eq!(change_if(core, &id, "absent", "2").await.0, 412);
        let version = written["version"].as_str().expect("a version");
        let (status, made) = change_if(core, &id, &format!("version:{version}"), "3").await;
        assert_eq!(status, 200, "{made}");
        let session = core
            .api
            .session(APP, &id)
            .await
            .expect("an answer")
            .expect("a session");
        assert_eq!(session["version"], made["version"]);
        assert_eq!(change_if(core, &id, "present", "4").await.0, 200);
        assert_eq!(delete_if(core, &id, &format!("version:{version}")).await, 412);
        assert_eq!(delete_if(core, &id, "present").await, 200);
        assert_eq!(change_if(core, &id, "present", "5").await.0, 412);
        assert_eq!(change_if(core, &id, "absent", "6").await.0, 200);
    }
}
