//! Does what a proxy could not report in time bring back a user who has logged out since?

use std::time::Duration;

use limpet_tests::api::Api;
use limpet_tests::client::Client;
use limpet_tests::cluster::Site;
use limpet_tests::http::Address;
use limpet_tests::load::Visit;
use limpet_tests::proxy::{HostPlan, Proxy};
use limpet_tests::{ports, wait};

const SOON: Duration = Duration::from_secs(10);
const APP: &str = "default";

/// The visit is reported to the core `edge`, which is away; it waits in the proxy until the core is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_that_waited_for_its_core_begins_no_session_that_was_ended_meanwhile() {
    let site = Site::new("late", &["a"], &["edge"]);
    let _worker = site.worker("a");
    let a = site.core("a").await;
    let mut edge = site.core("edge").await;
    edge.sees_up(&["a"], SOON).await;
    let plan = HostPlan {
        admin: Some(ports::free_addr()),
        ..HostPlan::new(&site.node("edge").socket_url())
    };
    let admin = Api::new(Address::Tcp(plan.admin.clone().expect("an address")));
    let proxy = Proxy::host(&plan, &site.scratch).await;
    let mut client = Client::new(proxy.addr.clone());
    let visit = Visit::make(&mut client, "/json").await;
    let session = async || a.api.session(APP, &visit.session).await.expect("a answers");
    assert!(session().await.is_some(), "{visit:?}");

    wait::until("the filters know the core's clock", SOON, async || {
        let answered = admin
            .metric("limpet_table_fetches_total", "result=\"changed\"")
            .await;
        answered.is_ok_and(|count| count > 0)
    })
    .await;
    edge.process.kill();
    let answer = client.get("/headers/visit").await.expect("an answer");
    assert_eq!(answer.status, 200, "the worker serves without the proxy's core");
    let path = format!("/v1/sessions/{APP}/{}", visit.session);
    let answer = a.api.call("DELETE", &path, b"").await.expect("a answers");
    assert_eq!(
        (answer.status, session().await),
        (200, None),
        "the user has logged out"
    );

    edge = site.core("edge").await;
    wait::eventually("the report is refused", SOON, async || {
        let log = proxy.process.log();
        let refused = log.contains("the session left this id after the request of this operation had begun");
        refused.then_some(()).ok_or_else(|| proxy.process.tail())
    })
    .await;
    assert_eq!(session().await, None, "nobody is logged in again");
    let there = edge.api.session(APP, &visit.session).await.expect("edge answers");
    assert_eq!(there, None, "nor there");
}
