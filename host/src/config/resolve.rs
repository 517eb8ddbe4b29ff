//! The translation of the file into the settings that the parts of the proxy declare: defaults, ranges, references
//! between tables. Types of single values are left to `reader`.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use toml::{Table, Value};

use super::reader::{Problems, Reader};
use super::{Config, ConfigError, Server, builtin};
use crate::balance::Balance;
use crate::route::Route;
use crate::upstream::endpoint::Endpoint;
use crate::upstream::settings::{ClusterSettings, StaticWorker, WorkerSource};
use crate::wasm::plugin::{FILTERS_MAX, OnFailure, Plugin};

/// The most event loops; more than any machine this runs on has processors.
const THREADS_MAX: i64 = 512;

pub(super) fn resolve(table: Table, folder: &Path) -> Result<Config, ConfigError> {
    let problems = Problems::default();
    let mut file = Reader::new(String::new(), table, &problems);
    let server = server(file.table("server"));
    let mut listener_tables = file.tables("listener");
    let listeners = listener_tables
        .iter_mut()
        .filter_map(|l| l.parsed("bind", "address such as 127.0.0.1:8080"));
    let listeners: Vec<SocketAddr> = listeners.collect();
    if listener_tables.is_empty() {
        problems.add("listener", "there is none, so nobody could come in");
    }
    drop(listener_tables);
    let core = file.table("core").and_then(|mut core| {
        let url = core.required("url")?;
        Endpoint::parse(&url)
            .map_err(|what| core.problem("url", what))
            .ok()
    });
    let clusters = clusters(&mut file, core.is_some());
    let routes = routes(&mut file, &clusters, &problems);
    let filters = filters(&mut file, folder, &problems);
    let admin = file
        .table("admin")
        .and_then(|mut admin| admin.parsed("bind", "address such as 127.0.0.1:9901"));
    drop(file);
    let problems = problems.take();
    if problems.is_empty() {
        Ok(Config {
            server,
            listeners,
            core,
            clusters,
            routes,
            filters,
            admin,
        })
    } else {
        Err(ConfigError(problems))
    }
}

fn server(table: Option<Reader>) -> Server {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut server = Server {
        threads: cores,
        drain: Duration::from_secs(10),
        header_timeout: Duration::from_secs(10),
        idle_timeout: Duration::from_secs(75),
    };
    let Some(mut table) = table else { return server };
    if let Some(threads) = table.number("threads", 1..=THREADS_MAX) {
        server.threads = usize::try_from(threads).unwrap_or(cores);
    }
    server.drain = table.duration("drain").unwrap_or(server.drain);
    server.header_timeout = table.duration("header_timeout").unwrap_or(server.header_timeout);
    server.idle_timeout = table.duration("idle_timeout").unwrap_or(server.idle_timeout);
    server
}

fn clusters(file: &mut Reader, has_core: bool) -> Vec<ClusterSettings> {
    let mut clusters: Vec<ClusterSettings> = Vec::new();
    for mut table in file.tables("cluster") {
        let name = table.required("name").unwrap_or_default();
        if clusters.iter().any(|known| known.name == name) {
            table.problem("name", format!("there are two clusters named {name:?}"));
        }
        if name == limpet_wire::names::CORE_CLUSTER {
            table.problem(
                "name",
                format!("{name:?} is what filters call the core; see [core]"),
            );
        }
        let workers = workers(&mut table, has_core);
        let balance = match table.string("balance").as_deref() {
            None | Some("byrequests") => Balance::ByRequests,
            Some("least_request") => Balance::LeastRequest,
            Some(other) => {
                table.problem(
                    "balance",
                    format!("{other:?} is neither \"byrequests\" nor \"least_request\""),
                );
                Balance::ByRequests
            }
        };
        clusters.push(ClusterSettings {
            name,
            workers,
            balance,
            connect_timeout: table
                .duration("connect_timeout")
                .unwrap_or(Duration::from_secs(2)),
            response_timeout: table
                .duration("response_timeout")
                .unwrap_or(Duration::from_secs(60)),
            attempts: table
                .number("attempts", 1..=16)
                .and_then(|n| u32::try_from(n).ok())
                .unwrap_or(4),
        });
    }
    clusters
}

fn workers(table: &mut Reader, has_core: bool) -> WorkerSource {
    match table.value("workers") {
        Some(Value::String(text)) if text == "core" => {
            if !has_core {
                table.problem("workers", "\"core\" needs a [core] to ask");
            }
            WorkerSource::Core
        }
        Some(Value::Array(values)) => {
            if values.is_empty() {
                table.problem("workers", "the list is empty");
            }
            WorkerSource::List(
                table
                    .elements("workers", values)
                    .into_iter()
                    .filter_map(worker)
                    .collect(),
            )
        }
        None => {
            table.problem("workers", "is missing: \"core\" or a list");
            WorkerSource::List(Vec::new())
        }
        Some(other) => {
            table.problem(
                "workers",
                format!("expected \"core\" or a list, found {}", other.type_str()),
            );
            WorkerSource::List(Vec::new())
        }
    }
}

