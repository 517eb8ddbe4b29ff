//! The row "one-attribute update, replicated": what it costs to have one other copy.

mod limpet;
mod redis;
mod tomcat;

use std::fmt::Write as _;

use crate::Extent;
use crate::nodes::Ids;
use crate::report::{Goal, Section, least, median, most};

/// Sessions that are updated in turn.
const SESSIONS: usize = 10_000;
/// Characters of a session id where nothing else is said.
const ID: usize = 20;
/// Hexadecimal digits of a session id of Tomcat.
const ID_OF_TOMCAT: usize = 32;
/// Bytes of the attribute's value.
const VALUE: usize = 8;
/// Updates in one batch, where updates are batched.
const BATCH: usize = 100;
/// Requests under way, one update each.
const CONNECTIONS: usize = 32;
/// Requests under way, a batch each.
const CONNECTIONS_OF_BATCHES: usize = 4;
/// Updates per second where they are paced.
const PACE: f64 = 10_000.0;

/// What one run gave. CPU in microseconds per update, traffic in bytes per update.
#[derive(Debug, Clone, Copy, Default)]
struct Sample {
    /// Updates per second, answered.
    rate: f64,
    /// CPU of the node that is written to.
    node_us: f64,
    /// CPU of the other one; nothing while there is none.
    peer_us: f64,
    /// What the node sent to the other one.
    sent: f64,
    /// The same, and what it heard from it.
    both: f64,
    /// Changes the node told, per update: less than one when several updates of a session were told as one.
    told: f64,
    /// How long after the last answer the other one had everything, in milliseconds.
    lag_ms: f64,
    /// The share of its processor the node used.
    busy: f64,
}

/// What is written, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shape {
    /// What session ids look like.
    ids: Ids,
    /// Updates per request.
    batch: usize,
    /// Whether updates come at [`PACE`] rather than as fast as they are answered.
    paced: bool,
}

impl Shape {
    const ONE: Self = Self {
        ids: Ids::Letters(ID),
        batch: 1,
        paced: false,
    };
    const BATCH: Self = Self {
        ids: Ids::Letters(ID),
        batch: BATCH,
        paced: false,
    };

    const fn connections(self) -> usize {
        if self.batch == 1 {
            CONNECTIONS
        } else {
            CONNECTIONS_OF_BATCHES
        }
    }

