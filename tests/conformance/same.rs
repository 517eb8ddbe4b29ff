//! The same bytes through both proxies: the same worker, the same headers to it, the same headers to the client.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use limpet_tests::http::{Connection, Response};
use limpet_tests::proxy::Proxy;
use limpet_wire::token::open;

use crate::requests::{Row, Served, all};
use crate::stage::Stage;

/// What HTTP leaves to each proxy: who it is, when it was, how it frames and forwards.
const OWN: [&str; 13] = [
    "server",
    "date",
    "via",
    "forwarded",
    "x-request-id",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "connection",
    "keep-alive",
    "transfer-encoding",
    "content-length",
    "x-real-ip",
];

/// How often a request is repeated until both proxies' balancers chose the same worker.
const TRIES: usize = 40;

/// Everything about an exchange that must be the same.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    status: u16,
    worker: Option<String>,
    to_worker: Vec<String>,
    to_client: Vec<String>,
}

fn is_own(name: &str) -> bool {
    OWN.contains(&name) || name.starts_with("x-envoy-")
}

/// Sends one row on a connection of its own.
async fn send(proxy: &Proxy, row: &Row) -> Result<Response, String> {
    let mut connection = Connection::open(&proxy.addr).await.map_err(|e| e.to_string())?;
    connection.send(&row.bytes).await.map_err(|e| e.to_string())
}

fn seen(stage: &Stage, response: &Response) -> Seen {
    let mut to_client: Vec<_> = response
        .headers
        .iter()
        .filter(|(name, _)| !is_own(name))
        .map(|(name, value)| {
            format!(
                "{name}: {}",
                without_chance(stage, &String::from_utf8_lossy(value))
            )
        })
        .collect();
    to_client.sort();
    let page = response.json();
    let mut to_worker = Vec::new();
    let mut cookies = Vec::new();
    for pair in page["headers"].as_array().cloned().unwrap_or_default() {
        let name = pair[0].as_str().unwrap_or_default().to_owned();
        let value = STANDARD
            .decode(pair[1].as_str().unwrap_or_default())
            .unwrap_or_default();
        let shown = value.escape_ascii().to_string();
        if name == "cookie" {
            cookies.push(shown);
        } else if !is_own(&name) {
            to_worker.push(format!("{name}: {shown}"));
        }
    }
    if !cookies.is_empty() {
        to_worker.push(format!("cookie: {}", cookies.join("; ")));
    }
    to_worker.push(format!("target: {}", page["target"]));
    to_worker.sort();
    // A refusal has the proxy's own body and headers; that it is one, and which, is what must agree.
    let refused = response.header("x-worker").is_none();
    Seen {
        status: response.status,
        worker: response.header("x-worker"),
        to_worker: if refused { Vec::new() } else { to_worker },
        to_client: if refused { Vec::new() } else { to_client },
    }
}

/// A token's text is random by design; what it says is not, but for its stamps.
fn without_chance(stage: &Stage, value: &str) -> String {
    let Some(rest) = value.strip_prefix("LIMPET=") else {
        return value.to_owned();
    };
    let (text, attributes) = rest.split_once(';').unwrap_or((rest, ""));
    match open(text.as_bytes(), &stage.site.name, &stage.table.keys) {
        Ok(claims) => format!(
            "LIMPET=<{} {} {:?}>;{attributes}",
            claims.app, claims.route, claims.fallbacks
        ),
        Err(e) => format!("LIMPET=<{e}>;{attributes}"),
    }
}

async fn ask(stage: &Stage, name: &str, proxy: &Proxy, row: &Row) -> Result<Seen, String> {
    let response = send(proxy, row)
        .await
        .map_err(|e| format!("{}: {name}: {e}", row.what))?;
    let seen = seen(stage, &response);
    let right = match row.served {
        Served::By(route) => seen.status == 200 && seen.worker.as_deref() == Some(route),
        Served::Anybody => seen.status == 200 && seen.worker.is_some(),
        Served::Not(status) => seen.status == status && seen.worker.is_none(),
    };
    if right {
        Ok(seen)
    } else {
        Err(format!(
            "{}: {name}: {:?} was expected: {seen:#?}",
            row.what, row.served
        ))
    }
}

async fn compare(stage: &Stage, row: &Row) -> Result<(), String> {
    let envoy = ask(stage, "Envoy", &stage.envoy, row).await?;
    for _ in 0..TRIES {
        let host = ask(stage, "limpet-host", &stage.host, row).await?;
        if host == envoy {
            return Ok(());
        }
        if host.worker == envoy.worker {
            return Err(format!("{}: limpet-host {host:#?}\nEnvoy {envoy:#?}", row.what));
        }
    }
    Err(format!(
        "{}: limpet-host never chose {:?}",
        row.what, envoy.worker
    ))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn same_bytes_same_answers() {
    let stage = Stage::new("same").await;
    let mut differences = Vec::new();
    let rows = all(&stage);
    for row in &rows {
        if let Err(difference) = compare(&stage, row).await {
            differences.push(difference);
        }
    }
    assert!(
        differences.is_empty(),
        "{} of {} rows:\n{}",
        differences.len(),
        rows.len(),
        differences.join("\n\n")
    );
}

/// What must hold whatever the other proxy does: no header of ours from a client reaches a worker, none of a
/// worker's reaches a client, and a client cannot choose its worker.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_chooses_nothing_and_sees_nothing_of_ours() {
    let stage = Stage::new("strip").await;
    let a = stage.table.by_route("a").expect("worker a").addr.clone();
    let spoof = format!(
        "GET /echo HTTP/1.1\r\nhost: limpet.test\r\nx-limpet-destination: {a}\r\nX-LIMPET-Foo: 1\r\nlimpet-bar: 2\r\n\r\n"
    );
    for (name, proxy) in stage.proxies() {
        let mut workers = Vec::new();
        for _ in 0..20 {
            let row = Row {
                what: "spoof",
                bytes: spoof.clone().into_bytes(),
                served: Served::Anybody,
            };
            let seen = ask(&stage, name, proxy, &row)
                .await
                .unwrap_or_else(|e| panic!("{e}"));
            for header in &seen.to_worker {
                assert!(!header.contains("limpet-"), "{name}: the worker saw {header}");
            }
            for header in &seen.to_client {
                assert!(!header.contains("limpet-"), "{name}: the client saw {header}");
            }
            workers.push(seen.worker.unwrap_or_default());
        }
        workers.sort();
        workers.dedup();
        assert_eq!(
            workers,
            ["a", "b"],
            "{name}: a spoofed destination was obeyed, or the balancer is stuck"
        );
    }
}
