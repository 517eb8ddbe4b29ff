//! What can be typed into the demo's terminal.

use std::io::BufRead as _;

use tokio::sync::mpsc;

/// Lines that were typed and not yet done; whoever types faster waits.
const TYPED_MAX: usize = 16;

/// A process of the demo.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// The limpet-core of a node.
    Core(String),
    /// The demo worker of a node.
    Worker(String),
    /// limpet-host.
    Proxy,
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Core(node) => write!(f, "core {node}"),
            Self::Worker(node) => write!(f, "worker {node}"),
            Self::Proxy => f.write_str("proxy"),
        }
    }
}

/// What is asked of the demo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    /// SIGKILL: it is gone without a farewell.
    Kill(Part),
    /// SIGTERM: it takes its leave.
    Stop(Part),
    /// Starts what does not run.
    Start(Part),
    /// Shows every process, its pid and its sessions.
    Status,
    /// Shows the commands.
    Help,
    /// Ends the demo.
    Quit,
}

/// The commands, for people.
pub(crate) const HELP: &str = "  kill worker node2     stop worker node2     start worker node2
  kill core node2       stop core node2       start core node2
  kill proxy            status                quit";

impl Command {
    /// Reads a line.
    ///
    /// # Errors
    /// A sentence for who typed it.
    pub(crate) fn parse(line: &str, nodes: &[&str]) -> Result<Self, String> {
        let words: Vec<_> = line.split_whitespace().collect();
        match words.as_slice() {
            ["status"] => Ok(Self::Status),
            ["help" | "?"] => Ok(Self::Help),
            ["quit" | "exit"] => Ok(Self::Quit),
            [verb @ ("kill" | "stop" | "start"), what @ ..] => {
                let part = part(what, nodes)?;
                Ok(match *verb {
                    "kill" => Self::Kill(part),
                    "stop" => Self::Stop(part),
                    _ => Self::Start(part),
                })
            }
            _ => Err(format!("{line:?} is no command here; these are:\n{HELP}")),
        }
    }
}

fn part(words: &[&str], nodes: &[&str]) -> Result<Part, String> {
    match words {
        ["proxy"] => Ok(Part::Proxy),
        [kind @ ("core" | "worker"), node] if nodes.contains(node) => Ok(match *kind {
            "core" => Part::Core((*node).to_owned()),
            _ => Part::Worker((*node).to_owned()),
        }),
        ["core" | "worker", ..] => Err(format!("which node? {}", nodes.join(", "))),
        _ => Err(format!("one of these is expected:\n{HELP}")),
    }
}

/// The lines of standard input, as they are typed. It ends where standard input does; the demo goes on then.
pub(crate) fn lines() -> mpsc::Receiver<String> {
    let (typed, lines) = mpsc::channel(TYPED_MAX);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { return };
            if typed.blocking_send(line).is_err() {
                return;
            }
        }
    });
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODES: [&str; 2] = ["node1", "node2"];

    #[test]
    fn every_command_that_is_shown_is_understood() {
        for command in HELP.split("  ").map(str::trim).filter(|text| !text.is_empty()) {
            assert!(Command::parse(command, &NODES).is_ok(), "{command}");
        }
        let killed = Command::parse(" kill  worker node2 ", &NODES);
        assert_eq!(killed, Ok(Command::Kill(Part::Worker("node2".into()))));
    }

    #[test]
    fn what_is_not_understood_is_answered_with_what_is() {
        for wrong in [
            "",
            "kill",
            "kill worker",
            "kill worker node9",
            "dance",
            "start node1",
        ] {
            let sentence = Command::parse(wrong, &NODES).expect_err(wrong);
            assert!(sentence.contains("node2"), "{wrong}: {sentence}");
        }
    }
}
