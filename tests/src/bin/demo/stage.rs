//! The processes of the demo: three cores, a demo worker beside each, and the proxy.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::time::Duration;

use limpet_tests::api::Api;
use limpet_tests::cluster::{Core, Site};
use limpet_tests::http::Address;
use limpet_tests::process::Process;
use limpet_tests::proxy::{HostPlan, Proxy};
use rustix::process::Signal;

use crate::console::Part;
use crate::relay;
use crate::view::View;

/// Where the proxy listens.
pub(crate) const FRONT: &str = "127.0.0.1:8080";
/// The nodes.
pub(crate) const NODES: [&str; 3] = ["node1", "node2", "node3"];
/// How long the cluster may take to come together.
const START: Duration = Duration::from_secs(20);

/// Everything that runs.
pub(crate) struct Stage {
    processes: BTreeMap<Part, Process>,
    apis: BTreeMap<String, Api>,
    /// The node whose core was asked last; it is asked again as long as it answers.
    witness: String,
    /// Last, so that what runs in its directory ends first.
    pub(crate) site: Site,
}

impl Stage {
    /// Plans the nodes and takes ports that people can type: workers on 8081.., APIs on 4181.., links on 4001...
    ///
    /// # Errors
    /// A sentence when a port is taken.
    pub(crate) fn plan() -> Result<Self, String> {
        free(FRONT)?;
        let mut site = Site::new("demo", &NODES, &[]);
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
        let api = |id: &&str| {
            (
                (*id).to_owned(),
                Api::new(Address::Tcp(site.node(id).api.clone())),
            )
        };
        Ok(Self {
            processes: BTreeMap::new(),
            apis: NODES.iter().map(api).collect(),
            witness: NODES.first().map(ToString::to_string).unwrap_or_default(),
            site,
        })
    }

    /// Starts all of it and waits until every node serves.
    ///
    /// # Errors
    /// A sentence when the relay cannot be made.
    pub(crate) async fn start_all(&mut self) -> Result<(), String> {
        let mut cores: Vec<Core> = NODES.iter().map(|id| self.site.start_core(id)).collect();
        for id in NODES {
            let worker = self.site.worker(id).process;
            self.processes.insert(Part::Worker(id.to_owned()), worker);
        }
        let sockets = self.site.nodes().iter().map(|node| node.socket.clone()).collect();
        relay::start(&self.relay(), sockets).map_err(|e| format!("{}: {e}", self.relay().display()))?;
        // The proxy compiles its filters while the cores find each other.
        let proxy = self.proxy().await;
        self.processes.insert(Part::Proxy, proxy);
        for core in &mut cores {
            core.ready(START).await;
        }
        for core in cores {
            core.sees_up(&NODES, START).await;
            self.processes
                .insert(Part::Core(core.node.id.clone()), core.process);
        }
        Ok(())
    }

    /// Starts one part, if it does not run.
    ///
    /// # Errors
    /// A sentence when it does.
    pub(crate) async fn start(&mut self, part: &Part) -> Result<u32, String> {
        if let Some(running) = self.processes.get(part) {
            return Err(format!("{part} runs, as pid {}", running.id()));
        }
        let process = match part {
            Part::Core(node) => self.site.start_core(node).process,
            Part::Worker(node) => self.site.worker(node).process,
            Part::Proxy => self.proxy().await,
        };
        let pid = process.id();
        self.processes.insert(part.clone(), process);
        Ok(pid)
    }

    /// Sends a signal to one part.
    ///
    /// # Errors
    /// A sentence when it does not run.
    pub(crate) fn signal(&mut self, part: &Part, signal: Signal) -> Result<(), String> {
        if let Some(process) = self.processes.get_mut(part)
            && process.end().is_none()
        {
            process.signal(signal);
            return Ok(());
        }
        Err(format!("{part} does not run; type: start {part}"))
    }

    /// Who has ended since this was asked last: the part, its pid, and how.
    pub(crate) fn deaths(&mut self) -> Vec<(Part, u32, String)> {
        let ended: Vec<_> = self
            .processes
            .iter_mut()
            .filter_map(|(part, process)| Some((part.clone(), process.id(), process.end()?.to_string())))
            .collect();
        for (part, ..) in &ended {
            self.processes.remove(part);
        }
        ended
    }

    /// The pid of a part that runs.
    pub(crate) fn pid(&self, part: &Part) -> Option<u32> {
        self.processes.get(part).map(Process::id)
    }

    /// What a core sees, and which node it is on: the one asked before, else any that answers.
    pub(crate) async fn look(&mut self) -> Option<(String, View)> {
        let rest = NODES.iter().map(ToString::to_string);
        for node in std::iter::once(self.witness.clone()).chain(rest) {
            if let Some(api) = self.apis.get(&node)
                && let Some(view) = View::of(api).await
            {
                self.witness.clone_from(&node);
                return Some((node, view));
            }
        }
        None
    }

    /// Whether a part that was started serves by now.
    pub(crate) async fn serves(&self, part: &Part, view: &View) -> bool {
        match part {
            Part::Core(node) => match self.apis.get(node) {
                Some(api) => View::of(api).await.is_some(),
                None => false,
            },
            Part::Worker(node) => view.workers.get(node).is_some_and(|status| status == "up"),
            Part::Proxy => true, // its start waited for it
        }
    }

    async fn proxy(&self) -> Process {
        let plan = HostPlan {
            listen: FRONT.to_owned(),
            ..HostPlan::new(&format!("unix:{}", self.relay().display()))
        };
        Proxy::host(&plan, &self.site.scratch).await.process
    }

    fn relay(&self) -> std::path::PathBuf {
        self.site.scratch.join("cores.sock")
    }
}

fn free(addr: &str) -> Result<(), String> {
    TcpListener::bind(addr)
        .map(drop)
        .map_err(|e| format!("{addr} is needed and cannot be had ({e}); free it and try again."))
}
