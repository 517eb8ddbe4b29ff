//! A network namespace of our own, in which multicast works on loopback whatever the machine's own loopback does.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A namespace with nothing but a loopback interface; removed on drop.
pub struct Space {
    name: String,
}

impl Space {
    /// Makes one.
    ///
    /// # Panics
    /// When that is not allowed: it takes root.
    pub fn new() -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let space = Self {
            name: format!("limpet-bench-{}-{number}", std::process::id()),
        };
        ip(&["netns", "add", &space.name]);
        ip(&["-n", &space.name, "link", "set", "lo", "up", "multicast", "on"]);
        ip(&["-n", &space.name, "route", "add", "224.0.0.0/4", "dev", "lo"]);
        space
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same command inside it. The process that is started becomes the command, so its id is the command's.
    pub fn inside(&self, command: &Command) -> Command {
        let mut inside = Command::new("ip");
        inside
            .args(["netns", "exec", &self.name])
            .arg(command.get_program())
            .args(command.get_args());
        if let Some(dir) = command.get_current_dir() {
            inside.current_dir(dir);
        }
        inside
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status(); // a leftover does no harm
    }
}

fn ip(arguments: &[&str]) {
    let output = Command::new("ip").args(arguments).output();
    let output = output.expect("ip can be run; `make deps-bench` installs iproute2");
    assert!(
        output.status.success(),
        "ip {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
}
