//! Whether this node's workers answer: an HTTP request now and then to each. Any answer below 500 is health; a
//! refused connection is a worker gone, at once; silence counts after [`FALL`] checks in a row.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::node::Node;

/// How often each worker is asked.
const INTERVAL: Duration = Duration::from_millis(200);
/// How long one answer may take.
const TIMEOUT: Duration = Duration::from_secs(2);
/// How many checks in a row must fail before a worker that can still be connected to is called down.
const FALL: u32 = 2;

/// One worker to check.
#[derive(Debug, Clone)]
pub struct Check {
    /// Its route.
    pub route: String,
    /// Its `ip:port`.
    pub addr: String,
    /// What to ask for.
    pub path: String,
}

enum Verdict {
    Healthy,
    Failing,
    Gone,
}

/// Checks one worker until the node is gone.
pub async fn watch(node: Arc<Node>, check: Check) {
    let mut failures = 0;
    let mut interval = tokio::time::interval(INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        failures = match ask(&check).await {
            Verdict::Healthy => 0,
            Verdict::Failing => failures + 1,
            Verdict::Gone => FALL,
        };
        if failures == 0 || failures >= FALL {
            node.with(|engine, now| engine.worker_health(&check.route, failures == 0, now));
        }
    }
}

async fn ask(check: &Check) -> Verdict {
    let exchange = async {
        let mut tcp = TcpStream::connect(&check.addr).await?;
        let request = format!(
            "GET {} HTTP/1.1\r\nhost: {}\r\nuser-agent: limpet-core\r\nconnection: close\r\n\r\n",
            check.path, check.addr
        );
        tcp.write_all(request.as_bytes()).await?;
        let mut head = [0; 12]; // "HTTP/1.1 200"
        tcp.read_exact(&mut head).await?;
        Ok::<_, std::io::Error>(head)
    };
    match tokio::time::timeout(TIMEOUT, exchange).await {
        Ok(Ok([b'H', b'T', b'T', b'P', b'/', b'1', b'.', _, b' ', b'1'..=b'4', ..])) => Verdict::Healthy,
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => Verdict::Gone,
        _ => Verdict::Failing,
    }
}
