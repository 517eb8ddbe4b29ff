//! limpet-host, started from a configuration as the documentation gives it.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;
use std::time::Duration;

use crate::http::{Address, Connection};
use crate::ports;
use crate::process::Process;
use crate::programs;
use crate::scratch::Scratch;
use crate::wait;

/// How long a proxy may take to listen: wasm is compiled first, on a busy machine.
const START: Duration = Duration::from_secs(60);

/// A running proxy of either kind.
pub struct Proxy {
    /// Where clients go.
    pub addr: Address,
    /// The process, for signals and log.
    pub process: Process,
}

/// What a limpet-host shall do.
#[derive(Debug, Clone)]
pub struct HostPlan {
    /// `ip:port` to listen on.
    pub listen: String,
    /// Its core, as `unix:/path` or `http://ip:port`.
    pub core: String,
    /// `ip:port` of its metrics, where they are wanted.
    pub admin: Option<String>,
    /// `config` of the router, as an inline table.
    pub router: String,
    /// `config` of the binder, as an inline table.
    pub binder: String,
}

impl HostPlan {
    /// Both filters as an operator without wishes configures them.
    #[must_use]
    pub fn new(core: &str) -> Self {
        Self {
            listen: ports::free_addr(),
            core: core.to_owned(),
            admin: None,
            router: "{}".into(),
            binder: "{}".into(),
        }
    }

    /// The configuration file.
    #[must_use]
    pub fn toml(&self) -> String {
        let mut text = String::new();
        let _ = write!(
            text,
            r#"[[listener]]
bind = "{}"

[core]
url = "{}"

[[cluster]]
name = "app"
workers = "core"
balance = "byrequests"

[[route]]
prefix = "/"
cluster = "app"

[[filter]]
module = "sticky_router"
config = {}

[[filter]]
module = "session_binder"
config = {}
"#,
            self.listen, self.core, self.router, self.binder
        );
        if let Some(admin) = &self.admin {
            let _ = write!(text, "\n[admin]\nbind = \"{admin}\"\n");
        }
        text
    }
}

impl Proxy {
    /// Starts limpet-host and waits until it listens.
    pub async fn host(plan: &HostPlan, scratch: &Scratch) -> Self {
        let command = Command::new(programs::ours("limpet-host"));
        let mut proxy = Self::host_as("limpet-host", command, plan, scratch);
        proxy.listens().await;
        proxy
    }

    /// Starts limpet-host by `command`, with its files under this name, and waits for nothing.
    #[must_use]
    pub fn host_as(name: &str, mut command: Command, plan: &HostPlan, scratch: &Scratch) -> Self {
        let file = scratch.join(&format!("{name}.toml"));
        fs::write(&file, plan.toml()).expect("a configuration in the test's directory");
        command.args(["run", "--config"]).arg(&file);
        Self {
            addr: Address::Tcp(plan.listen.clone()),
            process: Process::start(name, scratch.path(), &mut command),
        }
    }

    /// Waits until the port is open.
    pub async fn listens(&mut self) {
        let (addr, process) = (self.addr.clone(), &mut self.process);
        wait::eventually("the proxy listens", START, async || {
            assert!(process.runs(), "the proxy ended at once");
            Connection::open(&addr).await.map(drop).map_err(|e| e.to_string())
        })
        .await;
    }
}
