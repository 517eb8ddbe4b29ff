//! `make demo`: three nodes on loopback, each a core with a demo worker beside it, and limpet-host in front.
//!
//! It makes its own certificates in a directory of its own, tells what to open and what to try, and tells what happens
//! while the reader kills workers and cores, by a command typed here or by `kill PID` elsewhere. Made-up visitors keep
//! clicking, so that there is something to take over. Everything it started ends with it: by `quit`, Ctrl-C, SIGTERM, or
//! when its terminal is closed.

mod console;
mod relay;
mod stage;
mod story;
mod view;
mod visitors;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use console::{Command, HELP, Part};
use stage::{FRONT, NODES, Stage};
use story::Story;
use view::View;
use visitors::{Tally, VISITORS};

/// How often it is looked at who has ended, and what a core sees.
const STEP: Duration = Duration::from_millis(100);

#[tokio::main]
async fn main() -> ExitCode {
    let began = Instant::now();
    let (Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
        signal(SignalKind::hangup()),
    ) else {
        eprintln!("demo: cannot listen for Ctrl-C");
        return ExitCode::FAILURE;
    };
    let mut stage = match Stage::plan() {
        Ok(stage) => stage,
        Err(sentence) => {
            eprintln!("demo: {sentence}");
            return ExitCode::FAILURE;
        }
    };
    // Signals come first: a Ctrl-C goes to every process of the terminal, and those are no deaths to tell of.
    let ended = tokio::select! {
        biased;
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
        _ = hangup.recv() => Ok(()),
        ended = play(&mut stage, began) => ended,
    };
    println!("\nstopping everything");
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            eprintln!("demo: {sentence}");
            ExitCode::FAILURE
        }
    }
}

/// Runs until `quit` is typed.
async fn play(stage: &mut Stage, began: Instant) -> Result<(), String> {
    println!("starting three nodes and the proxy ...");
    stage.start_all().await?;
    let tally = visitors::come(FRONT);
    let (_, view) = stage.look().await.ok_or("no core answers")?;
    introduce(stage, &view, began.elapsed());
    Show {
        stage,
        story: Story::new(view),
        tally,
        began,
        starting: Vec::new(),
    }
    .run()
    .await;
    Ok(())
}

fn introduce(stage: &Stage, view: &View, took: Duration) {
    println!("ready after {:.1} s\n", took.as_secs_f64());
    println!("Open     http://{FRONT} and reload: same session, same node, the counter rises.");
    println!("         {VISITORS} made-up visitors do the same, once a second each.\n");
    println!("{}", table(stage, view));
    println!(
        "\nTry      kill the worker that serves you and reload: another node's colour, the same session, and the"
    );
    println!("         counter goes on. Type it here, or `kill PID` in another terminal:\n{HELP}");
    println!("         curl -s http://127.0.0.1:4181/v1/workers         the workers, as node1 sees them");
    println!("         curl -s -b jar -c jar http://{FRONT}/json   again and again");
    println!("\nLogs     {}", stage.site.scratch.path().display());
    println!("Ctrl-C stops everything.\n");
}

/// Every process and its pid, with the sessions of each node.
fn table(stage: &Stage, view: &View) -> String {
    let pid = |part: &Part| stage.pid(part).map_or("gone".to_owned(), |pid| pid.to_string());
    let mut text = format!(
        "{:<8}{:<12}{:<12}{:<10}{:<10}{:<24}core",
        "node", "colour", "worker pid", "core pid", "sessions", "worker"
    );
    for id in NODES {
        let node = stage.site.node(id);
        let (color, addr) = node
            .worker
            .as_ref()
            .map_or(("", ""), |plan| (plan.color.as_str(), plan.addr.as_str()));
        text += &format!(
            "\n{id:<8}{color:<12}{:<12}{:<10}{:<10}{:<24}http://{}",
            pid(&Part::Worker(id.into())),
            pid(&Part::Core(id.into())),
            view.bound_to(id),
            format!("http://{addr}"),
            node.api
        );
    }
    text + &format!("\nproxy   pid {}", pid(&Part::Proxy))
}

/// The demo while it runs.
struct Show<'a> {
    stage: &'a mut Stage,
    story: Story,
    tally: Arc<Tally>,
    began: Instant,
    /// Parts that were started and do not serve yet.
    starting: Vec<(Part, u32, Instant)>,
}

impl Show<'_> {
    async fn run(&mut self) {
        let mut typed = Some(console::lines());
        let mut clock = tokio::time::interval(STEP);
        loop {
            tokio::select! {
                line = next(&mut typed) => match line {
                    Some(line) if line.trim().is_empty() => {}
                    Some(line) => match Command::parse(&line, &NODES) {
                        Ok(Command::Quit) => return,
                        Ok(command) => self.obey(command).await,
                        Err(sentence) => println!("{sentence}"),
                    },
                    None => typed = None,
                },
                _ = clock.tick() => self.step().await,
            }
        }
    }

    async fn obey(&mut self, command: Command) {
        let done = match command {
            Command::Kill(part) => self.stage.signal(&part, Signal::KILL),
            Command::Stop(part) => self.stage.signal(&part, Signal::TERM),
            Command::Start(part) => self.stage.start(&part).await.map(|pid| {
                self.starting.push((part, pid, Instant::now()));
            }),
            Command::Status => {
                println!("{}", table(self.stage, self.story.view()));
                Ok(())
            }
            Command::Help | Command::Quit => {
                println!("{HELP}");
                Ok(())
            }
        };
        if let Err(sentence) = done {
            println!("{sentence}");
        }
    }

    /// Looks who has ended, who serves again, and what a core sees.
    async fn step(&mut self) {
        let seen = self.stage.look().await;
        // Who died is told before what a core makes of it.
        for (part, pid, how) in self.stage.deaths() {
            self.starting.retain(|(starting, ..)| *starting != part);
            let now = self.began.elapsed();
            let lines = self.story.on_death(&part, pid, &how, now);
            self.tell(&lines);
        }
        if let Some((witness, view)) = seen {
            let now = self.began.elapsed();
            let lines = self.story.on_view(&witness, view, self.tally.so_far(), now);
            self.tell(&lines);
        }
        for (part, pid, since) in std::mem::take(&mut self.starting) {
            if self.stage.serves(&part, self.story.view()).await {
                self.tell(&Story::on_ready(&part, pid, since.elapsed()));
            } else {
                self.starting.push((part, pid, since));
            }
        }
    }

    fn tell(&self, lines: &[String]) {
        for (index, line) in lines.iter().enumerate() {
            if index == 0 {
                println!("[{:7.1} s] {line}", self.began.elapsed().as_secs_f64());
            } else {
                println!("            {line}");
            }
        }
    }
}

/// The next line; none for ever once standard input has ended.
async fn next(typed: &mut Option<mpsc::Receiver<String>>) -> Option<String> {
    match typed {
        Some(lines) => lines.recv().await,
        None => std::future::pending().await,
    }
}
