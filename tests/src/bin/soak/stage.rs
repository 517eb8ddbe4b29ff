//! The processes of one run: five cores with a demo worker beside each, two proxies, and the network between them.
//!
//! ```text
//! web ── router ─┬─ a: core, worker, proxy      clients are in `web`, which nothing happens to;
//!                ├─ b: core, worker, proxy      the cores' APIs are reached by their sockets, whatever becomes of
//!                └─ c, d, e: core, worker       the network
//! ```
//! It does to them what it is told, and undoes it. When to do what is decided elsewhere.

use std::collections::BTreeMap;
use std::time::Duration;

use limpet_tests::clocks::WrongClock;
use limpet_tests::cluster::{Core, NodePlan, Site};
use limpet_tests::http::Address;
use limpet_tests::programs;
use limpet_tests::proxy::{HostPlan, Proxy};
use limpet_tests::worker::{Worker, WorkerPlan};
use rustix::process::Signal;

use crate::ledger::Mode;

/// The nodes.
pub const NODES: [&str; 5] = ["a", "b", "c", "d", "e"];
/// Those that have a proxy.
pub const PROXIES: [&str; 2] = ["a", "b"];
/// Where clients are.
const WEB: &str = "web";
/// How long all may take to come together at the start, on a machine that does other things too.
const START: Duration = Duration::from_secs(90);
/// How long a node that leaves may take to end.
const LEAVING: Duration = Duration::from_secs(30);

/// See the module page.
pub struct Stage {
    proxies: Vec<Proxy>,
    workers: Vec<Option<Worker>>,
    cores: Vec<Option<Core>>,
    clocks: Vec<WrongClock>,
    cuts: BTreeMap<u32, Cut>,
    /// Last, so that what runs in its directory ends first.
    pub site: Site,
}

struct Cut {
    dials: bool,
    pairs: Vec<(usize, usize)>,
}

impl Stage {
    /// Plans a cluster of this mode and makes its network, into which the calling thread moves; nothing is started.
    #[must_use]
    pub fn plan(mode: Mode) -> Self {
        let mut site = Site::apart_with("soak", &NODES, &[WEB]);
        let mut clocks = Vec::new();
        for id in NODES {
            let clock = WrongClock::new(site.scratch.path(), id, 0);
            let addr = format!("{}:8081", site.network().addr(id));
            site.change(id, |node| configure(node, mode, addr, &clock));
            clocks.push(clock);
        }
        site.network().enter(WEB);
        Self {
            proxies: Vec::new(),
            workers: Vec::new(),
            cores: Vec::new(),
            clocks,
            cuts: BTreeMap::new(),
            site,
        }
    }

    /// Starts all of it and waits until every node sees every worker.
    pub async fn start(&mut self) {
        for id in NODES {
            self.cores.push(Some(self.site.start_core(id)));
            self.workers.push(Some(self.site.worker(id)));
        }
        for core in self.cores.iter_mut().flatten() {
            core.ready(START).await;
            WrongClock::tidy(core.process.id());
        }
        for core in self.cores.iter().flatten() {
            core.sees_up(&NODES, START).await;
        }
        for id in PROXIES {
            let plan = HostPlan {
                listen: self.proxy_addr(id),
                ..HostPlan::new(&self.site.node(id).socket_url())
            };
            let command = self.site.network().command(id, &programs::ours("limpet-host"));
            let mut proxy = Proxy::host_as(&format!("limpet-host-{id}"), command, &plan, &self.site.scratch);
            proxy.listens().await;
            self.proxies.push(proxy);
        }
    }

    fn proxy_addr(&self, id: &str) -> String {
        format!("{}:8080", self.site.network().addr(id))
    }

    /// The APIs of the nodes.
    #[must_use]
    pub fn apis(&self) -> Vec<Address> {
        NODES
            .iter()
            .map(|id| Address::Unix(self.site.node(id).socket.clone()))
            .collect()
    }

    /// Where the proxies listen.
    #[must_use]
    pub fn fronts(&self) -> Vec<Address> {
        PROXIES
            .iter()
            .map(|id| Address::Tcp(self.proxy_addr(id)))
            .collect()
    }

    /// The core of a node, where it runs.
    #[must_use]
    pub fn core(&self, node: usize) -> Option<&Core> {
        self.cores.get(node)?.as_ref()
    }

    /// Every core that runs.
    pub fn running(&self) -> impl Iterator<Item = &Core> {
        self.cores.iter().flatten()
    }

    /// What ended though nobody ended it, with its last words.
    pub fn ended(&mut self) -> Vec<String> {
        let cores = self.cores.iter_mut().flatten().map(|core| &mut core.process);
        let workers = self
            .workers
            .iter_mut()
            .flatten()
            .map(|worker| &mut worker.process);
        let proxies = self.proxies.iter_mut().map(|proxy| &mut proxy.process);
        cores
            .chain(workers)
            .chain(proxies)
            .filter_map(|process| {
                process
                    .end()
                    .map(|status| format!("{status}; {}", process.tail()))
            })
            .collect()
    }

