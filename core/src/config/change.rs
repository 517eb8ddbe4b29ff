//! The changes of a configuration file under a running daemon: for every key, whether it takes effect at once or at
//! the next start.
//!
//! The structs are destructured in full, so that no key can be added without that decision. Putting changes into
//! effect belongs to the daemon.

use super::{Config, ListenConfig, LogConfig, MembershipConfig, ReplicationConfig, SessionConfig, TlsConfig};

use crate::net::tls::Renewal;

/// A key whose value in the file is another than the one in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its path: `session.max_active`.
    pub key: &'static str,
    /// Whether it takes effect at once, rather than at the next start.
    pub at_once: bool,
}

/// The changes from `old`, which is in use, to `new`, which was just read.
#[must_use]
pub fn changes(old: &Config, new: &Config) -> Vec<Change> {
    let mut found = Vec::new();
    let mut note = |key, differs, at_once| {
        if differs {
            found.push(Change { key, at_once });
        }
    };
    let (at_once, at_next_start) = (true, false);

    let Config {
        node,
        cluster,
        domain,
        state_dir,
        listen,
        tls,
        membership,
        workers,
        replication,
        session,
        session_server,
        log,
    } = old;
    note("node.id", *node != new.node, at_next_start);
    note("node.cluster", *cluster != new.cluster, at_next_start);
    note("node.domain", *domain != new.domain, at_next_start);
    note("node.state_dir", *state_dir != new.state_dir, at_next_start);
    note("worker", *workers != new.workers, at_next_start);
    note(
        "session_server",
        *session_server != new.session_server,
        at_next_start,
    );

    let ListenConfig {
        cluster,
        autobind,
        api,
        api_token,
    } = listen;
    note("listen.cluster", *cluster != new.listen.cluster, at_next_start);
    note("listen.autobind", *autobind != new.listen.autobind, at_next_start);
    note("listen.api", *api != new.listen.api, at_next_start);
    note(
        "listen.api_token_file",
        *api_token != new.listen.api_token,
        at_once,
    );

    let TlsConfig {
        files,
        renewal: Renewal { within, max_age },
    } = tls;
    note("tls", *files != new.tls.files, at_once);
    note("tls.reauthenticate", *within != new.tls.renewal.within, at_once);
    note("tls.max_link_age", *max_age != new.tls.renewal.max_age, at_once);

    let MembershipConfig {
        dns,
        multicast,
        seeds,
        probe_interval,
        drop_time,
        max_drift_warning,
    } = membership;
    note("membership.dns", *dns != new.membership.dns, at_next_start);
    note(
        "membership.multicast",
        *multicast != new.membership.multicast,
        at_next_start,
    );
    note("membership.seeds", *seeds != new.membership.seeds, at_next_start);
    note(
        "membership.probe_interval",
        *probe_interval != new.membership.probe_interval,
        at_next_start,
    );
    note(
        "membership.drop_time",
        *drop_time != new.membership.drop_time,
        at_next_start,
    );

    note(
        "membership.max_drift_warning",
        *max_drift_warning != new.membership.max_drift_warning,
        at_next_start,
    );

    let ReplicationConfig {
        compress,
        mode,
        links,
        ack,
        ack_timeout,
        queue_bytes,
        donor_transfers,
        repair_interval,
        state_transfer_timeout,
        tombstone_life,
        max_skew,
        replicate,
    } = replication;
    note("replication.mode", *mode != new.replication.mode, at_next_start);
    note(
        "replication.max_skew",
        *max_skew != new.replication.max_skew,
        at_next_start,
    );
    note(
        "replication.compress",
        *compress != new.replication.compress,
        at_next_start,
    );
    note(
        "replication.links",
        *links != new.replication.links,
        at_next_start,
    );
    note("replication.ack", *ack != new.replication.ack, at_once);
    note(
        "replication.ack_timeout",
        *ack_timeout != new.replication.ack_timeout,
        at_once,
    );
    note(
        "replication.queue_bytes",
        *queue_bytes != new.replication.queue_bytes,
        at_next_start,
    );
    note(
        "replication.donor_transfers",
        *donor_transfers != new.replication.donor_transfers,
        at_next_start,
    );
    note(
        "replication.repair_interval",
        *repair_interval != new.replication.repair_interval,
        at_next_start,
    );
    note(
        "replication.state_transfer_timeout",
        *state_transfer_timeout != new.replication.state_transfer_timeout,
        at_once,
    );

    note(
        "replication.replicate",
        *replicate != new.replication.replicate,
        at_once,
    );
    note(
        "replication.tombstone_life",
        *tombstone_life != new.replication.tombstone_life,
        at_next_start,
    );

    let SessionConfig {
        max_inactive,
        max_active,
        expire_on_shutdown,
        touch_interval,
        rename_forward,
    } = session;
    note(
        "session.max_inactive",
        *max_inactive != new.session.max_inactive,
        at_once,
    );
    note(
        "session.max_active",
        *max_active != new.session.max_active,
        at_once,
    );
    note(
        "session.expire_on_shutdown",
        *expire_on_shutdown != new.session.expire_on_shutdown,
        at_once,
    );
    note(
        "session.touch_interval",
        *touch_interval != new.session.touch_interval,
        at_once,
    );
    note(
        "session.rename_forward",
        *rename_forward != new.session.rename_forward,
        at_once,
    );

    let LogConfig { level } = log;
    note("log.level", *level != new.log.level, at_once);
    found
}

impl Config {
    /// Takes over from `new` what takes effect at once. See [`changes`].
    pub fn adopt(&mut self, new: &Self) {
        self.listen.api_token.clone_from(&new.listen.api_token);
        self.tls.clone_from(&new.tls);
        self.replication.ack = new.replication.ack;
        self.replication.replicate.clone_from(&new.replication.replicate);
        self.replication.ack_timeout = new.replication.ack_timeout;
        self.replication.state_transfer_timeout = new.replication.state_transfer_timeout;
        self.session = new.session.clone();
        self.log = new.log;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::resolve::tests::{GOOD, folder};

    fn config(more: &str) -> Config {
        Config::parse(&format!("{GOOD}{more}"), folder()).unwrap()
    }

    #[test]
    fn every_difference_is_named_with_when_it_counts() {
        let old = config("");
        assert_eq!(changes(&old, &old), []);
        let new = config(
            r#"
            [membership]
            seeds = ["10.0.0.9:4000"]
            [replication]
            ack_timeout = "1s"
            [session]
            max_active = 7
            [log]
            level = "debug"
            [[worker]]
            route = "w"
            url = "http://10.0.0.1"
            "#,
        );
        let found: Vec<_> = changes(&old, &new)
            .into_iter()
            .map(|change| (change.key, change.at_once))
            .collect();
        let expected = [
            ("worker", false),
            ("membership.seeds", false),
            ("replication.ack_timeout", true),
            ("session.max_active", true),
            ("log.level", true),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn what_was_adopted_is_no_change_any_more_and_the_rest_stays_one() {
        let mut running = config("");
        let new = config("[session]\nmax_active = 7\n[replication]\nqueue_bytes = \"1MiB\"");
        running.adopt(&new);
        let left = changes(&running, &new);
        assert!(left.iter().all(|change| !change.at_once), "{left:?}");
        assert_eq!(left.len(), 1, "{left:?}");
    }
}
