//! Log lines and counters of the proxy. Metrics that filters define are left to `wasm::shared`.

pub mod counters;

/// What filters read as `node`: the host's name, or `limpet-host` where it has none.
#[must_use]
pub fn node_name() -> &'static str {
    static NAME: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    NAME.get_or_init(|| {
        std::fs::read_to_string("/proc/sys/kernel/hostname")
            .map(|name| name.trim().to_owned())
            .ok()
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| "limpet-host".to_owned())
    })
}

/// Sends log lines to standard error. `RUST_LOG` chooses which; without it `info` and above.
pub fn start_logging() {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    // A second start, in one process, keeps the first.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .try_init();
}
