//! The table `[log]`: how much is logged, on standard error.

use super::section::Section;

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogConfig {
    /// The least important lines that are written.
    pub level: LogLevel,
}

/// How important a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// What needs somebody.
    Error,
    /// What may need somebody.
    Warn,
    /// What happened.
    Info,
    /// What led to it.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// Its name in the file and in the log.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

pub(super) fn read(root: &mut Section) -> LogConfig {
    let mut log = root.section("log");
    let all = [
        LogLevel::Error,
        LogLevel::Warn,
        LogLevel::Info,
        LogLevel::Debug,
        LogLevel::Trace,
    ];
    let level = log.read("level", LogLevel::Info, |text| {
        let named = all.into_iter().find(|level| level.name() == text);
        named.ok_or_else(|| "error, warn, info, debug or trace is expected".into())
    });
    LogConfig { level }
}
