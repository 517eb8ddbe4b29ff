//! The proxies that are compared, and how each is configured: the shortest sticky configuration of its manual.

use std::path::{Path, PathBuf};
use std::process::Command;

use limpet_tests::programs;

/// A proxy under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    Nginx,
    Haproxy,
    Envoy,
    EnvoyStateful,
    EnvoyLimpet,
    LimpetHost,
}

/// In the order of the table.
pub const PEERS: [Peer; 6] = [
    Peer::Nginx,
    Peer::Haproxy,
    Peer::LimpetHost,
    Peer::Envoy,
    Peer::EnvoyStateful,
    Peer::EnvoyLimpet,
];

impl Peer {
    /// What the table calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx, hash $cookie consistent",
            Self::Haproxy => "HAProxy, cookie insert",
            Self::Envoy => "Envoy, round robin, not sticky",
            Self::EnvoyStateful => "Envoy, native stateful_session",
            Self::EnvoyLimpet => "Envoy, both Limpet filters",
            Self::LimpetHost => "limpet-host, both filters",
        }
    }

    /// How its configuration files end; Envoy insists.
    fn extension(self) -> &'static str {
        match self {
            Self::Nginx | Self::Haproxy => "conf",
            Self::Envoy | Self::EnvoyStateful | Self::EnvoyLimpet => "yaml",
            Self::LimpetHost => "toml",
        }
    }

    /// Writes its configuration into `dir`; the command that runs it in the foreground.
    pub fn command(self, dir: &Path, listen: &str, workers: [&str; 2], core: &str) -> Command {
        let file = dir.join(format!("{self:?}.{}", self.extension()).to_lowercase());
        let (text, mut command) = match self {
            Self::Nginx => {
                let mut command = Command::new(system("nginx"));
                command.arg("-p").arg(dir).arg("-c").arg(&file);
                (nginx(listen, workers), command)
            }
            Self::Haproxy => {
                let mut command = Command::new(system("haproxy"));
                command.arg("-db").arg("-f").arg(&file);
                (haproxy(listen, workers), command)
            }
            Self::Envoy => (envoy(listen, workers, ""), envoy_command(&file)),
            Self::EnvoyStateful => (envoy(listen, workers, STATEFUL), envoy_command(&file)),
            Self::EnvoyLimpet => {
                let socket = core.trim_start_matches("unix:");
                (
                    limpet_tests::envoy::fitted(listen, workers, socket),
                    envoy_command(&file),
                )
            }
            Self::LimpetHost => {
                let plan = limpet_tests::proxy::HostPlan {
                    listen: listen.to_owned(),
                    ..limpet_tests::proxy::HostPlan::new(core)
                };
                let mut command = Command::new(programs::ours("limpet-host"));
                command.arg("run").arg("--config").arg(&file);
                (plan.toml(), command)
            }
        };
        std::fs::write(&file, text).expect("a configuration in the bench's directory");
        command.env("RUST_LOG", "warn");
        command
    }
}

/// The worker of the bench: nginx, 24 bytes for everything.
pub fn worker(dir: &Path, listen: &str) -> Command {
    let file = dir.join(format!("worker-{}.conf", listen.replace(':', "-")));
    let text = format!(
        "{}http {{ {} server {{ listen {listen}; location / {{ return 200 \"hello from the worker!!\\n\"; }} }} }}\n",
        nginx_main(&format!("worker-{}", listen.replace(':', "-"))),
        NGINX_HTTP
    );
    std::fs::write(&file, text).expect("a configuration in the bench's directory");
    let mut command = Command::new(system("nginx"));
    command.arg("-p").arg(dir).arg("-c").arg(&file);
    command
}

const NGINX_HTTP: &str = "access_log off; default_type text/plain; keepalive_requests 1000000000; keepalive_timeout 300; \
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;";

fn nginx_main(name: &str) -> String {
    format!(
        "daemon off; worker_processes 1; pid {name}.pid; error_log stderr crit; events {{ worker_connections 4096; }}\n"
    )
}

fn nginx(listen: &str, [one, two]: [&str; 2]) -> String {
    format!(
        "{}http {{ {NGINX_HTTP}
  upstream app {{ hash $cookie_jsessionid consistent; server {one}; server {two}; keepalive 128; keepalive_requests 1000000000; }}
  server {{ listen {listen}; location / {{ proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header Host $host; }} }}
}}\n",
        nginx_main("proxy")
    )
}

fn haproxy(listen: &str, [one, two]: [&str; 2]) -> String {
    format!(
        "global
  nbthread 1
  maxconn 4096
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  option http-keep-alive
  http-reuse always
frontend front
  bind {listen}
  default_backend app
backend app
  balance roundrobin
  cookie SRV insert indirect nocache
  server w1 {one} cookie w1
  server w2 {two} cookie w2
"
    )
}

fn envoy_command(file: &Path) -> Command {
    let mut command = Command::new(programs::envoy());
    let base_id = u32::from(limpet_tests::ports::free());
    command.args([
        "--concurrency",
        "1",
        "--log-level",
        "warn",
        "--disable-hot-restart",
    ]);
    command
        .args(["--base-id", &base_id.to_string(), "--config-path"])
        .arg(file);
    command
}

const STATEFUL: &str = "
          - name: envoy.filters.http.stateful_session
            typed_config:
              \"@type\": type.googleapis.com/envoy.extensions.filters.http.stateful_session.v3.StatefulSession
              session_state:
                name: envoy.http.stateful_session.cookie
                typed_config:
                  \"@type\": type.googleapis.com/envoy.extensions.http.stateful_session.cookie.v3.CookieBasedSessionState
                  cookie: { name: STICKY, path: /, ttl: 3600s }";

fn envoy(listen: &str, workers: [&str; 2], filter: &str) -> String {
    let (ip, port) = listen.split_once(':').expect("ip:port");
    let endpoints: String = workers
        .iter()
        .filter_map(|addr| addr.split_once(':'))
        .map(|(ip, port)| {
            format!(
                "
        - endpoint: {{ address: {{ socket_address: {{ address: {ip}, port_value: {port} }} }} }}"
            )
        })
        .collect();
    format!(
        "static_resources:
  listeners:
  - name: front
    address: {{ socket_address: {{ address: {ip}, port_value: {port} }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: front
          route_config:
            virtual_hosts:
            - name: all
              domains: [\"*\"]
              routes:
              - match: {{ prefix: / }}
                route: {{ cluster: app }}
          http_filters:{filter}
          - name: envoy.filters.http.router
            typed_config:
              \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  clusters:
  - name: app
    type: STATIC
    lb_policy: ROUND_ROBIN
    load_assignment:
      cluster_name: app
      endpoints:
      - lb_endpoints:{endpoints}
"
    )
}

fn system(name: &str) -> PathBuf {
    let found = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"]
        .iter()
        .map(|dir| Path::new(dir).join(name))
        .find(|path| path.exists());
    found.unwrap_or_else(|| panic!("{name} is missing; `make deps-bench` installs it"))
}
