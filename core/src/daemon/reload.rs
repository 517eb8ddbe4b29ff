//! SIGHUP: the file is read again, whole. What can change while the daemon runs does, everything else is named in the
//! log, and a file that is not in order changes nothing.

use std::path::Path;
use std::sync::Arc;

use super::Daemon;
use crate::api::http::Access;
use crate::config::{Config, LogConfig, Problem, Problems, ReplicationConfig, changes};
use crate::engine::Tunables;
use crate::net::tls::Tls;
use crate::service::{Ack, Settings};
use crate::telemetry::log::Log;

impl Daemon {
    /// Reads `file` again and takes over what changed.
    pub(super) fn reload(&mut self, file: &Path, log: &Log) {
        let (new, tls) = match self.read_again(file) {
            Ok(loaded) => loaded,
            Err(problems) => {
                tracing::error!(
                    file = %file.display(),
                    %problems,
                    "not loaded: the configuration is not in order; everything stays as it was"
                );
                return;
            }
        };
        let changed = changes(&self.config, &new);
        self.config.adopt(&new);
        self.node.with(|engine, _| engine.tune(tunables(&self.config)));
        self.service.adopt(settings(&self.config));
        self.access.send_replace(Arc::new(access(&self.config)));
        self.adopt_certificates(tls);
        for change in &changed {
            match (change.key, change.at_once) {
                ("log.level", _) => adopt_level(log, new.log),
                (key, true) => tracing::info!(key, "changed, and in use from now on"),
                (key, false) => tracing::warn!(key, "changed in the file; it takes effect at the next start"),
            }
        }
        tracing::info!(file = %file.display(), changed = changed.len(), "configuration loaded again");
    }

    fn read_again(&self, file: &Path) -> Result<(Config, Tls), Problems> {
        let new = Config::load(file)?;
        // For the node this process is, whatever the file calls it now.
        let tls = Tls::load(&new.tls.files, &self.config.certified_node()).map_err(|error| {
            Problems(vec![Problem {
                key: format!("tls.{}", error.key),
                sentence: error.to_string(),
            }])
        })?;
        let renewal = new.tls.renewal;
        Ok((new, tls.renewing(renewal)))
    }

    /// New links use the certificates from now on, and links made with others are made again.
    fn adopt_certificates(&self, tls: Tls) {
        let same = self.tls.borrow().has_same_credentials_as(&tls);
        self.tls.send_replace(tls);
        if !same {
            tracing::info!("certificates replaced; links made with the old ones are made again");
        }
    }
}

fn adopt_level(log: &Log, LogConfig { level }: LogConfig) {
    if log.set_level(level) {
        tracing::info!(
            key = "log.level",
            level = level.name(),
            "changed, and in use from now on"
        );
    } else {
        tracing::warn!(
            key = "log.level",
            "changed in the file, but LIMPET_LOG decides what is logged"
        );
    }
}

/// What the engine is told of a configuration while it runs.
pub(super) fn tunables(config: &Config) -> Tunables {
    Tunables {
        state_transfer_timeout: config.replication.state_transfer_timeout,
        max_inactive: config.session.max_inactive,
        max_active: config.session.max_active,
        touch_interval: config.session.touch_interval,
        rename_forward: config.session.rename_forward,
    }
}

/// What the service is told of a configuration while it runs.
pub(super) fn settings(config: &Config) -> Settings {
    let ReplicationConfig { ack, ack_timeout, .. } = config.replication;
    Settings {
        ack: Ack {
            level: ack,
            timeout: ack_timeout,
        },
        replicate: config.replication.replicate.clone(),
    }
}

/// What the API is told of a configuration while it runs.
pub(super) fn access(config: &Config) -> Access {
    Access {
        token: config.listen.api_token.clone(),
    }
}
