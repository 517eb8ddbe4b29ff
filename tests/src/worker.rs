//! A demo worker beside a core, and what it wrote into its access log.

use std::path::Path;
use std::process::Command;

use crate::process::Process;
use crate::programs;

/// Where a demo worker listens and how it is called.
#[derive(Debug, Clone)]
pub struct WorkerPlan {
    /// Its route.
    pub route: String,
    /// `ip:port`.
    pub addr: String,
    /// The colour of its page.
    pub color: String,
}

/// A running demo worker.
#[derive(Debug)]
pub struct Worker {
    /// The process, for signals and log.
    pub process: Process,
}

impl Worker {
    /// Starts it with its core at `core` (`unix:/path` or `http://ip:port`).
    #[must_use]
    pub fn start(plan: &WorkerPlan, core: &str, dir: &Path) -> Self {
        Self::start_by(Command::new(programs::ours("demo-worker")), plan, core, dir)
    }

    /// The same by `command`, which may put it into another network.
    #[must_use]
    pub fn start_by(mut command: Command, plan: &WorkerPlan, core: &str, dir: &Path) -> Self {
        let process = Process::start(
            &format!("worker-{}", plan.route),
            dir,
            command.args([
                "--listen",
                &plan.addr,
                "--core",
                core,
                "--route",
                &plan.route,
                "--color",
                &plan.color,
            ]),
        );
        Self { process }
    }

    /// The requests it has answered over all its starts, oldest first, health checks left out.
    #[must_use]
    pub fn accesses(&self) -> Vec<String> {
        self.process
            .log()
            .lines()
            .filter(|line| line.starts_with("access "))
            .map(str::to_owned)
            .collect()
    }
}
