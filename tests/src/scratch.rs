//! A directory for one test: configuration, certificates, sockets, logs. Kept when the test fails, and named then.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A fresh directory, removed on drop unless the thread is panicking. Short, because a unix socket inside it must
/// fit into 108 bytes.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    kept: bool,
}

impl Scratch {
    /// Makes a directory for `what`.
    #[must_use]
    pub fn new(what: &str) -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("limpet-{what}-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap_or_else(|e| panic!("cannot create {}: {e}", path.display()));
        Self { path, kept: false }
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves it behind for a look; where it is.
    pub fn keep(&mut self) -> &Path {
        self.kept = true;
        &self.path
    }

    /// A file inside it.
    #[must_use]
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("kept for a look: {}", self.path.display());
        } else if !self.kept {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}
