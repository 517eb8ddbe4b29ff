//! `wrk`: the load over HTTP and TCP.

use std::path::Path;
use std::process::Command;

use crate::cpu::{LOAD, pinned};
use crate::tomcat::Space;

/// Runs `wrk` with one thread and `connections` on the load's processor for `seconds`; with `space`, in there.
///
/// # Panics
/// When it cannot be run, or a request failed: such a figure would be a lie.
pub fn wrk(space: Option<&Space>, script: &Path, listen: &str, connections: u32, seconds: u64) -> Wrk {
    let mut command = Command::new("wrk");
    command.args([
        "-t1",
        &format!("-c{connections}"),
        "--latency",
        "-d",
        &format!("{seconds}s"),
        "-s",
    ]);
    command.arg(script).arg(format!("http://{listen}/"));
    let command = pinned(LOAD, &command);
    let output = match space {
        Some(space) => space.inside(&command).output(),
        None => { command }.output(),
    };
    let output = output.expect("taskset and wrk can be run; `make deps-bench` installs wrk");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "wrk failed: {text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        !text.contains("Non-2xx") && !text.contains("Socket errors"),
        "not every request was served: {text}"
    );
    Wrk::read(&text).unwrap_or_else(|| panic!("wrk said something new: {text}"))
}

/// What `wrk` reported.
#[derive(Debug, Clone, Copy)]
pub struct Wrk {
    pub requests: f64,
    pub rate: f64,
    pub p50_us: f64,
    pub p99_us: f64,
}

impl Wrk {
    fn read(text: &str) -> Option<Self> {
        let after = |word: &str| {
            text.lines()
                .find_map(|line| line.trim().strip_prefix(word))
                .map(str::trim)
                .map(str::to_owned)
        };
        let requests = text.lines().find(|line| line.contains(" requests in "))?;
        Some(Self {
            requests: requests.split_whitespace().next()?.parse().ok()?,
            rate: after("Requests/sec:")?.parse().ok()?,
            p50_us: micros(&after("50%")?)?,
            p99_us: micros(&after("99%")?)?,
        })
    }
}

fn micros(text: &str) -> Option<f64> {
    let (number, scale) = match text {
        text if text.ends_with("us") => (text.trim_end_matches("us"), 1.0),
        text if text.ends_with("ms") => (text.trim_end_matches("ms"), 1e3),
        text => (text.strip_suffix('s')?, 1e6),
    };
    Some(number.parse::<f64>().ok()? * scale)
}

#[cfg(test)]
mod tests {
    use super::Wrk;

    #[test]
    fn reads_what_wrk_prints() {
        let text = "  Thread Stats\n  Latency Distribution\n     50%  590.00us\n     75%    1.00ms\n     99%    1.50ms\n  \
                    410123 requests in 4.00s, 60MB read\nRequests/sec: 102530.75\nTransfer/sec: 15MB\n";
        let wrk = Wrk::read(text).unwrap();
        assert_eq!(
            (wrk.requests, wrk.rate, wrk.p50_us, wrk.p99_us),
            (410_123.0, 102_530.75, 590.0, 1_500.0)
        );
    }
}
