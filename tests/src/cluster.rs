//! A cluster of real cores on loopback, some with a demo worker beside them.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::api::Api;
use crate::http::Address;
use crate::namespace::Network;
use crate::pki::Pki;
use crate::ports;
use crate::process::Process;
use crate::programs;
use crate::scratch::Scratch;
use crate::wait;
use crate::worker::{Worker, WorkerPlan};

/// How long a core may take to be ready with next to nothing to transfer.
const READY: Duration = Duration::from_secs(20);

/// The ground a cluster stands on: its directory, name, CA and the plan of every node.
pub struct Site {
    /// Configuration, certificates, sockets, logs.
    pub scratch: Scratch,
    /// The cluster's name.
    pub name: String,
    /// Its certificates.
    pub pki: Pki,
    nodes: Vec<NodePlan>,
    network: Option<Network>,
}

/// What one node is, whether it runs or not.
#[derive(Debug, Clone)]
pub struct NodePlan {
    /// Its name.
    pub id: String,
    /// Where other nodes reach it.
    pub cluster: String,
    /// Its API on TCP.
    pub api: String,
    /// Its API on a unix socket.
    pub socket: PathBuf,
    /// The worker it declares.
    pub worker: Option<WorkerPlan>,
    /// Whether the other nodes of the plan are its seeds.
    pub seeded: bool,
    /// Further lines of the table `[node]`.
    pub node: String,
    /// Further lines of the table `[membership]`.
    pub membership: String,
    /// Further lines of the table `[listen]`.
    pub listen: String,
    /// Further lines of its `[tls]` table.
    pub tls: String,
    /// Further lines of its configuration, whole tables.
    pub extra: String,
    /// Its environment, beside the test's own.
    pub env: Vec<(String, String)>,
}

impl NodePlan {
    /// Its unix socket as a URL.
    #[must_use]
    pub fn socket_url(&self) -> String {
        format!("unix:{}", self.socket.display())
    }
}

impl Site {
    /// A cluster called `name` with nodes that have a worker of the same name, and nodes without.
    #[must_use]
    pub fn new(name: &str, with_worker: &[&str], without: &[&str]) -> Self {
        let scratch = Scratch::new(name);
        let pki = Pki::init(scratch.path(), name);
        let colors = ["crimson", "royalblue", "seagreen", "darkorange"];
        let mut nodes = Vec::new();
        for (index, id) in with_worker.iter().chain(without).enumerate() {
            pki.issue(id);
            let worker = (index < with_worker.len()).then(|| WorkerPlan {
                route: (*id).to_owned(),
                addr: ports::free_addr(),
                color: colors[index % colors.len()].to_owned(),
            });
            nodes.push(NodePlan {
                id: (*id).to_owned(),
                cluster: ports::free_addr(),
                api: ports::free_addr(),
                socket: scratch.join(&format!("{id}.sock")),
                worker,
                seeded: true,
                node: String::new(),
                membership: String::new(),
                listen: String::new(),
                tls: String::new(),
                extra: String::new(),
                env: Vec::new(),
            });
        }
        Self {
            scratch,
            name: name.to_owned(),
            pki,
            nodes,
            network: None,
        }
    }

    /// A cluster without workers whose nodes each have a [`Network`] namespace of their own. Their API is called
    /// through the unix socket, which is reached whatever becomes of the network.
    #[must_use]
    pub fn apart(name: &str, ids: &[&str]) -> Self {
        Self::apart_with(name, ids, &[])
    }

    /// The same, with namespaces for `others` who are no nodes.
    #[must_use]
    pub fn apart_with(name: &str, ids: &[&str], others: &[&str]) -> Self {
        let network = Network::new(&[ids, others].concat());
        let scratch = Scratch::new(name);
        let pki = Pki::init(scratch.path(), name);
        let plan = |id: &&str| {
            pki.issue(id);
            NodePlan {
                id: (*id).to_owned(),
                cluster: format!("{}:4000", network.addr(id)),
                api: "127.0.0.1:4180".to_owned(), // the loopback of its own namespace
                socket: scratch.join(&format!("{id}.sock")),
                worker: None,
                seeded: true,
                node: String::new(),
                membership: String::new(),
                listen: String::new(),
                tls: String::new(),
                extra: String::new(),
                env: Vec::new(),
            }
        };
        let nodes = ids.iter().map(plan).collect();
        Self {
            scratch,
            name: name.to_owned(),
            pki,
            nodes,
            network: Some(network),
        }
    }

    /// The network of a cluster whose nodes are [`Site::apart`].
    ///
    /// # Panics
    /// When they are not.
    #[must_use]
    pub fn network(&self) -> &Network {
        self.network.as_ref().expect("nodes with networks of their own")
    }

    /// The plan of a node.
    #[must_use]
    pub fn node(&self, id: &str) -> &NodePlan {
        self.nodes
            .iter()
            .find(|node| node.id == id)
            .unwrap_or_else(|| panic!("no node {id} is planned"))
    }

    /// Every planned node.
    #[must_use]
    pub fn nodes(&self) -> &[NodePlan] {
        &self.nodes
    }

    /// Changes the plan of a node before its next start.
    pub fn change(&mut self, id: &str, change: impl FnOnce(&mut NodePlan)) {
        change(
            self.nodes
                .iter_mut()
                .find(|node| node.id == id)
                .expect("a planned node"),
        );
    }

