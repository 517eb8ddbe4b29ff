//! The command line. Exit statuses: 0 success, 1 failure, 64 a wrong configuration or command line, 70 a fault of the
//! program itself ([`crate::drivers::supervisor`]).
#![expect(
    clippy::print_stdout,
    reason = "commands answer on standard output; the daemon logs"
)]

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::{Config, Problems};
use crate::daemon::Daemon;
use crate::{pki, status, telemetry};

/// `EX_USAGE` of sysexits.h.
const USAGE: u8 = 64;

#[derive(Parser)]
#[command(
    name = "limpet-core",
    version,
    about = "Keeps sessions on every node of a cluster"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the daemon in the foreground
    Run {
        /// The configuration file
        #[arg(long)]
        config: PathBuf,
    },
    /// Check a configuration file; 64 and every problem if it is not in order
    Check {
        /// The configuration file
        #[arg(long)]
        config: PathBuf,
    },
    /// Make certificates
    #[command(subcommand)]
    Pki(Pki),
    /// Show members, workers and sessions
    Status {
        /// The API of a node
        #[arg(long, default_value = "http://127.0.0.1:4180")]
        api: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Say what an operator knows of members
    #[command(subcommand)]
    Member(Member),
    /// Have a node count again, from its sessions, what it keeps count of; 1 if that differs
    Selfcheck {
        /// The API of the node
        #[arg(long, default_value = "http://127.0.0.1:4180")]
        api: String,
    },
}

#[derive(Subcommand)]
enum Member {
    /// Say that a member is dead and will not come back with its memory: it does not count towards the majority any more
    Forget {
        /// The member's id
        id: String,
        /// The API of a node
        #[arg(long, default_value = "http://127.0.0.1:4180")]
        api: String,
    },
}

#[derive(Subcommand)]
enum Pki {
    /// Make the CA of a cluster: ca.pem, ca.key
    Init {
        /// Where to put it
        #[arg(long)]
        dir: PathBuf,
        /// The cluster's name
        #[arg(long)]
        cluster: String,
    },
    /// Issue the certificate of a node: ID.pem, ID.key
    Issue {
        /// Where the CA is
        #[arg(long)]
        dir: PathBuf,
        /// The node's id
        #[arg(long)]
        node: String,
        /// Addresses to name in the certificate as well
        #[arg(long)]
        ip: Vec<IpAddr>,
    },
}

/// Does what the command line says.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print(); // a closed terminal is no reason to fail differently
            return if error.use_stderr() {
                ExitCode::from(USAGE)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    match cli.command {
        Command::Run { config: file } => match Config::load(&file) {
            Ok(config) => run(config, &file),
            Err(problems) => refuse(&problems),
        },
        Command::Check { config } => match Config::load(&config) {
            Ok(config) => {
                if let Some(advice) = config.session_server.advice() {
                    println!("{advice}");
                }
                ExitCode::SUCCESS
            }
            Err(problems) => refuse(&problems),
        },
        Command::Pki(Pki::Init { dir, cluster }) => done(pki::init(&dir, &cluster)),
        Command::Pki(Pki::Issue { dir, node, ip }) => done(pki::issue(&dir, &node, &ip)),
        Command::Status { api, json } => show_status(&api, json),
        Command::Member(Member::Forget { id, api }) => done(block_on(async {
            status::forget_member(&api, &id).await?;
            println!("{id} does not count any more");
            Ok(())
        })),
        Command::Selfcheck { api } => done(block_on(async {
            let records = status::selfcheck(&api).await?;
            println!("{records} records, all as counted");
            Ok(())
        })),
    }
}

fn run(config: Config, file: &Path) -> ExitCode {
    let log = telemetry::log::start(config.log.level);
    done(block_on(async {
        Ok(Daemon::build(config).await?.run(file, &log).await?)
    }))
}

fn show_status(api: &str, json: bool) -> ExitCode {
    done(block_on(async {
        let status = status::fetch(api).await?;
        if json {
            println!("{}", status.to_json());
        } else {
            print!("{status}");
        }
        Ok(())
    }))
}

type AnyError = Box<dyn std::error::Error>;

fn block_on(work: impl Future<Output = Result<(), AnyError>>) -> Result<(), AnyError> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(work)
}

fn done<E: std::fmt::Display>(result: Result<(), E>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn refuse(problems: &Problems) -> ExitCode {
    complain(problems);
    ExitCode::from(USAGE)
}

#[expect(
    clippy::print_stderr,
    reason = "a command says on standard error why it failed"
)]
fn complain(problem: &dyn std::fmt::Display) {
    eprintln!("{problem}");
}
