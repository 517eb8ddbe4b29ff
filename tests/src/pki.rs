//! Certificates of a test cluster, made by the product's own commands.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::programs;

/// A directory with a cluster's CA and the certificates of its nodes.
#[derive(Debug, Clone)]
pub struct Pki {
    /// Holds `ca.pem`, `ca.key`, and `<node>.pem`, `<node>.key` per node.
    pub dir: PathBuf,
}

impl Pki {
    /// `limpet-core pki init` into `dir`.
    #[must_use]
    pub fn init(dir: &Path, cluster: &str) -> Self {
        run(Command::new(programs::ours("limpet-core"))
            .args(["pki", "init", "--cluster", cluster, "--dir"])
            .arg(dir));
        Self {
            dir: dir.to_path_buf(),
        }
    }

    /// `limpet-core pki issue` for a node on loopback.
    pub fn issue(&self, node: &str) {
        run(Command::new(programs::ours("limpet-core"))
            .args(["pki", "issue", "--node", node, "--ip", "127.0.0.1", "--dir"])
            .arg(&self.dir));
    }

    /// Issues the certificate of a node again, in place of the one there is.
    pub fn reissue(&self, node: &str) {
        for file in [format!("{node}.pem"), format!("{node}.key")] {
            let _ = std::fs::remove_file(self.dir.join(file)); // there was none
        }
        self.issue(node);
    }

    /// Writes a file of the directory.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.dir.join(name);
        std::fs::write(&path, text).unwrap_or_else(|e| panic!("cannot write {}: {e}", path.display()));
    }

    /// A file of the directory, read as text.
    #[must_use]
    pub fn read(&self, name: &str) -> String {
        let path = self.dir.join(name);
        std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()))
    }
}

fn run(command: &mut Command) {
    let output = command
        .output()
        .unwrap_or_else(|e| panic!("cannot run {command:?}: {e}"));
    assert!(
        output.status.success(),
        "{command:?} ended with {}: {}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
