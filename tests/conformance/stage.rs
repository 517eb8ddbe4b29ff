//! One cluster, two proxies in front of it with the same filter configuration.

use std::time::{SystemTime, UNIX_EPOCH};

use limpet_tests::cluster::{Core, Site};
use limpet_tests::envoy::{fitted_to, replaced};
use limpet_tests::ports;
use limpet_tests::proxy::{HostPlan, Proxy};
use limpet_tests::wait;
use limpet_tests::worker::Worker;
use limpet_wire::table::WorkerTable;
use limpet_wire::token::{Claims, NONCE_LEN, seal};

/// Cores `a` and `b` with a worker each, the `edge` core, and both proxies.
pub struct Stage {
    pub site: Site,
    pub a: Core,
    pub b: Core,
    pub edge: Core,
    pub host: Proxy,
    pub envoy: Proxy,
    pub table: WorkerTable,
    _workers: [Worker; 2],
}

impl Stage {
    /// Starts everything; tokens idle out after half an hour, deltas wait for all copies.
    pub async fn new(name: &str) -> Self {
        let site = Site::new(name, &["a", "b"], &["edge"]);
        let workers = [site.worker("a"), site.worker("b")];
        let (a, b, edge) = (
            site.core("a").await,
            site.core("b").await,
            site.core("edge").await,
        );
        edge.sees_up(&["a", "b"], std::time::Duration::from_secs(10))
            .await;

        let plan = HostPlan {
            router: r#"{ token = { cookie = "LIMPET", idle = "30m" } }"#.into(),
            binder: r#"{ ack = "all" }"#.into(),
            ..HostPlan::new(&edge.node.socket_url())
        };
        let host = Proxy::host(&plan, &site.scratch).await;
        let listen = ports::free_addr();
        let same = [
            (
                r#""token": { "cookie": "LIMPET" }"#,
                r#""token": { "cookie": "LIMPET", "idle": "30m" }"#,
            ),
            (r#""ack": "none""#, r#""ack": "all""#),
        ];
        let config = replaced(fitted_to(&site, &listen), &same);
        let envoy = Proxy::envoy(&config, &listen, &site.scratch).await;
        let table = edge.api.table().await.expect("the table filters get");
        let stage = Self {
            site,
            a,
            b,
            edge,
            host,
            envoy,
            table,
            _workers: workers,
        };
        stage.both_know_the_table().await;
        stage
    }

    /// A token of this cluster for `route`, last seen `age` seconds ago; `cluster` may be another's name.
    pub fn token(&self, route: &str, age: u64, cluster: &str) -> String {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("after 1970")
            .as_secs();
        let claims = Claims {
            app: "default".into(),
            route: route.into(),
            fallbacks: Vec::new(),
            first_seen: now - age,
            last_seen: now - age,
        };
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).expect("the operating system has randomness");
        seal(&claims, cluster, &self.table.keys[0], nonce).expect("a token")
    }

    /// Both proxies by name.
    pub fn proxies(&self) -> [(&'static str, &Proxy); 2] {
        [("limpet-host", &self.host), ("Envoy", &self.envoy)]
    }

    /// Filters fetch the table after they start; a route in a cookie is obeyed from then on.
    async fn both_know_the_table(&self) {
        for (name, proxy) in self.proxies() {
            for route in ["a", "b"] {
                wait::eventually(
                    &format!("{name} knows {route}"),
                    std::time::Duration::from_secs(10),
                    async || {
                        for _ in 0..4 {
                            let mut client = limpet_tests::client::Client::new(proxy.addr.clone());
                            client
                                .cookies
                                .insert("JSESSIONID".into(), format!("probe.{route}"));
                            let answer = client.get("/echo").await.map_err(|e| e.to_string())?;
                            if answer.header("x-worker").as_deref() != Some(route) {
                                return Err(format!(
                                    "{} from {:?}",
                                    answer.status,
                                    answer.header("x-worker")
                                ));
                            }
                        }
                        Ok(())
                    },
                )
                .await;
            }
        }
    }
}
