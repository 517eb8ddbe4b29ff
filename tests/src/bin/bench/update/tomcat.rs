//! Tomcat: alone, or two of them in a cluster. Started once for all rounds, because a JVM takes long to warm up.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use limpet_tests::scratch::Scratch;

use super::{CONNECTIONS, Sample};
use crate::Extent;
use crate::connections::Traffic;
use crate::cpu::{LOAD, MEASURED, spent_us};
use crate::tomcat::{RECEIVERS, Space, Tomcat};
use crate::wrk::wrk;

/// Visitors whose sessions are updated in turn.
const VISITORS: usize = 64;
const WARM_SECONDS: u64 = 6;
const WARM_SECONDS_SHORT: u64 = 2;
/// How long the second one is given to take what is still under way.
const SETTLE: Duration = Duration::from_millis(500);

/// Every round.
pub(super) async fn measure(copies: bool, extent: Extent) -> Vec<Sample> {
    let scratch = Scratch::new("tomcat");
    let space = Space::new();
    let mut node = Tomcat::spawn(&space, scratch.path(), 0, MEASURED, copies);
    let mut other = copies.then(|| Tomcat::spawn(&space, scratch.path(), 1, LOAD, copies));
    node.serves().await;
    if let Some(other) = &mut other {
        other.serves().await;
        node.said("Replication member added", Duration::from_secs(10))
            .await;
    }
    let script = script(&node, &node.visitors(&space, VISITORS));
    let connections = u32::try_from(CONNECTIONS).expect("a small number");
    let warm = if extent.short {
        WARM_SECONDS_SHORT
    } else {
        WARM_SECONDS
    };
    wrk(Some(&space), &script, &node.listen, connections, warm);
    tokio::time::sleep(SETTLE).await;

    let spent = || {
        (
            spent_us(node.process.id()),
            other.as_ref().map_or(0.0, |other| spent_us(other.process.id())),
        )
    };
    let traffic = || Traffic::of(node.process.id(), &RECEIVERS, Some(space.name()));
    let mut samples = Vec::new();
    for _ in 0..extent.rounds {
        let (cpu, bytes) = (spent(), traffic());
        let wrk = wrk(
            Some(&space),
            &script,
            &node.listen,
            connections,
            extent.window.as_secs(),
        );
        let busy = (spent().0 - cpu.0) / 1e6 / (wrk.requests / wrk.rate);
        tokio::time::sleep(SETTLE).await;
        let (cpu_now, bytes) = (spent(), traffic().since(bytes));
        samples.push(Sample {
            rate: wrk.rate,
            node_us: (cpu_now.0 - cpu.0) / wrk.requests,
            peer_us: (cpu_now.1 - cpu.1) / wrk.requests,
            sent: bytes.sent / wrk.requests,
            both: (bytes.sent + bytes.received) / wrk.requests,
            told: f64::from(u8::from(copies)),
            lag_ms: 0.0,
            busy,
        });
    }
    samples
}

/// A script for `wrk` that sends the visitors' requests in turn.
fn script(node: &Tomcat, cookies: &[String]) -> PathBuf {
    let mut text = "local requests = {}\nlocal at = 0\nfunction init()\n".to_owned();
    for (number, cookie) in cookies.iter().enumerate() {
        let _ = writeln!(
            text,
            "  requests[{}] = wrk.format('GET', '/set.jsp', {{ ['Host'] = 'localhost', ['Cookie'] = '{cookie}' }})",
            number + 1
        );
    }
    let _ = write!(
        text,
        "end\nfunction request()\n  at = at % #requests + 1\n  return requests[at]\nend\n"
    );
    let file = node.base().join("visitors.lua");
    std::fs::write(&file, text).expect("a script in the bench's directory");
    file
}
