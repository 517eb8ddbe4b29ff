//! A worker that never calls the core: its changes leave as response headers, and the binder carries them.

use limpet_tests::api::attribute;
use limpet_tests::client::Client;
use limpet_tests::load::Visit;
use limpet_tests::wait;

use crate::stage::Stage;

const APP: &str = "default";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deltas_in_headers_reach_every_core_before_the_client_has_its_answer() {
    let stage = Stage::new("deltas").await;
    for (name, proxy) in stage.proxies() {
        let mut client = Client::new(proxy.addr.clone());
        let first = Visit::make(&mut client, "/headers/visit").await;
        assert_eq!((&first.status, first.visits), (&Ok(200), 1), "{name}: {first:?}");
        for visits in 2..=10 {
            let visit = Visit::make(&mut client, "/headers/visit").await;
            assert_eq!(
                (&visit.status, visit.visits),
                (&Ok(200), visits),
                "{name}: {visit:?}"
            );
            assert_eq!(
                (&visit.session, &visit.node),
                (&first.session, &first.node),
                "{name}: it stays where it is"
            );
            for core in [&stage.a, &stage.b, &stage.edge] {
                let session = core.api.session(APP, &visit.session).await.expect("an answer");
                let session = session.unwrap_or_else(|| panic!("{name}: {} has no copy", core.node.id));
                let held = attribute(&session, "visits");
                assert_eq!(
                    held,
                    Some(visits.to_string().into_bytes()),
                    "{name}: {} lags",
                    core.node.id
                );
            }
        }

        let response = client
            .get("/headers/visit?remove=created&max_inactive=900")
            .await
            .expect("an answer");
        for (header, _) in &response.headers {
            assert!(!header.contains("limpet-"), "{name}: the client saw {header}");
        }
        let session = stage
            .b
            .api
            .session(APP, &first.session)
            .await
            .expect("an answer")
            .expect("a copy");
        assert_eq!(attribute(&session, "created"), None, "{name}: removed: {session}");
        assert_eq!(session["max_inactive_ms"], 900_000, "{name}: {session}");

        let ended = client.get("/headers/logout").await.expect("an answer");
        assert_eq!(ended.status, 200, "{name}");
        for core in [&stage.a, &stage.b, &stage.edge] {
            wait::until(
                &format!("{name}: gone on {}", core.node.id),
                std::time::Duration::from_millis(200),
                async || matches!(core.api.session(APP, &first.session).await, Ok(None)),
            )
            .await;
        }
    }
}
