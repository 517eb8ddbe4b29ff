//! The nine steps of the founding documents (rows L01 to L09), as one story with real processes.
//!
//! Two nodes `a` and `b`, each a core and a worker, and an `edge` core without workers that the proxy asks. The
//! story is told once per proxy; nothing in it knows which one is in front.

use std::time::{Duration, Instant};

use limpet_tests::api::{Api, attribute};
use limpet_tests::client::Client;
use limpet_tests::cluster::{Core, Site};
use limpet_tests::http::Address;
use limpet_tests::load::{Load, Visit, assert_all_served, assert_never_goes_back};
use limpet_tests::proxy::Proxy;
use limpet_tests::random::Random;
use limpet_tests::wait;
use limpet_tests::worker::Worker;
use limpet_wire::report::{Operation, Report};
use serde_json::Value;

/// "Known on every node within a second", with room for a machine that does other things too.
const SOON: Duration = Duration::from_secs(3);
/// How much a node must fetch when it comes back, so that fetching takes a while.
const BULK_SESSIONS: usize = 40_000;
const BULK_VALUE: usize = 512;
const BULK_BATCH: usize = 2_000;
/// A deleted session is gone everywhere by then.
const GONE: Duration = Duration::from_millis(200);
const APP: &str = "default";

struct Stage {
    site: Site,
    proxy: Proxy,
    edge: Core,
}

struct Node {
    core: Core,
    worker: Worker,
}

/// Tells the story; `front` starts the proxy in front of a site, with its `edge` core running.
pub async fn tell(front: impl AsyncFnOnce(&Site) -> Proxy) {
    let mut random = Random::announced("nine steps");
    let site = Site::new("nine", &["a", "b"], &["edge"]);

    let a = l01_a_starts(&site).await;
    let edge = site.core("edge").await;
    edge.sees_up(&["a"], SOON).await;
    let proxy = front(&site).await;
    let stage = Stage { site, proxy, edge };
    let early = visitor_at(&stage, "a", "/json").await;

    let b = l02_b_joins_and_has_everything(&stage, &a, &early.1).await;
    let s1 = l03_s1_is_created_on_a(&stage, &b).await;
    let s1 = l04_a_crashes_in_mid_load(&stage, a, &b, s1).await;
    let s1 = l05_b_serves_s1(&stage, &b, s1).await;
    let a = l06_a_returns(&stage, &b, &mut random).await;
    l07_s1_is_invalidated_on_a(&stage, &a, &b, s1).await;
    let s2 = l08_s2_is_created_on_b(&stage, &a).await;
    l09_s2_expires(&a, &b, &stage.edge, &s2).await;
}

async fn l01_a_starts(site: &Site) -> Node {
    let worker = site.worker("a");
    let core = site.core("a").await;
    core.sees_up(&["a"], SOON).await;
    assert_eq!(
        core.state_of("a").await.as_deref(),
        Some("ready"),
        "L01: it is its own first member"
    );
    let by_socket = Api::new(Address::Unix(core.node.socket.clone()));
    assert_eq!(
        by_socket
            .get("/healthz")
            .await
            .expect("the unix socket answers")
            .0,
        200,
        "L01: unix socket"
    );
    Node { core, worker }
}

async fn l02_b_joins_and_has_everything(stage: &Stage, a: &Node, early: &str) -> Node {
    let worker = stage.site.worker("b");
    let core = stage.site.core("b").await;
    let session = core.api.session(APP, early).await.expect("b answers");
    assert!(
        session.is_some(),
        "L02: b was ready without the session {early} that was there before it"
    );
    same_table(&core, &a.core).await;
    for one in [&core, &a.core, &stage.edge] {
        one.sees_up(&["a", "b"], SOON).await;
    }
    Node { core, worker }
}

async fn l03_s1_is_created_on_a(stage: &Stage, b: &Node) -> Client {
    let (client, id) = visitor_at(stage, "a", "/json").await;
    let copy = b.core.api.session(APP, &id).await.expect("b answers");
    let copy = copy.unwrap_or_else(|| panic!("L03: the answer left, and b has no copy of {id}"));
    assert_eq!(visits_of(&copy), Some(1), "L03: the copy is current: {copy}");
    assert_eq!(copy["route"], "a", "L03: bound to a: {copy}");
    assert_eq!(
        client.route_of("JSESSIONID"),
        Some("a"),
        "L03: the id says so too"
    );
    client
}

