//! Embeds the built-in filters where they have been built, and says nothing where they have not: the configuration
//! then explains how to build them.

use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    println!("cargo:rerun-if-env-changed=LIMPET_FILTERS_DIR");
    let Some(out) = env::var_os("OUT_DIR").map(PathBuf::from) else {
        return;
    };
    let dir = env::var_os("LIMPET_FILTERS_DIR").map_or_else(|| filters_of(&out), PathBuf::from);
    // One module holds both filters; see `config::builtin`.
    let module = dir.join("session_binder.wasm");
    println!("cargo:rerun-if-changed={}", module.display());
    let code = if module.is_file() {
        format!("Some(include_bytes!({module:?}))")
    } else {
        "None".to_owned()
    };
    let written = fs::write(out.join("builtin.rs"), format!("{code}\n"));
    if let Err(error) = written {
        println!("cargo:warning=the built-in filters are not embedded: {error}");
    }
}

/// `<target>/wasm32-wasip1/filters`, where `<target>/<profile>/build/<package>/out` is ours.
fn filters_of(out: &Path) -> PathBuf {
    let target = out.ancestors().nth(4).unwrap_or(out);
    target.join("wasm32-wasip1").join("filters")
}
