//! `make demo`: three nodes on loopback, each a core with a demo worker beside it, and limpet-host in front.
//!
//! It makes its own certificates in a directory of its own, tells what to open and what to try, and stops everything
//! it started on Ctrl-C or SIGTERM. A node that is killed stays dead; starting the demo again is a fresh cluster.

use std::net::TcpListener;
use std::process::ExitCode;
use std::time::Duration;

use limpet_tests::cluster::{Core, Site};
use limpet_tests::proxy::{HostPlan, Proxy};
use limpet_tests::worker::Worker;
use tokio::signal::unix::{SignalKind, signal};

const FRONT: &str = "127.0.0.1:8080";
const NODES: [&str; 3] = ["node1", "node2", "node3"];

#[tokio::main]
async fn main() -> ExitCode {
    let mut site = Site::new("demo", &NODES, &[]);
    if let Err(sentence) = use_well_known_ports(&mut site) {
        eprintln!("demo: {sentence}");
        return ExitCode::FAILURE;
    }
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        eprintln!("demo: cannot listen for Ctrl-C");
        return ExitCode::FAILURE;
    };
    let story = async {
        println!("starting three nodes and the proxy ...");
        let nodes = start_nodes(&site).await;
        let plan = HostPlan {
            listen: FRONT.to_owned(),
            ..HostPlan::new(&site.node("node1").socket_url())
        };
        let proxy = Proxy::host(&plan, &site.scratch).await;
        introduce(&site, &nodes, &proxy);
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = story => {}
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    println!("\nstopping everything");
    ExitCode::SUCCESS
}

/// Ports people can type: workers on 8081.., APIs on 4181.., cluster links on 4001...
fn use_well_known_ports(site: &mut Site) -> Result<(), String> {
    free(FRONT)?;
    for (index, id) in NODES.iter().enumerate() {
        let at = |base: usize| format!("127.0.0.1:{}", base + index + 1);
        for addr in [at(8080), at(4180), at(4000)] {
            free(&addr)?;
        }
        site.change(id, |node| {
            node.cluster = at(4000);
            node.api = at(4180);
            if let Some(worker) = &mut node.worker {
                worker.addr = at(8080);
            }
        });
    }
    Ok(())
}

fn free(addr: &str) -> Result<(), String> {
    TcpListener::bind(addr)
        .map(drop)
        .map_err(|e| format!("{addr} is needed and cannot be had ({e}); free it and try again."))
}

async fn start_nodes(site: &Site) -> Vec<(Core, Worker)> {
    let mut nodes: Vec<_> = NODES
        .iter()
        .map(|id| (site.start_core(id), site.worker(id)))
        .collect();
    for (core, _) in &mut nodes {
        core.ready(Duration::from_secs(20)).await;
    }
    for (core, _) in &nodes {
        core.sees_up(&NODES, Duration::from_secs(20)).await;
    }
    nodes
}

fn introduce(site: &Site, nodes: &[(Core, Worker)], proxy: &Proxy) {
    println!("\nOpen       http://{FRONT}    and reload: same session, same node, the counter rises.\n");
    println!("node       colour       worker pid   core pid   worker                  core");
    for (core, worker) in nodes {
        let plan = site.node(&core.node.id);
        let (color, addr) = plan
            .worker
            .as_ref()
            .map_or(("", ""), |plan| (&plan.color, &plan.addr));
        println!(
            "{:<10} {color:<12} {:<12} {:<10} http://{addr:<16} http://{}",
            core.node.id,
            worker.process.id(),
            core.process.id(),
            core.node.api
        );
    }
    println!("\nproxy pid  {}", proxy.process.id());
    println!("logs in    {}", site.scratch.path().display());
    println!(
        "\nTry        kill the worker that serves you (kill <worker pid>) and reload: another node's colour,"
    );
    println!("           the same session, and the counter goes on.");
    println!(
        "           curl -s http://{}/v1/workers",
        nodes.first().map_or("", |(core, _)| &core.node.api)
    );
    println!("           curl -s -b jar -c jar http://{FRONT}/json    again and again");
    println!("\nCtrl-C stops everything.");
}