async fn l04_a_crashes_in_mid_load(stage: &Stage, a: Node, b: &Node, s1: Client) -> Client {
    let others = [
        visitor_at(stage, "a", "/json").await.0,
        visitor_at(stage, "b", "/json").await.0,
    ];
    let load = Load::start(s1, "/json", false);
    let others = others.map(|client| Load::start(client, "/json", false));
    load.more(100, Duration::from_secs(20)).await;
    a.worker.process.kill();
    a.core.process.kill();
    let crash = Instant::now();
    wait::until("L04: b is told of the crash", SOON, async || {
        !matches!(b.core.state_of("a").await.as_deref(), Some("ready" | "joining"))
    })
    .await;
    println!("b knew of the crash after {:?}", crash.elapsed());
    load.more(200, Duration::from_secs(30)).await;

    let (client, visits) = load.finish().await;
    assert_all_served(&visits);
    assert_never_goes_back(&visits);
    assert_eq!(
        visits.first().map(|visit| visit.node.as_str()),
        Some("a"),
        "L04: the load began on a: {:#?}",
        &visits[..3.min(visits.len())]
    );
    assert_eq!(
        visits.last().map(|visit| visit.node.as_str()),
        Some("b"),
        "L04: and went on on b"
    );
    for other in others {
        let (_, visits) = other.finish().await;
        assert_all_served(&visits);
        assert_never_goes_back(&visits);
    }
    client
}

async fn l05_b_serves_s1(stage: &Stage, b: &Node, mut s1: Client) -> Client {
    let first = served(&mut s1, "/json").await;
    let second = served(&mut s1, "/json").await;
    assert_eq!(
        (first.node.as_str(), second.node.as_str()),
        ("b", "b"),
        "L05: b serves it"
    );
    assert_eq!(second.visits, first.visits + 1, "L05: as usual");
    assert_eq!(
        s1.route_of("JSESSIONID"),
        Some("b"),
        "L05: the id names its new worker"
    );
    for core in [&b.core, &stage.edge] {
        wait::eventually("L05: the binding follows", SOON, async || {
            let session = core
                .api
                .session(APP, &first.session)
                .await
                .map_err(|e| e.to_string())?;
            let session = session.ok_or("no such session")?;
            if session["route"] == "b" {
                Ok(())
            } else {
                Err(session.to_string())
            }
        })
        .await;
    }
    s1
}

/// A fetches for a while; meanwhile new visitors keep coming, and none of them may reach it.
async fn l06_a_returns(stage: &Stage, b: &Node, random: &mut Random) -> Node {
    fill(&b.core.api, random).await;
    let load = Load::start(
        Client::new(stage.proxy.addr.clone()),
        "/json?max_inactive=60s",
        true,
    );
    let worker = stage.site.worker("a");
    let before = worker.accesses().len();
    let mut core = stage.site.start_core("a");
    let mut reasons = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let served = worker.accesses().len() - before;
        match core.readiness().await {
            Ok(()) => break,
            Err(reason) => {
                assert_eq!(served, 0, "L06: a was given requests while it said {reason:?}");
                reasons.push(reason);
            }
        }
        assert!(
            Instant::now() < deadline && core.process.runs(),
            "L06: a did not become ready: {reasons:?}"
        );
        tokio::task::yield_now().await;
    }
    reasons.retain(|reason| reason.starts_with("503"));
    assert!(
        !reasons.is_empty(),
        "L06: a was ready too soon to prove anything; it needs more to fetch"
    );
    println!(
        "a said {} times why it was not ready, last: {}",
        reasons.len(),
        reasons[reasons.len() - 1]
    );
    wait::until("L06: then a serves again", SOON, async || {
        worker.accesses().len() > before
    })
    .await;
    let (_, visits) = load.finish().await;
    assert_all_served(&visits);
    same_table(&core, &b.core).await;
    stage.edge.sees_up(&["a", "b"], SOON).await;
    Node { core, worker }
}