fn worker(mut table: Reader) -> Option<StaticWorker> {
    let route = table.required("route");
    let url = table.required("url");
    let weight = table
        .number("weight", 1..=10_000)
        .and_then(|n| u32::try_from(n).ok())
        .unwrap_or(1);
    let url = url?;
    let authority = Endpoint::authority(&url)
        .map_err(|what| table.problem("url", what))
        .ok()?;
    // A name is looked up once; addresses that change belong in the core's table.
    let addr = authority
        .to_socket_addrs()
        .ok()
        .and_then(|mut found| found.next());
    if addr.is_none() {
        table.problem("url", format!("{authority:?} has no address"));
    }
    Some(StaticWorker {
        route: route?,
        addr: addr?,
        weight,
    })
}

fn routes(file: &mut Reader, clusters: &[ClusterSettings], problems: &Problems) -> Vec<Route> {
    let mut routes = Vec::new();
    let tables = file.tables("route");
    if tables.is_empty() {
        problems.add("route", "there is none, so every request would be answered 404");
    }
    for mut table in tables {
        let prefix = table.required("prefix").unwrap_or_default();
        if !prefix.starts_with('/') {
            table.problem("prefix", format!("{prefix:?} does not start with /"));
        }
        let host = table.string("host").map(|host| host.to_ascii_lowercase());
        let name = table.string("name").unwrap_or_else(|| prefix.clone());
        let Some(cluster) = table.required("cluster") else {
            continue;
        };
        match clusters.iter().position(|known| known.name == cluster) {
            Some(cluster) => routes.push(Route {
                name: name.into(),
                host,
                prefix,
                cluster,
            }),
            None => table.problem("cluster", format!("there is no cluster named {cluster:?}")),
        }
    }
    crate::route::order(&mut routes);
    routes
}

fn filters(file: &mut Reader, folder: &Path, problems: &Problems) -> Vec<Plugin> {
    let tables = file.tables("filter");
    if tables.len() > FILTERS_MAX {
        problems.add(
            "filter",
            format!(
                "there are {}, and at most {FILTERS_MAX} run in one chain",
                tables.len()
            ),
        );
    }
    tables
        .into_iter()
        .filter_map(|table| filter(table, folder))
        .collect()
}

fn filter(mut table: Reader, folder: &Path) -> Option<Plugin> {
    let module = table.required("module");
    let root_id = table.string("root_id");
    let vm_id = table.string("vm_id");
    let config = match table.value("config") {
        None => Some(Bytes::new()),
        Some(value @ Value::Table(_)) => match serde_json::to_vec(&value) {
            Ok(json) => Some(Bytes::from(json)),
            Err(error) => {
                table.problem("config", format!("cannot be handed over as JSON: {error}"));
                None
            }
        },
        Some(other) => table.wrong("config", &other, "a table"),
    };
    let on_failure = match table.string("on_failure").as_deref() {
        None | Some("closed") => OnFailure::Closed,
        Some("open") => OnFailure::Open,
        Some(other) => {
            table.problem(
                "on_failure",
                format!("{other:?} is neither \"closed\" nor \"open\""),
            );
            OnFailure::Closed
        }
    };
    let memory = table.size("memory").unwrap_or(64 << 20);
    let deadline = table.duration("deadline").unwrap_or(Duration::from_millis(50));
    if deadline.is_zero() {
        table.problem("deadline", "no filter could ever return within no time");
    }
    let body = table.boolean("body");
    let module = module?;
    let built_in = builtin::NAMES.contains(&module.as_str());
    let code = if built_in {
        match builtin::module() {
            Some(code) => Bytes::from_static(code),
            None => {
                table.problem(
                    "module",
                    format!(
                        "{module:?} is not in this build; run `cargo build --profile filters --target \
                         wasm32-wasip1 -p sticky-router -p session-binder` and build the proxy again"
                    ),
                );
                return None;
            }
        }
    } else {
        let path = folder.join(&module);
        match std::fs::read(&path) {
            Ok(code) => Bytes::from(code),
            Err(error) => {
                table.problem("module", format!("{} cannot be read: {error}", path.display()));
                return None;
            }
        }
    };
    let name = Path::new(&module)
        .file_stem()
        .map_or_else(|| module.clone(), |s| s.to_string_lossy().into_owned());
    Some(Plugin {
        module: code,
        root_id: root_id.unwrap_or_else(|| if built_in { module.clone() } else { String::new() }),
        vm_id: vm_id.unwrap_or_else(|| {
            if built_in {
                builtin::VM_ID.to_owned()
            } else {
                String::new()
            }
        }),
        config: config?,
        on_failure,
        body: body.unwrap_or(!built_in),
        memory,
        deadline,
        name,
    })
}
