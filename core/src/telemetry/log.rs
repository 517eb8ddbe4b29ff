//! The log: lines on standard error, fields after the message. `log.level` says how much is written, unless
//! `LIMPET_LOG` does, which filters by module.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::Subscriber;
use tracing_subscriber::reload::Handle;

use crate::config::LogLevel;

const VARIABLE: &str = "LIMPET_LOG";

type Formatted = tracing_subscriber::layer::Layered<
    tracing_subscriber::fmt::Layer<
        tracing_subscriber::Registry,
        tracing_subscriber::fmt::format::DefaultFields,
        tracing_subscriber::fmt::format::Format,
        fn() -> std::io::Stderr,
    >,
    tracing_subscriber::Registry,
>;

/// The log of this process, whose level can be changed.
#[derive(Debug)]
pub struct Log {
    filter: Option<Handle<EnvFilter, Formatted>>,
}

/// Starts logging. A second call leaves the first one's log as it is.
#[must_use]
pub fn start(level: LogLevel) -> Log {
    let asked = EnvFilter::try_from_env(VARIABLE).ok();
    let fixed = asked.is_some();
    let subscriber = Subscriber::builder()
        .with_env_filter(asked.unwrap_or_else(|| filter(level)))
        .with_writer(std::io::stderr as fn() -> std::io::Stderr)
        .with_ansi(false)
        .with_filter_reloading();
    let handle = subscriber.reload_handle();
    let started = tracing::subscriber::set_global_default(subscriber.finish()).is_ok();
    Log {
        filter: (started && !fixed).then_some(handle),
    }
}

impl Log {
    /// Writes `level` and what is more important from now on. Says whether it does: `LIMPET_LOG` has the last word.
    #[must_use]
    pub fn set_level(&self, level: LogLevel) -> bool {
        self.filter
            .as_ref()
            .is_some_and(|handle| handle.reload(filter(level)).is_ok())
    }
}

fn filter(level: LogLevel) -> EnvFilter {
    EnvFilter::default().add_directive(
        match level {
            LogLevel::Error => LevelFilter::ERROR,
            LogLevel::Warn => LevelFilter::WARN,
            LogLevel::Info => LevelFilter::INFO,
            LogLevel::Debug => LevelFilter::DEBUG,
            LogLevel::Trace => LevelFilter::TRACE,
        }
        .into(),
    )
}