async fn l07_s1_is_invalidated_on_a(stage: &Stage, a: &Node, b: &Node, mut s1: Client) {
    let cookie = s1.cookies["JSESSIONID"].clone();
    let id = cookie.split('.').next().expect("an id").to_owned();
    // Every thread of the proxy learns of a's return within a second, the one that serves this visitor included.
    wait::eventually("L07: the proxy knows that a is back", SOON, async || {
        s1.cookies.remove("LIMPET");
        s1.cookies.insert("JSESSIONID".into(), format!("{id}.a"));
        let worker = s1
            .get("/echo")
            .await
            .map_err(|e| e.to_string())?
            .header("x-worker");
        if worker.as_deref() == Some("a") {
            Ok(())
        } else {
            Err(format!("{worker:?} serves"))
        }
    })
    .await;
    let response = s1.get("/logout").await.expect("an answer");
    let answered = Instant::now();
    assert_eq!(
        (response.status, response.header("x-worker").as_deref()),
        (200, Some("a")),
        "L07: a invalidates"
    );
    for core in [&a.core, &b.core, &stage.edge] {
        let left = GONE
            .saturating_sub(answered.elapsed())
            .max(Duration::from_millis(1));
        wait::until(
            &format!("L07: S1 is gone on {}", core.node.id),
            left,
            async || matches!(core.api.session(APP, &id).await, Ok(None)),
        )
        .await;
    }
    s1.cookies.remove("LIMPET");
    s1.cookies.insert("JSESSIONID".into(), cookie);
    let visit = served(&mut s1, "/json").await;
    assert_ne!(
        visit.session, id,
        "L07: a deleted session does not come back, nor does its id"
    );
    assert_eq!(visit.visits, 1, "L07: what follows is a new session");
    for core in [&a.core, &b.core, &stage.edge] {
        assert_eq!(
            core.api.session(APP, &id).await.expect("an answer"),
            None,
            "L07: still gone on {}",
            core.node.id
        );
    }
}

async fn l08_s2_is_created_on_b(stage: &Stage, a: &Node) -> String {
    let (_, id) = visitor_at(stage, "b", "/json?max_inactive=2s").await;
    let copy = a.core.api.session(APP, &id).await.expect("a answers");
    let copy = copy.unwrap_or_else(|| panic!("L08: the answer left, and a has no copy of {id}"));
    assert_eq!(
        (visits_of(&copy), &copy["route"]),
        (Some(1), &Value::from("b")),
        "L08: {copy}"
    );
    assert!(
        a.core.api.lists(APP, &id).await.expect("a lists its sessions"),
        "L08: a lists {id}"
    );
    id
}

/// Nobody sends a request; the lists are read, which is no use of a session.
async fn l09_s2_expires(a: &Node, b: &Node, edge: &Core, s2: &str) {
    for core in [&a.core, &b.core, edge] {
        wait::until(
            &format!("L09: S2 ends on {} by itself", core.node.id),
            Duration::from_secs(6),
            async || matches!(core.api.lists(APP, s2).await, Ok(false)),
        )
        .await;
    }
}

/// A new visitor whose first visit is answered by `route`, and the id of the session.
async fn visitor_at(stage: &Stage, route: &str, path: &str) -> (Client, String) {
    wait::eventually(
        &format!("a new visitor on {route}"),
        Duration::from_secs(10),
        async || {
            let mut client = Client::new(stage.proxy.addr.clone());
            let visit = served(&mut client, path).await;
            if visit.node == route {
                Ok((client, visit.session))
            } else {
                Err(format!("{visit:?}"))
            }
        },
    )
    .await
}

async fn served(client: &mut Client, path: &str) -> Visit {
    let visit = Visit::make(client, path).await;
    assert_eq!(visit.status, Ok(200), "{path}: {visit:?}");
    visit
}

/// Sessions by the thousand, as a filter would report them.
async fn fill(api: &Api, random: &mut Random) {
    for batch in 0..BULK_SESSIONS / BULK_BATCH {
        let operations = (0..BULK_BATCH).map(|number| Operation {
            app: "bulk".into(),
            id: format!("bulk-{batch}-{number}"),
            set: vec![("filling".into(), random.bytes(BULK_VALUE))],
            ..Operation::default()
        });
        let reply = api
            .report(
                &Report {
                    operations: operations.collect(),
                },
                "none",
            )
            .await
            .expect("a reply");
        assert!(reply.refused.is_empty(), "{:?}", reply.refused.first());
    }
}

/// Both cores hold the same sessions in the same state, as far as a digest can tell; soon, because loads go on.
async fn same_table(one: &Core, other: &Core) {
    wait::eventually("the tables are the same", SOON, async || {
        let (_, left) = one.api.get("/v1/digest").await.map_err(|e| e.to_string())?;
        let (_, right) = other.api.get("/v1/digest").await.map_err(|e| e.to_string())?;
        if left == right && left["hash"].is_string() {
            Ok(())
        } else {
            Err(format!("{left} and {right}"))
        }
    })
    .await;
}

fn visits_of(session: &Value) -> Option<u64> {
    String::from_utf8(attribute(session, "visits")?)
        .ok()?
        .parse()
        .ok()
}