    /// The configuration file of a node.
    #[must_use]
    pub fn toml(&self, id: &str) -> String {
        let node = self.node(id);
        let seeds: Vec<_> = self
            .nodes
            .iter()
            .filter(|other| node.seeded && other.id != id)
            .map(|other| format!("\"{}\"", other.cluster))
            .collect();
        let dir = self.pki.dir.display();
        let mut text = format!(
            r#"[node]
id = "{id}"
cluster = "{cluster}"
{more}

[listen]
cluster = "{listen}"
api = ["{api}", "unix:{socket}"]
{listening}

[tls]
ca = "{dir}/ca.pem"
cert = "{dir}/{id}.pem"
key = "{dir}/{id}.key"
{tls}

[membership]
seeds = [{seeds}]
{membership}
"#,
            cluster = self.name,
            more = node.node,
            listen = node.cluster,
            listening = node.listen,
            tls = node.tls,
            api = node.api,
            socket = node.socket.display(),
            seeds = seeds.join(", "),
            membership = node.membership,
        );
        if let Some(worker) = &node.worker {
            let _ = write!(
                text,
                "\n[[worker]]\nroute = \"{}\"\nurl = \"http://{}\"\nhealth = \"/healthz\"\n",
                worker.route, worker.addr
            );
        }
        text.push_str(&node.extra);
        text
    }

    /// Starts the core of a node and waits for nothing.
    #[must_use]
    pub fn start_core(&self, id: &str) -> Core {
        let node = self.node(id).clone();
        let file = self.scratch.join(&format!("{id}.toml"));
        fs::write(&file, self.toml(id)).expect("a configuration in the test's directory");
        let mut command = self.command(id, "limpet-core");
        command.args(["run", "--config"]).arg(&file);
        for (name, value) in &node.env {
            command.env(name, value);
        }
        let process = Process::start(&format!("core-{id}"), self.scratch.path(), &mut command);
        let api = Api::new(match &self.network {
            Some(_) => Address::Unix(node.socket.clone()),
            None => Address::Tcp(node.api.clone()),
        });
        Core { node, api, process }
    }

    fn command(&self, id: &str, program: &str) -> Command {
        let program = programs::ours(program);
        match &self.network {
            Some(network) => network.command(id, &program),
            None => Command::new(program),
        }
    }

    /// Starts the core of a node and waits until it is ready.
    pub async fn core(&self, id: &str) -> Core {
        let mut core = self.start_core(id);
        core.ready(READY).await;
        core
    }

    /// Starts the demo worker of a node.
    #[must_use]
    pub fn worker(&self, id: &str) -> Worker {
        let node = self.node(id);
        let plan = node
            .worker
            .as_ref()
            .unwrap_or_else(|| panic!("{id} has no worker"));
        let command = self.command(id, "demo-worker");
        Worker::start_by(command, plan, &node.socket_url(), self.scratch.path())
    }
}

/// A running limpet-core.
pub struct Core {
    /// Its plan.
    pub node: NodePlan,
    /// Its API on TCP.
    pub api: Api,
    /// The process, for signals and log.
    pub process: Process,
}

impl Core {
    /// Waits for `/readyz` to be 200.
    ///
    /// # Panics
    /// When the core ends instead, or is not ready in time.
    pub async fn ready(&mut self, within: Duration) {
        let (api, process) = (&self.api, &mut self.process);
        wait::eventually(&format!("{} is ready", self.node.id), within, async || {
            assert!(process.runs(), "the core ended at once");
            readiness(api).await
        })
        .await;
    }

    /// `Ok` when it says it is ready, else its reason.
    ///
    /// # Errors
    /// The reason it gives, or why it could not be asked.
    pub async fn readiness(&self) -> Result<(), String> {
        readiness(&self.api).await
    }

    /// Waits until it sees these workers, in any order, with status `up`, and no others up.
    pub async fn sees_up(&self, routes: &[&str], within: Duration) {
        let mut wanted: Vec<_> = routes.iter().map(ToString::to_string).collect();
        wanted.sort();
        wait::eventually(
            &format!("{} sees {wanted:?} up", self.node.id),
            within,
            async || {
                let (_, answer) = self.api.get("/v1/workers").await.map_err(|e| e.to_string())?;
                let all = answer["workers"].as_array().cloned().unwrap_or_default();
                let up = all.iter().filter(|worker| worker["status"] == "up");
                let mut up: Vec<_> = up
                    .filter_map(|worker| worker["route"].as_str().map(str::to_owned))
                    .collect();
                up.sort();
                if up == wanted {
                    Ok(())
                } else {
                    Err(answer.to_string())
                }
            },
        )
        .await;
    }

    /// The number of sessions it has and the hash of its table: equal on nodes that hold the same.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub async fn digest(&self) -> Result<(u64, String), String> {
        let (_, answer) = self.api.get("/v1/digest").await.map_err(|e| e.to_string())?;
        let sessions = answer["sessions"].as_u64().ok_or("no number of sessions")?;
        Ok((sessions, answer["hash"].to_string()))
    }

    /// The state in which it sees a node, if it knows it.
    pub async fn state_of(&self, id: &str) -> Option<String> {
        let (_, answer) = self.api.get("/v1/members").await.ok()?;
        let members = answer["members"].as_array()?.clone();
        members.iter().find(|member| member["id"] == id)?["state"]
            .as_str()
            .map(str::to_owned)
    }
}

async fn readiness(api: &Api) -> Result<(), String> {
    match api.call("GET", "/readyz", b"").await {
        Ok(response) if response.status == 200 => Ok(()),
        Ok(response) => Err(format!("{} {}", response.status, response.text())),
        Err(e) => Err(e.to_string()),
    }
}
