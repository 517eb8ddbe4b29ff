//! The proxy in this process.

use std::net::SocketAddr;
use std::path::PathBuf;

use limpet_host::config::Config;
use limpet_host::proxy::{Proxy, Running};
use socket2::{Domain, Socket, Type};

use crate::client::Client;
use crate::worker::Worker;

/// A proxy with one cluster of `workers`, and a second one, `side`, of the first worker only.
pub(crate) struct Host {
    pub(crate) running: Running,
    _folder: Folder,
}

impl Host {
    pub(crate) fn start(workers: &[&Worker]) -> Self {
        Self::with(
            &workers.iter().map(|worker| worker.addr).collect::<Vec<_>>(),
            "",
            &[],
        )
    }

    /// `more` is further configuration, `modules` are files it may name.
    pub(crate) fn with(workers: &[SocketAddr], more: &str, modules: &[(&str, &[u8])]) -> Self {
        let list: Vec<_> = workers
            .iter()
            .map(|addr| format!("{{ route = \"r{}\", url = \"http://{addr}\" }}", addr.port()))
            .collect();
        let (first, all) = (&list[0], list.join(", "));
        let text = format!(
            "listener = [{{ bind = \"127.0.0.1:0\" }}]\nadmin = {{ bind = \"127.0.0.1:0\" }}\n\
             cluster = [\n{{ name = \"app\", workers = [{all}] }},\n\
             {{ name = \"side\", workers = [{first}] }}]\n\
             route = [{{ prefix = \"/\", cluster = \"app\" }}]\n{more}"
        );
        Self::of(&text, modules)
    }

    /// One whose workers come from a core, which `more` names.
    pub(crate) fn from_core(more: &str, modules: &[(&str, &[u8])]) -> Self {
        let text = format!(
            "listener = [{{ bind = \"127.0.0.1:0\" }}]\nadmin = {{ bind = \"127.0.0.1:0\" }}\n\
             cluster = [{{ name = \"app\", workers = \"core\" }}]\n\
             route = [{{ prefix = \"/\", cluster = \"app\" }}]\n{more}"
        );
        Self::of(&text, modules)
    }

    /// `text` is the whole configuration.
    pub(crate) fn of(text: &str, modules: &[(&str, &[u8])]) -> Self {
        let folder = Folder::new();
        for (name, code) in modules {
            std::fs::write(folder.0.join(name), code).unwrap();
        }
        let config = Config::parse(text, &folder.0).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let running = Proxy::build(config)
            .unwrap_or_else(|error| panic!("{error}"))
            .start()
            .unwrap();
        Self {
            running,
            _folder: folder,
        }
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.running.addresses()[0])
    }

    pub(crate) fn admin(&self, path: &str) -> String {
        let mut client = Client::connect(self.running.admin_address().unwrap());
        client.get(path, "").text().to_owned()
    }
}

/// A folder that goes away.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        use std::sync::atomic::{AtomicUsize, Ordering};
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!(
            "limpet-host-test-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::SeqCst)
        );
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Waits until `done`, at most ten seconds.
pub(crate) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while !done() {
        assert!(
            std::time::Instant::now() < deadline,
            "{what} did not happen in time"
        );
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

/// An address where nobody listens. It is taken for as long as this process runs, so that no other program listens there
/// meanwhile either.
pub(crate) fn nobody() -> SocketAddr {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket
        .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
        .unwrap();
    let addr = socket.local_addr().unwrap().as_socket().unwrap();
    std::mem::forget(socket);
    addr
}
