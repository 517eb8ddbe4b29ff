//! Metrics that guests define.
//!
//! One name is one metric, whichever guest defines it. A name may carry its labels, `decisions_total{level="token"}`,
//! and is printed as it is.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::rebuild::{Rebuild, Rebuilds, Table};
use crate::wasm::abi::numbers::Status;

/// The most metrics of a process; past it a definition is refused with `InternalFailure`.
pub const METRICS_MAX: usize = 4096;
/// The longest name, labels included, in bytes; a longer one is refused with `BadArgument`.
pub const NAME_MAX: usize = 512;
/// Upper bounds of histogram buckets; the unit is the guest's.
const BUCKETS: [u64; 14] = [
    1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 60_000,
];

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the specification's")]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// One metric.
#[derive(Debug)]
pub struct Metric {
    kind: Kind,
    /// A counter's or gauge's value, a histogram's sum.
    value: AtomicU64,
    /// A histogram's observations per bucket; the last one is all others.
    buckets: [AtomicU64; BUCKETS.len() + 1],
}

/// All of them.
#[derive(Debug)]
pub struct Metrics(Table<BTreeMap<String, Arc<Metric>>>);

impl Rebuild for BTreeMap<String, Arc<Metric>> {
    const NAME: &'static str = "metrics";

    fn rebuild(&mut self) {
        self.clear();
    }
}

impl Metrics {
    /// No metrics yet.
    #[must_use]
    pub fn new(rebuilds: Rebuilds) -> Self {
        Self(Table::new(rebuilds))
    }

    /// The metric `name`, made if there is none.
    ///
    /// # Errors
    /// `BadArgument` when `name` is no metric's name or of another kind, `InternalFailure` past [`METRICS_MAX`].
    pub fn define(&self, kind: u32, name: &[u8]) -> Result<Arc<Metric>, Status> {
        let kind = match kind {
            0 => Kind::Counter,
            1 => Kind::Gauge,
            2 => Kind::Histogram,
            _ => return Err(Status::BadArgument),
        };
        let name = std::str::from_utf8(name).map_err(|_| Status::BadArgument)?;
        if name.is_empty() || name.len() > NAME_MAX || name.contains('\n') {
            return Err(Status::BadArgument);
        }
        let mut metrics = self.0.lock();
        if let Some(known) = metrics.get(name) {
            return if known.kind == kind {
                Ok(Arc::clone(known))
            } else {
                Err(Status::BadArgument)
            };
        }
        if metrics.len() >= METRICS_MAX {
            return Err(Status::InternalFailure);
        }
        let metric = Arc::new(Metric {
            kind,
            value: AtomicU64::new(0),
            buckets: [const { AtomicU64::new(0) }; 15],
        });
        metrics.insert(name.to_owned(), Arc::clone(&metric));
        Ok(metric)
    }

    /// Prints all metrics in the Prometheus text format.
    pub fn print(&self, out: &mut String) {
        let metrics = self.0.lock();
        let mut last = "";
        for (name, metric) in metrics.iter() {
            let (base, labels) = match name.split_once('{') {
                Some((base, rest)) => (base, rest.trim_end_matches('}')),
                None => (name.as_str(), ""),
            };
            if base != last {
                let kind = match metric.kind {
                    Kind::Counter => "counter",
                    Kind::Gauge => "gauge",
                    Kind::Histogram => "histogram",
                };
                let _ = writeln!(out, "# TYPE {base} {kind}");
                last = base;
            }
            metric.print(name, base, labels, out);
        }
    }
}

#[cfg(test)]
impl Metrics {
    /// Panics under the lock.
    pub(in crate::wasm) fn poison(&self) {
        self.0.poison(|_| {});
    }
}

impl Metric {
    /// Adds `delta`; a counter only rises.
    ///
    /// # Errors
    /// `BadArgument` for a histogram, and for a counter that shall not rise.
    pub fn increment(&self, delta: i64) -> Result<(), Status> {
        match self.kind {
            Kind::Counter if delta > 0 => self.value.fetch_add(delta.unsigned_abs(), Ordering::Relaxed),
            Kind::Gauge => self.value.fetch_add(delta.cast_unsigned(), Ordering::Relaxed),
            _ => return Err(Status::BadArgument),
        };
        Ok(())
    }