    /// SIGKILL.
    pub fn kill(&mut self, node: usize) {
        if let Some(core) = self.cores[node].take() {
            core.process.kill();
        }
    }

    /// SIGTERM, and waits for the end.
    ///
    /// # Errors
    /// When it does not end, or not cleanly. It is gone either way.
    pub async fn terminate(&mut self, node: usize) -> Result<(), String> {
        let Some(mut core) = self.cores[node].take() else {
            return Ok(());
        };
        core.process.signal(Signal::TERM);
        let begun = tokio::time::Instant::now();
        while begun.elapsed() < LEAVING {
            match core.process.end() {
                Some(status) if status.success() => return Ok(()),
                Some(status) => {
                    return Err(format!("SIGTERM ended it with {status}; {}", core.process.tail()));
                }
                None => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
        Err(format!(
            "it did not end within {LEAVING:?} of SIGTERM; {}",
            core.process.tail()
        ))
    }

    /// Starts a node that does not run.
    pub fn begin(&mut self, node: usize) {
        if self.cores[node].is_none() {
            self.cores[node] = Some(self.site.start_core(NODES[node]));
        }
    }

    /// Sends a signal to the core of a node, where it runs.
    pub fn signal(&self, node: usize, signal: Signal) {
        if let Some(core) = self.core(node) {
            core.process.signal(signal);
        }
    }

    /// Takes away what libfaketime left of the cores that run by now.
    pub fn tidy(&self) {
        for core in self.running() {
            WrongClock::tidy(core.process.id());
        }
    }

    /// Sets the wall clock of a node.
    pub fn set_clock(&self, node: usize, seconds: i64) {
        self.clocks[node].set(seconds);
    }

    /// Gives a node another certificate and tells it.
    pub fn renew(&self, node: usize) {
        self.site.pki.reissue(NODES[node]);
        self.signal(node, Signal::HUP);
    }

    /// Kills the worker of a node.
    pub fn kill_worker(&mut self, node: usize) {
        if let Some(worker) = self.workers[node].take() {
            worker.process.kill();
        }
    }

    /// Starts it again.
    pub fn begin_worker(&mut self, node: usize) {
        if self.workers[node].is_none() {
            self.workers[node] = Some(self.site.worker(NODES[node]));
        }
    }

    /// Sends a signal to a proxy.
    pub fn signal_proxy(&self, proxy: usize, signal: Signal) {
        if let Some(proxy) = self.proxies.get(proxy) {
            proxy.process.signal(signal);
        }
    }

    /// Begins a cut.
    pub fn cut(&mut self, number: u32, dials: bool, pairs: Vec<(usize, usize)>) {
        let cut = Cut { dials, pairs };
        self.apply(&cut);
        self.cuts.insert(number, cut);
    }

    /// Ends one; the others stay, but for a moment.
    pub fn uncut(&mut self, number: u32) {
        if self.cuts.remove(&number).is_some() {
            self.site.network().heal();
            for cut in self.cuts.values() {
                self.apply(cut);
            }
        }
    }

    fn apply(&self, cut: &Cut) {
        let network = self.site.network();
        let pairs: Vec<_> = cut
            .pairs
            .iter()
            .map(|(from, to)| (NODES[*from], NODES[*to]))
            .collect();
        network.silence_pairs(&pairs, cut.dials);
    }

    /// Waits until every core says that it is ready.
    ///
    /// # Errors
    /// Who is not, and why.
    pub async fn all_ready(&self, within: Duration) -> Result<(), String> {
        let begun = tokio::time::Instant::now();
        loop {
            let mut missing = None;
            for core in self.running() {
                if let Err(reason) = core.readiness().await {
                    missing = Some(format!("{}: {}", core.node.id, reason.trim()));
                }
            }
            match missing {
                None => return Ok(()),
                Some(missing) if begun.elapsed() > within => return Err(missing),
                Some(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }
}

fn configure(node: &mut NodePlan, mode: Mode, addr: String, clock: &WrongClock) {
    node.worker = Some(WorkerPlan {
        route: node.id.clone(),
        addr,
        color: "seagreen".to_owned(),
    });
    node.env = clock.environment();
    // Silence is found in 1.5 s rather than three, so that a round has time for more.
    node.membership = "probe_interval = \"250ms\"\ndrop_time = \"1500ms\"".to_owned();
    let kept = match mode {
        Mode::Delta => "mode = \"delta\"".to_owned(),
        Mode::Backup { holders } => format!("mode = \"backup\"\ncopies = {}", holders - 1),
    };
    node.extra =
        format!("\n[replication]\n{kept}\nack_timeout = \"3s\"\n\n[session]\ntouch_interval = \"5s\"\n");
}
