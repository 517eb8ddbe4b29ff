//! Where the programs under test are. A missing one is a failure with the command that builds it, never a skip.

use std::path::PathBuf;

/// The directory of our own programs: `LIMPET_BIN_DIR`, else where this very binary was built.
#[must_use]
pub fn bin_dir() -> PathBuf {
    if let Some(dir) = std::env::var_os("LIMPET_BIN_DIR") {
        return PathBuf::from(dir);
    }
    let here = std::env::current_exe().expect("a running program has a path");
    let dir = here.parent().expect("a file is in a directory");
    if dir.ends_with("deps") {
        dir.parent().unwrap_or(dir).to_path_buf()
    } else {
        dir.to_path_buf()
    }
}

/// One of our own programs.
#[must_use]
pub fn ours(name: &str) -> PathBuf {
    existing(bin_dir().join(name), "make build")
}

/// One of the two filters, as a file.
#[must_use]
pub fn filter(name: &str) -> PathBuf {
    let dir = std::env::var_os("LIMPET_FILTERS_DIR").map_or_else(
        || target_dir().join("wasm32-wasip1").join("filters"),
        PathBuf::from,
    );
    existing(dir.join(format!("{name}.wasm")), "make build")
}

/// The real Envoy, as `make deps` puts it in place: `LIMPET_ENVOY`, else the virtual environment under `target/`.
#[must_use]
pub fn envoy() -> PathBuf {
    if let Some(path) = std::env::var_os("LIMPET_ENVOY") {
        return PathBuf::from(path);
    }
    existing(workspace().join("target/envoy/bin/envoy"), "make deps")
}

/// The root of the sources.
#[must_use]
pub fn workspace() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("tests/ is in the workspace").to_path_buf()
}

fn target_dir() -> PathBuf {
    let bin = bin_dir();
    bin.parent().expect("target/debug is in target").to_path_buf()
}

fn existing(path: PathBuf, how: &str) -> PathBuf {
    assert!(path.exists(), "{} is missing; `{how}` makes it", path.display());
    path
}
