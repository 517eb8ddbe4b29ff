//! The command line: `run` and `check`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::Config;
use crate::proxy::{BuildError, Proxy};
use crate::telemetry;

/// The configuration is refused.
const EXIT_CONFIG: u8 = 64;
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
        Command::Check { .. } => Proxy::check(&config),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => say(
            &error,
            if error.is_config() {
                EXIT_CONFIG
            } else {
                EXIT_SYSTEM
            },
        ),
    }
}

fn run(config: Config) -> Result<(), BuildError> {
    let running = Proxy::build(config)?.start()?;
    for address in running.addresses() {
        tracing::info!(%address, "listening");
    }
    if let Some(address) = running.admin_address() {
        tracing::info!(%address, "admin");
    }
    wait_for_signal()?;
    tracing::info!("stopping");
    running.stop();
    Ok(())
}

fn wait_for_signal() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let (mut term, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        tokio::select! {
            _ = term.recv() => {}
            _ = interrupt.recv() => {}
        }
        Ok(())
    })
}

#[expect(clippy::print_stderr, reason = "a command tells its user")]
fn say(error: &dyn std::fmt::Display, code: u8) -> ExitCode {
    eprintln!("{error}");
    ExitCode::from(code)
}
