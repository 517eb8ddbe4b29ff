//! The table `[tls]`: the certificates, loaded as the daemon will use them, and how long links last.

use std::path::Path;

use super::section::Section;
use crate::base::id::NodeId;
use crate::net::identity::CertifiedNode;
use crate::net::tls::{Renewal, Tls, TlsFiles};

/// The certificates, and how long a link may last without presenting them again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsConfig {
    /// Where they lie.
    pub files: TlsFiles,
    /// How long links last before certificates are presented again.
    pub renewal: Renewal,
}

pub(super) fn read(
    root: &mut Section,
    base: &Path,
    cluster: Option<&NodeId>,
    node: Option<&NodeId>,
) -> Option<TlsConfig> {
    let mut tls = root.section("tls");
    let files = files(&mut tls, base, cluster, node);
    let renewal = Renewal {
        within: tls.period("reauthenticate", 60_000, 0, 3_600_000),
        max_age: tls.period("max_link_age", 86_400_000, 1000, 30 * 86_400_000),
    };
    Some(TlsConfig {
        files: files?,
        renewal,
    })
}

fn files(
    tls: &mut Section,
    base: &Path,
    cluster: Option<&NodeId>,
    node: Option<&NodeId>,
) -> Option<TlsFiles> {
    let mut readable = true;
    let mut path = |key, example| {
        let path = base.join(tls.required(key, example)?);
        if let Err(error) = std::fs::File::open(&path) {
            tls.problem(key, format!("{}: {error}", path.display()));
            readable = false;
        }
        Some(path)
    };
    let (ca, cert, key) = (
        path("ca", "\"ca.pem\""),
        path("cert", "\"node1.pem\""),
        path("key", "\"node1.key\""),
    );
    let files = TlsFiles {
        ca: ca?,
        cert: cert?,
        key: key?,
    };
    let own = CertifiedNode {
        cluster: cluster?.to_string(),
        node: node?.to_string(),
    };
    if readable && let Err(error) = Tls::load(&files, &own) {
        tls.problem(error.key, &error);
    }
    Some(files)
}
