//! Processors: who runs where, and what it spent there.

use std::fs;
use std::process::Command;

use rustix::thread::{CpuSet, sched_setaffinity};

/// The processor of what is measured.
pub const MEASURED: usize = 0;
/// The processor of the load, and of everything that is only there to be talked to.
pub const LOAD: usize = 1;

/// Keeps this thread, and the threads and processes it starts, on one processor.
pub fn stay_on(processor: usize) {
    let mut set = CpuSet::new();
    set.set(processor);
    sched_setaffinity(None, &set).expect("a thread may choose among its processors");
}

/// The same command on one processor.
pub fn pinned(processor: usize, command: &Command) -> Command {
    let mut pinned = Command::new("taskset");
    pinned
        .args(["-c", &processor.to_string()])
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            pinned.env(name, value);
        }
    }
    if let Some(dir) = command.get_current_dir() {
        pinned.current_dir(dir);
    }
    pinned
}

/// User and system time of a process and all its descendants, in microseconds.
pub fn spent_us(root: u32) -> f64 {
    let mut total = 0.0;
    let mut family = vec![root];
    while let Some(id) = family.pop() {
        total += own_us(id);
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        family.extend(
            children
                .split_whitespace()
                .filter_map(|id| id.parse::<u32>().ok()),
        );
    }
    total
}

/// Fields 14 and 15 of `/proc/<id>/stat`, in ticks of 10 ms.
fn own_us(id: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let fields = stat.rsplit(") ").next().unwrap_or_default();
    let ticks: f64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<f64>().ok())
        .sum();
    ticks * 10_000.0
}

/// What a process keeps in memory, in bytes.
pub fn resident(id: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
    kib.expect("a running process has a resident size") * 1024.0
}
