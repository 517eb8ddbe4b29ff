//! A network of its own for one test: every node in a network namespace, all joined by a router in one more.
//!
//! ```text
//! node a  10.0.1.2 ── 10.0.1.1 ┐
//! node b  10.0.2.2 ── 10.0.2.1 ┤ router: forwards, drops what a test wants dropped, slows what it wants slow
//! node c  10.0.3.2 ── 10.0.3.1 ┘
//! ```
//!
//! A cut is a rule in the router that swallows packets of one node to another, so it has a direction and nobody is
//! told; the machine's own network is never touched. What a run that was killed left behind, the next one removes.

use std::fmt::Write as _;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Names of our namespaces begin so; the process that made them follows.
const PREFIX: &str = "limpet-";
/// Where `ip netns` keeps them.
const NAMESPACES: &str = "/var/run/netns";
/// The most nodes: one /30 each out of 10.0.0.0/16.
const NODES_MAX: usize = 250;

static NEXT: AtomicU32 = AtomicU32::new(0);
static SWEPT: Once = Once::new();

/// See the module page. Dropping it removes every namespace of it, and with them every link, rule and route.
#[derive(Debug)]
pub struct Network {
    name: String,
    nodes: Vec<String>,
}

impl Network {
    /// A network in which every one of `nodes` reaches every other.
    ///
    /// # Panics
    /// When it cannot be made: without the right to (root, or `CAP_SYS_ADMIN` and `CAP_NET_ADMIN`), or without `ip`.
    #[must_use]
    pub fn new(nodes: &[&str]) -> Self {
        SWEPT.call_once(sweep);
        assert!(nodes.len() <= NODES_MAX, "at most {NODES_MAX} nodes");
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let network = Self {
            name: format!("{PREFIX}{}-{number}", std::process::id()),
            nodes: nodes.iter().map(ToString::to_string).collect(),
        };
        let router = network.router();
        let mut plan = format!("netns add {router}\n");
        for index in 1..=nodes.len() {
            let node = network.namespace(index);
            let _ = writeln!(plan, "netns add {node}");
            let _ = writeln!(
                plan,
                "link add eth0 netns {node} type veth peer name n{index} netns {router}"
            );
        }
        ip(&[], &plan);
        let mut plan = String::new();
        for index in 1..=nodes.len() {
            let _ = writeln!(plan, "addr add 10.0.{index}.1/30 dev n{index}");
            let _ = writeln!(plan, "link set n{index} up");
            let node = format!(
                "link set lo up\naddr add 10.0.{index}.2/30 dev eth0\nlink set eth0 up\n\
                 route add default via 10.0.{index}.1\n"
            );
            ip(&["-n", &network.namespace(index)], &node);
        }
        ip(&["-n", &router], &plan);
        let mut forward = inside(&router, Path::new("sh"));
        run(forward.args(["-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"]));
        network
    }

    /// The address of a node.
    #[must_use]
    pub fn addr(&self, node: &str) -> String {
        format!("10.0.{}.2", self.index(node))
    }

    /// `program` as a command that runs on `node`, under its own process id.
    #[must_use]
    pub fn command(&self, node: &str, program: &Path) -> Command {
        inside(&self.namespace(self.index(node)), program)
    }