    fn pace(self) -> Option<f64> {
        self.paced.then_some(PACE)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subject {
    Report(Shape),
    Patch(Shape),
    Redis(Shape),
    Tomcat,
}

impl Subject {
    fn name(self) -> String {
        match self {
            Self::Report(shape) if shape.batch == 1 => "Limpet, one update per report".into(),
            Self::Report(_) => format!("Limpet, {BATCH} updates per report"),
            Self::Patch(_) => "Limpet, PATCH".into(),
            Self::Redis(shape) if shape.batch == 1 => "Redis, one SET at a time".into(),
            Self::Redis(_) => format!("Redis, {BATCH} SETs in a pipeline"),
            Self::Tomcat => "Tomcat, DeltaManager".into(),
        }
    }

    async fn measure(self, copies: bool, extent: Extent) -> Sample {
        match self {
            Self::Report(shape) => limpet::measure(limpet::Spelling::Report, shape, copies, extent).await,
            Self::Patch(shape) => limpet::measure(limpet::Spelling::Patch, shape, copies, extent).await,
            Self::Redis(shape) => redis::measure(shape, copies, extent).await,
            Self::Tomcat => panic!("Tomcat is measured for all rounds at once"),
        }
    }
}

/// One line of the table: without a copy, and with one.
struct Line {
    subject: Subject,
    alone: Vec<Sample>,
    copied: Vec<Sample>,
}

/// Measures Limpet, Redis and Tomcat.
pub async fn run(extent: Extent) -> Section {
    let subjects = [
        Subject::Report(Shape::ONE),
        Subject::Report(Shape::BATCH),
        Subject::Patch(Shape::ONE),
        Subject::Redis(Shape::ONE),
        Subject::Redis(Shape::BATCH),
    ];
    let line = |subject| Line {
        subject,
        alone: Vec::new(),
        copied: Vec::new(),
    };
    let wanted = |subject: &Subject| subject.name().contains(extent.only);
    let mut lines: Vec<_> = subjects.into_iter().filter(wanted).map(line).collect();
    for round in 1..=extent.rounds {
        for line in &mut lines {
            for copies in [false, true] {
                let sample = line.subject.measure(copies, extent).await;
                send(round, &line.subject.name(), copies, sample);
                if copies { &mut line.copied } else { &mut line.alone }.push(sample);
            }
        }
    }
    if !extent.only.is_empty() && !wanted(&Subject::Tomcat) {
        return Section::nothing();
    }
    let mut tomcat = line(Subject::Tomcat);
    tomcat.alone = tomcat::measure(false, extent).await;
    tomcat.copied = tomcat::measure(true, extent).await;
    for (copies, samples) in [(false, &tomcat.alone), (true, &tomcat.copied)] {
        for (round, sample) in samples.iter().enumerate() {
            send(round + 1, &tomcat.subject.name(), copies, *sample);
        }
    }
    lines.push(tomcat);
    if !extent.only.is_empty() {
        return Section::nothing();
    }
    let widths = widths(extent).await;
    section(&lines, &widths)
}

fn send(round: usize, name: &str, copies: bool, sample: Sample) {
    println!(
        "round {round}  {name:<34} {:<7} {:>8.0}/s  CPU {:>6.2} + {:>5.2} us  sent {:>6.1} both {:>6.1} B  told {:.3}  lag {:>5.0} ms  busy {:.2}",
        if copies { "copied" } else { "alone" },
        sample.rate,
        sample.node_us,
        sample.peer_us,
        sample.sent,
        sample.both,
        sample.told,
        sample.lag_ms,
        sample.busy
    );
}

/// Bytes per update where the main table does not say: longer ids, and updates that come one by one.
async fn widths(extent: Extent) -> Vec<(String, Sample, Sample)> {
    let long = Shape {
        ids: Ids::Hexadecimal(ID_OF_TOMCAT),
        ..Shape::BATCH
    };
    let paced = Shape {
        paced: true,
        ..Shape::ONE
    };
    let mut all = Vec::new();
    for (what, shape) in [
        (
            format!("in batches, ids of {ID_OF_TOMCAT} hexadecimal digits"),
            long,
        ),
        (format!("one by one, {PACE:.0} per second"), paced),
    ] {
        let limpet = Subject::Report(shape).measure(true, extent).await;
        let redis = Subject::Redis(shape).measure(true, extent).await;
        send(1, &format!("Limpet {what}"), true, limpet);
        send(1, &format!("Redis {what}"), true, redis);
        all.push((what, limpet, redis));
    }
    all
}

fn middle(samples: &[Sample], figure: fn(&Sample) -> f64) -> f64 {
    median(samples.iter().map(figure))
}

/// Throughput with a copy over throughput without, in the middle, and the least and the most of the rounds.
fn kept(line: &Line) -> (f64, f64, f64) {
    let rounds = || line.alone.iter().zip(&line.copied).map(|(a, c)| c.rate / a.rate);
    (
        middle(&line.copied, |s| s.rate) / middle(&line.alone, |s| s.rate),
        least(rounds()),
        most(rounds()),
    )
}

fn section(lines: &[Line], widths: &[(String, Sample, Sample)]) -> Section {
    let mut text = format!(
        "## One-attribute update, replicated

{SESSIONS} sessions take turns; each update sets one attribute of {VALUE} bytes, with session ids of {ID} random letters
and digits (Tomcat: its own, {ID_OF_TOMCAT} hexadecimal digits). Limpet and Redis are written to over their unix sockets, {CONNECTIONS} requests under way, or
{CONNECTIONS_OF_BATCHES} of {BATCH} updates each; Tomcat over HTTP, a page that sets the attribute. The node that is written to has
processor 0; the load and the second node share processor 1. Between the nodes: Limpet mutual TLS 1.3, Redis and
Tomcat plain TCP; every one of them asynchronous. CPU counts until the second node has everything. Bytes are what the
kernel counts as payload of TCP between the nodes, TLS included; `sent` is the direction of the updates. What is kept
is throughput with a copy over throughput alone; by CPU, what it would be if nothing but the node that is written to
set the pace.

| what | alone, updates/s | with a copy | kept (rounds) | kept by CPU | CPU alone | CPU with a copy | of the second node | processor 0 used, alone and with | sent per update | both ways |
|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|
"
    );
    for line in lines {
        let (ratio, low, high) = kept(line);
        let copied = |figure: fn(&Sample) -> f64| middle(&line.copied, figure);
        let _ = writeln!(
            text,
            "| {} | {:.0} | {:.0} | {ratio:.2} ({low:.2} to {high:.2}) | {:.2} | {:.2} us | {:.2} us | {:.2} us | {:.0} %, {:.0} % | {:.1} B | {:.1} B |",
            line.subject.name(),
            middle(&line.alone, |s| s.rate),
            copied(|s| s.rate),
            middle(&line.alone, |s| s.node_us) / copied(|s| s.node_us),
            middle(&line.alone, |s| s.node_us),
            copied(|s| s.node_us),
            copied(|s| s.peer_us),
            middle(&line.alone, |s| s.busy) * 100.0,
            copied(|s| s.busy) * 100.0,
            copied(|s| s.sent),
            copied(|s| s.both),
        );
    }
    text.push_str("\n| bytes sent per update | Limpet | Redis | Limpet to Redis |\n|---|---:|---:|---:|\n");
    for (what, limpet, redis) in widths {
        let _ = writeln!(
            text,
            "| {what} | {:.1} | {:.1} | {:.2} |",
            limpet.sent,
            redis.sent,
            limpet.sent / redis.sent
        );
    }
    text.push_str("\n| with a copy | changes told per update | second node complete after the last answer |\n|---|---:|---:|\n");
    for line in lines.iter().filter(|line| line.subject != Subject::Tomcat) {
        let copied = |figure: fn(&Sample) -> f64| middle(&line.copied, figure);
        let _ = writeln!(
            text,
            "| {} | {:.3} | {:.0} ms |",
            line.subject.name(),
            copied(|s| s.told),
            copied(|s| s.lag_ms)
        );
    }
    Section {
        text,
        goals: wanted(lines),
    }
}

fn wanted(lines: &[Line]) -> Vec<Goal> {
    let of = |subject: Subject| {
        lines
            .iter()
            .find(|line| line.subject == subject)
            .expect("every subject is measured")
    };
    let (one, batch) = (Subject::Report(Shape::ONE), Subject::Report(Shape::BATCH));
    let wide = |subject| middle(&of(subject).copied, |s| s.sent);
    vec![
        Goal::at_least(
            "update, one per report: throughput with a copy at least 0.9 × alone",
            0.9,
            kept(of(one)).0,
        ),
        Goal::at_least(
            "update, in reports of 100: throughput with a copy at least 0.9 × alone",
            0.9,
            kept(of(batch)).0,
        ),
        Goal::at_most(
            "update, one per report: at most 54 bytes, TLS included",
            54.0,
            wide(one),
        ),
        Goal::at_most(
            "update, in reports of 100: at most 54 bytes, TLS included",
            54.0,
            wide(batch),
        ),
        Goal::at_most(
            "update, in batches: bytes at most 1.0 × Redis, which has no TLS",
            1.0,
            wide(batch) / wide(Subject::Redis(Shape::BATCH)),
        ),
        Goal::at_most(
            "update: bytes at most 0.1 × Tomcat",
            0.1,
            wide(one) / wide(Subject::Tomcat),
        ),
    ]
}
