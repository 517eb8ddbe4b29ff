//! The command line, `run` and `check`, and its exit status.
//!
//! The status is 0, 64 when the configuration is refused, 71 when the system refuses something, and 70 when a bug took
//! down a part the proxy cannot serve without. Building and stopping are left to `proxy`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::Config;
use crate::proxy::{BuildError, Proxy, Running};
use crate::supervise::TaskDied;
use crate::telemetry;

/// The configuration is refused.
const EXIT_CONFIG: u8 = 64;
/// Something the proxy cannot serve without is gone.
const EXIT_BUG: u8 = 70;
/// The system refuses something, such as an address.
const EXIT_SYSTEM: u8 = 71;

#[derive(Debug, Parser)]
#[command(name = "limpet-host", about = "A reverse proxy that runs proxy-wasm filters")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves in the foreground; SIGTERM or SIGINT finishes open requests and ends.
    Run {
        /// The configuration file.
        #[arg(long)]
        config: PathBuf,
    },
    /// Reads the configuration, tries the filters out, and says what is wrong.
    Check {
        /// The configuration file.
        #[arg(long)]
        config: PathBuf,
    },
}

/// Does what the command line says.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    telemetry::start_logging();
    let (Command::Run { config } | Command::Check { config }) = &arguments.command;
    let config = match Config::load(config) {
        Ok(config) => config,
        Err(error) => return say(&error, EXIT_CONFIG),
    };
    let done = match arguments.command {
        Command::Run { .. } => run(config),
        Command::Check { .. } => Proxy::check(&config).map_err(Into::into),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => say(&error, error.exit_code()),
    }
}

/// Why the command fails.
#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error(transparent)]
    Build(#[from] BuildError),
    #[error("the system refuses signals: {0}")]
    Signals(std::io::Error),
    #[error(transparent)]
    Died(#[from] TaskDied),
}

impl RunError {
    const fn exit_code(&self) -> u8 {
        match self {
            Self::Build(error) if error.is_config() => EXIT_CONFIG,
            Self::Build(_) | Self::Signals(_) => EXIT_SYSTEM,
            Self::Died(_) => EXIT_BUG,
        }
    }
}

fn run(config: Config) -> Result<(), RunError> {
    let mut running = Proxy::build(config)?.start()?;
    for address in running.addresses() {
        tracing::info!(%address, "listening");
    }
    if let Some(address) = running.admin_address() {
        tracing::info!(%address, "admin");
    }
    match wait(&mut running).map_err(RunError::Signals)? {
        None => {
            tracing::info!("stopping");
            running.stop();
            Ok(())
        }
        Some(died) => {
            // Not stopped: what is broken may never stop. The end of the process closes everything.
            std::mem::forget(running);
            Err(died.into())
        }
    }
}

/// Waits for a signal, or for the death of something the proxy cannot serve without.
fn wait(running: &mut Running) -> std::io::Result<Option<TaskDied>> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let (mut term, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        Ok(tokio::select! {
            _ = term.recv() => None,
            _ = interrupt.recv() => None,
            died = running.task_died() => Some(died),
        })
    })
}

#[expect(clippy::print_stderr, reason = "a command tells its user")]
fn say(error: &dyn std::fmt::Display, code: u8) -> ExitCode {
    eprintln!("{error}");
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    const FILE: &str = r#"
        listener = [{ bind = "127.0.0.1:0" }]
        admin = { bind = "127.0.0.1:0" }
        route = [{ prefix = "/", cluster = "app" }]
        cluster = [{ name = "app", workers = [{ route = "a", url = "http://127.0.0.1:1" }] }]
        server = { threads = 2 }
    "#;

    #[test]
    fn the_death_of_a_task_the_proxy_needs_ends_the_process_with_its_reason() {
        let proxy = Proxy::build(Config::parse(FILE, Path::new(".")).unwrap()).unwrap();
        let supervisor = proxy.supervisor().clone();
        let mut running = proxy.start().unwrap();
        supervisor.run("the clock of timeouts", || panic!("a bug"));
        let died = wait(&mut running).unwrap().expect("no signal came");
        let error = RunError::from(died);
        assert_eq!(error.exit_code(), EXIT_BUG);
        assert!(
            error
                .to_string()
                .starts_with("the clock of timeouts panicked: a bug; the process ends"),
            "{error}"
        );
    }
}
