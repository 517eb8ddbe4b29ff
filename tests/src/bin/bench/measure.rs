//! One measurement: `wrk` from outside, `/proc` for what the proxy spent.

use std::fs;
use std::path::Path;
use std::process::Command;

/// What one run of one proxy gave.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// Requests per second.
    pub rate: f64,
    /// User and system time of the proxy's processes over the requests they served, in microseconds.
    pub cpu_us: f64,
    /// Half of the requests were faster than this, in microseconds.
    pub p50_us: f64,
    /// All but one in a hundred were faster than this, in microseconds.
    pub p99_us: f64,
}

/// Runs `wrk` on processor 1 for `seconds`.
///
/// # Panics
/// When it cannot be run, or a request failed: such a figure would be a lie.
pub fn wrk(script: &Path, listen: &str, seconds: u32) -> Wrk {
    let output = Command::new("taskset")
        .args([
            "-c",
            "1",
            "wrk",
            "-t1",
            "-c64",
            "--latency",
            "-d",
            &format!("{seconds}s"),
            "-s",
        ])
        .arg(script)
        .arg(format!("http://{listen}/"))
        .output()
        .expect("taskset and wrk can be run; `make deps-bench` installs wrk");
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

/// User and system time of a process and all its descendants, in microseconds.
pub fn cpu_us(root: u32) -> f64 {
    let mut total = 0.0;
    let mut family = vec![root];
    while let Some(id) = family.pop() {
        total += own_cpu_us(id);
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
fn own_cpu_us(id: u32) -> f64 {
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
