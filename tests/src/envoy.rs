//! Real Envoy, running the configuration of `docs/ENVOY.md` with nothing but ports and paths replaced.

use std::fs;
use std::process::Command;

use crate::cluster::Site;
use crate::http::Address;
use crate::ports;
use crate::process::Process;
use crate::programs;
use crate::proxy::Proxy;
use crate::scratch::Scratch;

/// The configuration as documented: the first fenced `yaml` block of the page.
///
/// # Panics
/// When the page has none.
#[must_use]
pub fn documented() -> String {
    let page = programs::workspace().join("docs/ENVOY.md");
    let text = fs::read_to_string(&page).unwrap_or_else(|e| panic!("cannot read {}: {e}", page.display()));
    let block = text
        .split("```yaml\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next());
    block.expect("docs/ENVOY.md has a fenced yaml block").to_owned()
}

/// Replaces each documented value, in order. One that is not there is a failure: page and test have drifted apart.
///
/// # Panics
/// When a value is missing from the page.
#[must_use]
pub fn replaced(mut text: String, values: &[(&str, &str)]) -> String {
    for (from, to) in values {
        assert!(text.contains(from), "docs/ENVOY.md no longer mentions {from}");
        text = text.replace(from, to);
    }
    text
}

/// The documented configuration with this listener, these two workers and this core's socket.
///
/// # Panics
/// When the page no longer shows what is replaced.
#[must_use]
pub fn fitted(listen: &str, workers: [&str; 2], socket: &str) -> String {
    let address = |addr: &str| {
        let (ip, port) = addr
            .rsplit_once(':')
            .unwrap_or_else(|| panic!("{addr} is no ip:port"));
        format!("address: {ip}, port_value: {port} ")
    };
    let [one, two] = workers;
    let filter = programs::filter("session_binder");
    replaced(
        documented(),
        &[
            (&address("127.0.0.1:9901"), &address(&ports::free_addr())),
            (&address("127.0.0.1:8080"), &address(listen)),
            (&address("10.0.0.1:8080"), &address(one)),
            (&address("10.0.0.2:8080"), &address(two)),
            ("/usr/lib/limpet/session_binder.wasm", &filter.to_string_lossy()),
            ("/run/limpet/core.sock", socket),
        ],
    )
}

/// The same in front of a site: workers `a` and `b`, and the core called `edge`.
#[must_use]
pub fn fitted_to(site: &Site, listen: &str) -> String {
    let addr = |id| &site.node(id).worker.as_ref().expect("a node with a worker").addr;
    fitted(
        listen,
        [addr("a"), addr("b")],
        &site.node("edge").socket.to_string_lossy(),
    )
}

impl Proxy {
    /// Starts Envoy with this configuration and waits until `listen` is open.
    pub async fn envoy(config: &str, listen: &str, scratch: &Scratch) -> Self {
        let file = scratch.join("envoy.yaml");
        fs::write(&file, config).expect("a configuration in the test's directory");
        let base_id = u32::from(ports::free());
        let process = Process::start(
            "envoy",
            scratch.path(),
            Command::new(programs::envoy())
                .args([
                    "--concurrency",
                    "2",
                    "--log-level",
                    "info",
                    "--disable-hot-restart",
                ])
                .args(["--base-id", &base_id.to_string(), "--config-path"])
                .arg(&file),
        );
        let mut proxy = Self {
            addr: Address::Tcp(listen.to_owned()),
            process,
        };
        proxy.listens().await;
        proxy
    }
}
