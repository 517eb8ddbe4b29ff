//! What stands around the proxy under test: two workers, a core that declares them, and the visitors' cookies.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

use limpet_tests::client::Client;
use limpet_tests::cluster::{Core, Site};
use limpet_tests::http::{Address, Connection};
use limpet_tests::ports;
use limpet_tests::process::Process;
use limpet_tests::proxy::Proxy;
use limpet_tests::wait;

use super::Sample;
use super::peers::{Peer, worker};
use crate::cpu::{LOAD, MEASURED, pinned, spent_us};
use crate::wrk::wrk;

/// Different visitors whose requests are mixed.
const VISITORS: u32 = 64;
const WARM_SECONDS: u64 = 1;
const CONNECTIONS: u32 = 64;
const START: std::time::Duration = std::time::Duration::from_secs(60);

/// Everything but the proxy.
pub struct Stage {
    site: Site,
    core: Core,
    workers: [String; 2],
    _processes: Vec<Process>,
}

impl Stage {
    /// Starts workers and core on processor 1.
    pub async fn new() -> Self {
        let mut site = Site::new("bench", &[], &["core"]);
        let workers = [ports::free_addr(), ports::free_addr()];
        let mut processes = Vec::new();
        for (number, addr) in workers.iter().enumerate() {
            let command = worker(site.scratch.path(), addr);
            let name = format!("worker-{number}");
            processes.push(Process::start(
                &name,
                site.scratch.path(),
                &mut pinned(LOAD, &command),
            ));
            let to = Address::Tcp(addr.clone());
            wait::until("the worker listens", START, async || {
                Connection::open(&to).await.is_ok()
            })
            .await;
        }
        let [one, two] = &workers;
        let declared = format!(
            "\n[[worker]]\nroute = \"w1\"\nurl = \"http://{one}\"\n\n[[worker]]\nroute = \"w2\"\nurl = \"http://{two}\"\n"
        );
        site.change("core", |node| node.extra = declared);
        let core = site.core("core").await;
        let id = core.process.id().to_string();
        let moved = Command::new("taskset")
            .args(["-a", "-cp", &LOAD.to_string(), &id])
            .output();
        assert!(
            moved.is_ok_and(|output| output.status.success()),
            "the core can be moved to processor 1"
        );
        core.sees_up(&["w1", "w2"], START).await;
        Self {
            site,
            core,
            workers,
            _processes: processes,
        }
    }

    /// Runs `peer` on processor 0, warms it up, measures it, stops it.
    pub async fn measure(&self, peer: Peer, seconds: u64) -> Sample {
        let listen = ports::free_addr();
        let [one, two] = &self.workers;
        let socket = self.core.node.socket_url();
        let command = peer.command(self.site.scratch.path(), &listen, [one, two], &socket);
        let name = format!("{peer:?}").to_lowercase();
        let process = Process::start(&name, self.site.scratch.path(), &mut pinned(MEASURED, &command));
        let mut proxy = Proxy {
            addr: Address::Tcp(listen.clone()),
            process,
        };
        proxy.listens().await;
        let script = self.script(peer, &listen).await;
        wrk(None, &script, &listen, CONNECTIONS, WARM_SECONDS);
        let before = spent_us(proxy.process.id());
        let wrk = wrk(None, &script, &listen, CONNECTIONS, seconds);
        let spent = spent_us(proxy.process.id()) - before;
        let _ = proxy.process.terminate(START).await;
        Sample {
            rate: wrk.rate,
            cpu_us: spent / wrk.requests,
            p50_us: wrk.p50_us,
            p99_us: wrk.p99_us,
        }
    }

    /// A script that sends the visitors' requests in turn, each with the cookies this proxy gave it.
    async fn script(&self, peer: Peer, listen: &str) -> PathBuf {
        let mut text = "local requests = {}\nlocal at = 0\nfunction init()\n".to_owned();
        for number in 0..VISITORS {
            let mut client = Client::new(Address::Tcp(listen.to_owned()));
            let id = format!("{number:032X}.w{}", number % 2 + 1);
            client.cookies.insert("JSESSIONID".into(), id.clone());
            wait::until("the proxy serves", START, async || {
                client.cookies.insert("JSESSIONID".into(), id.clone());
                client.get("/").await.is_ok_and(|response| response.status == 200)
            })
            .await;
            let cookies: Vec<_> = client
                .cookies
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            let _ = writeln!(
                text,
                "  requests[{}] = wrk.format('GET', '/', {{ ['Host'] = 'limpet.test', ['Cookie'] = '{}' }})",
                number + 1,
                cookies.join("; ").replace('\'', "\\'")
            );
        }
        let _ = write!(
            text,
            "end\nfunction request()\n  at = at % {VISITORS} + 1\n  return requests[at]\nend\n"
        );
        let file = self.site.scratch.join(&format!("{peer:?}.lua").to_lowercase());
        std::fs::write(&file, text).expect("a script in the bench's directory");
        file
    }
}