    /// Moves the calling thread to `node`: what it and the threads that it starts from then on connect to and listen on
    /// is in that namespace. Files and processes are as before.
    ///
    /// # Panics
    /// When it may not.
    pub fn enter(&self, node: &str) {
        let path = Path::new(NAMESPACES).join(self.namespace(self.index(node)));
        let namespace = std::fs::File::open(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
            .unwrap_or_else(|e| panic!("cannot enter {}: {e}", path.display()));
    }

    /// Swallows every packet that one of `from` sends to one of `to`. One direction, and nobody is told.
    pub fn silence(&self, from: &[&str], to: &[&str]) {
        self.silence_pairs(&pairs(from, to).collect::<Vec<_>>(), false);
    }

    /// Swallows every packet that one of `from` sends to the port 4000 of one of `to`: it cannot dial, and is dialled.
    pub fn silence_dials(&self, from: &[&str], to: &[&str]) {
        self.silence_pairs(&pairs(from, to).collect::<Vec<_>>(), true);
    }

    /// [`Network::silence`], or with `dials` [`Network::silence_dials`], for each pair of a sender and a receiver.
    pub fn silence_pairs(&self, pairs: &[(&str, &str)], dials: bool) {
        let what = if dials { "ipproto tcp dport 4000 " } else { "" };
        let mut plan = String::new();
        for (from, to) in pairs {
            let (from, to) = (self.addr(from), self.addr(to));
            let _ = writeln!(plan, "rule add from {from} to {to} {what}blackhole");
        }
        ip(&["-n", &self.router()], &plan);
    }

    /// Swallows every packet between the two sides.
    pub fn cut(&self, left: &[&str], right: &[&str]) {
        self.silence(left, right);
        self.silence(right, left);
    }

    /// Takes back every [`Network::cut`], [`Network::silence`] and [`Network::silence_dials`].
    pub fn heal(&self) {
        // What the kernel made at the start has other preferences than 1 to 32765, which rules of ours get.
        ip(
            &["-n", &self.router()],
            "rule flush\nrule add from all lookup main pref 32766\n",
        );
    }

    /// Pulls the cable of a node: the node sees its link go down, and others have no route to it.
    pub fn unplug(&self, node: &str) {
        ip(
            &["-n", &self.router()],
            &format!("link set n{} down\n", self.index(node)),
        );
    }

    /// Puts the cable in again.
    pub fn plug(&self, node: &str) {
        ip(
            &["-n", &self.router()],
            &format!("link set n{} up\n", self.index(node)),
        );
    }

    /// Lets what `node` sends pass at this many bytes a second.
    pub fn throttle_from(&self, node: &str, bytes_per_second: u64) {
        self.limit(&self.namespace(self.index(node)), "eth0", bytes_per_second);
    }

    /// Lets what others send to `node` pass at this many bytes a second.
    pub fn throttle_to(&self, node: &str, bytes_per_second: u64) {
        self.limit(
            &self.router(),
            &format!("n{}", self.index(node)),
            bytes_per_second,
        );
    }

    /// Takes back [`Network::throttle_from`] and [`Network::throttle_to`].
    pub fn unthrottle(&self, node: &str) {
        let port = format!("n{}", self.index(node));
        for (namespace, device) in [
            (self.namespace(self.index(node)), "eth0"),
            (self.router(), port.as_str()),
        ] {
            // Absent where nothing was throttled.
            let _ = tc(&namespace, &["qdisc", "del", "dev", device, "root"]).output();
        }
    }

    /// A token bucket whose queue is short, so that what is in flight when the limit changes is soon through.
    fn limit(&self, namespace: &str, device: &str, bytes_per_second: u64) {
        let rate = format!("{}bit", bytes_per_second * 8);
        run(&mut tc(
            namespace,
            &[
                "qdisc", "replace", "dev", device, "root", "tbf", "rate", &rate, "burst", "4kb", "limit",
                "32kb",
            ],
        ));
    }

    fn index(&self, node: &str) -> usize {
        let at = self.nodes.iter().position(|name| name == node);
        1 + at.unwrap_or_else(|| panic!("no node {node} in this network"))
    }

    fn namespace(&self, index: usize) -> String {
        format!("{}-{index}", self.name)
    }

    fn router(&self) -> String {
        format!("{}-r", self.name)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let mut plan = format!("netns del {}\n", self.router());
        for index in 1..=self.nodes.len() {
            let _ = writeln!(plan, "netns del {}", self.namespace(index));
        }
        // A namespace that was never made is no reason to stop half-way.
        let (_, problems) = batch(&["-force"], &plan);
        if std::thread::panicking() && !problems.is_empty() {
            eprintln!("removing the namespaces: {problems}");
        }
    }
}

fn pairs<'a>(from: &'a [&'a str], to: &'a [&'a str]) -> impl Iterator<Item = (&'a str, &'a str)> {
    from.iter().flat_map(|a| to.iter().map(|b| (*a, *b)))
}

fn inside(namespace: &str, program: &Path) -> Command {
    let mut command = Command::new(program_of_root("ip"));
    command.args(["netns", "exec", namespace]).arg(program);
    command
}

fn tc(namespace: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program_of_root("tc"));
    command.args(["-n", namespace]).args(args);
    command
}

/// Feeds `plan`, one command per line, to one `ip`.
fn ip(options: &[&str], plan: &str) {
    let (done, problems) = batch(options, plan);
    assert!(
        done,
        "network namespaces need root and iproute2 (`make deps`): {problems}\n{plan}"
    );
}

fn batch(options: &[&str], plan: &str) -> (bool, String) {
    let mut child = Command::new(program_of_root("ip"))
        .args(options)
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("cannot run ip, of the package iproute2 (`make deps`): {e}"));
    let mut input = child.stdin.take().expect("a pipe");
    let written = input.write_all(plan.as_bytes());
    drop(input);
    let output = child.wait_with_output().expect("its output");
    let problems = String::from_utf8_lossy(&output.stderr).into_owned();
    (written.is_ok() && output.status.success(), problems)
}

fn run(command: &mut Command) {
    let output = command
        .output()
        .unwrap_or_else(|e| panic!("cannot run {command:?}: {e}"));
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// `PATH` of somebody who is not root often leaves these directories out.
fn program_of_root(name: &str) -> PathBuf {
    let positions = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(|dir| Path::new(dir).join(name));
    let there = positions.iter().find(|path| path.exists());
    there.cloned().unwrap_or_else(|| PathBuf::from(name))
}

/// Removes namespaces whose maker is gone, and ends what still runs in them.
fn sweep() {
    let entries = std::fs::read_dir(NAMESPACES).into_iter().flatten().flatten();
    for name in entries.filter_map(|entry| entry.file_name().into_string().ok()) {
        let maker = name
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
        let Some(maker) = maker.filter(|maker| !Path::new(&format!("/proc/{maker}")).exists()) else {
            continue;
        };
        let pids = Command::new(program_of_root("ip"))
            .args(["netns", "pids", &name])
            .output();
        let pids = pids.map_or_else(
            |_| String::new(),
            |out| String::from_utf8_lossy(&out.stdout).into_owned(),
        );
        for pid in pids
            .split_whitespace()
            .filter_map(|pid| Pid::from_raw(pid.parse().ok()?))
        {
            let _ = kill_process(pid, Signal::KILL); // it may have ended by itself
        }
        println!("removed {name}, which process {maker} left behind");
        let _ = batch(&[], &format!("netns del {name}\n"));
    }
}