    /// Records `value`: a gauge takes it, a counter adds it, a histogram observes it.
    pub fn record(&self, value: u64) {
        match self.kind {
            Kind::Counter => {
                self.value.fetch_add(value, Ordering::Relaxed);
            }
            Kind::Gauge => self.value.store(value, Ordering::Relaxed),
            Kind::Histogram => {
                self.value.fetch_add(value, Ordering::Relaxed);
                let at = BUCKETS
                    .iter()
                    .position(|bound| value <= *bound)
                    .unwrap_or(BUCKETS.len());
                if let Some(bucket) = self.buckets.get(at) {
                    bucket.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    /// The value.
    ///
    /// # Errors
    /// `BadArgument` for a histogram.
    pub fn value(&self) -> Result<u64, Status> {
        match self.kind {
            Kind::Histogram => Err(Status::BadArgument),
            _ => Ok(self.value.load(Ordering::Relaxed)),
        }
    }

    fn print(&self, name: &str, base: &str, labels: &str, out: &mut String) {
        let value = self.value.load(Ordering::Relaxed);
        let _ = match self.kind {
            Kind::Counter => writeln!(out, "{name} {value}"),
            Kind::Gauge => writeln!(out, "{name} {}", value.cast_signed()),
            Kind::Histogram => {
                let comma = if labels.is_empty() { "" } else { "," };
                let mut count = 0;
                let bounds = BUCKETS.iter().map(u64::to_string).chain(["+Inf".to_owned()]);
                for (bucket, bound) in self.buckets.iter().zip(bounds) {
                    count += bucket.load(Ordering::Relaxed);
                    let _ = writeln!(out, "{base}_bucket{{{labels}{comma}le=\"{bound}\"}} {count}");
                }
                let braces = if labels.is_empty() {
                    String::new()
                } else {
                    format!("{{{labels}}}")
                };
                writeln!(out, "{base}_sum{braces} {value}\n{base}_count{braces} {count}")
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_is_one_metric() {
        let metrics = Metrics::new(Rebuilds::default());
        let a = metrics.define(0, b"decisions_total{level=\"token\"}").unwrap();
        let b = metrics.define(0, b"decisions_total{level=\"token\"}").unwrap();
        a.increment(2).unwrap();
        b.record(3);
        assert_eq!(a.value(), Ok(5));
        assert_eq!(a.increment(0), Err(Status::BadArgument));
        assert_eq!(
            metrics
                .define(1, b"decisions_total{level=\"token\"}")
                .unwrap_err(),
            Status::BadArgument
        );
        let gauge = metrics.define(1, b"open").unwrap();
        gauge.increment(-1).unwrap();
        let histogram = metrics.define(2, b"size").unwrap();
        histogram.record(3);
        assert_eq!(histogram.value(), Err(Status::BadArgument));
        let mut text = String::new();
        metrics.print(&mut text);
        assert!(
            text.contains("# TYPE decisions_total counter\ndecisions_total{level=\"token\"} 5\n"),
            "{text}"
        );
        assert!(text.contains("\nopen -1\n"), "{text}");
        assert!(
            text.contains("size_bucket{le=\"5\"} 1\n") && text.contains("size_count 1\n"),
            "{text}"
        );
    }

    #[test]
    fn a_panic_under_the_lock_leaves_no_metric() {
        let rebuilds = Rebuilds::default();
        let metrics = Metrics::new(rebuilds.clone());
        metrics.define(0, b"half").unwrap().record(3);
        metrics.poison();
        let mut text = String::new();
        metrics.print(&mut text);
        assert_eq!((text.as_str(), rebuilds.count()), ("", 1));
        assert_eq!(metrics.define(1, b"half").unwrap().value(), Ok(0), "defined anew");
    }
}
