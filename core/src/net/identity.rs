//! The identity in a certificate: the SAN URI `limpet://<cluster>/node/<id>`.
//!
//! Whether the certificate is the CA's and its time is not over is checked before, by [`super::tls`].

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// The identity in a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertifiedNode {
    /// The cluster it belongs to.
    pub cluster: String,
    /// The node.
    pub node: String,
}

/// Why a certificate that the CA signed does not name a node of this cluster. The link is refused; whoever issued the
/// certificate can correct it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// No certificate was presented.
    #[error("the peer presented no certificate")]
    NoCertificate,
    /// It is no X.509 certificate.
    #[error("the certificate is no readable X.509 certificate")]
    Unreadable,
    /// It names no node.
    #[error(
        "the certificate names no node: a SAN URI limpet://<cluster>/node/<id> is missing; issue one with `limpet-core pki issue`"
    )]
    NoName,
    /// It is of another cluster.
    #[error("the certificate is of cluster {found}, and this is cluster {expected}")]
    OtherCluster {
        /// The certificate's cluster.
        found: String,
        /// This cluster.
        expected: String,
    },
}

/// The URI that names `node` of `cluster`.
#[must_use]
pub fn uri(cluster: &str, node: &str) -> String {
    format!("limpet://{cluster}/node/{node}")
}

/// The node `certificate` names.
///
/// # Errors
/// See [`IdentityError`].
pub fn certified(certificate: &CertificateDer<'_>) -> Result<CertifiedNode, IdentityError> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| IdentityError::Unreadable)?;
    let names = parsed
        .subject_alternative_name()
        .map_err(|_| IdentityError::Unreadable)?;
    let uris = names
        .into_iter()
        .flat_map(|names| &names.value.general_names)
        .filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        });
    uris.filter_map(parse).next().ok_or(IdentityError::NoName)
}

fn parse(uri: &str) -> Option<CertifiedNode> {
    let (cluster, node) = uri.strip_prefix("limpet://")?.split_once("/node/")?;
    let whole = !cluster.is_empty() && !node.is_empty() && !cluster.contains('/') && !node.contains('/');
    whole.then(|| CertifiedNode {
        cluster: cluster.to_owned(),
        node: node.to_owned(),
    })
}

/// The node the first of `certificates` names, if it is of `cluster`.
///
/// # Errors
/// See [`IdentityError`].
pub fn of_cluster(
    certificates: Option<&[CertificateDer<'_>]>,
    cluster: &str,
) -> Result<CertifiedNode, IdentityError> {
    let first = certificates
        .and_then(<[_]>::first)
        .ok_or(IdentityError::NoCertificate)?;
    let node = certified(first)?;
    if node.cluster == cluster {
        Ok(node)
    } else {
        Err(IdentityError::OtherCluster {
            found: node.cluster,
            expected: cluster.to_owned(),
        })
    }
}

/// When the first of `certificates` expires. `None` when there are none, or one that cannot be read.
#[must_use]
pub fn not_after(certificates: &[CertificateDer<'_>]) -> Option<SystemTime> {
    let expiries = certificates.iter().map(|certificate| {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let seconds = u64::try_from(parsed.validity().not_after.timestamp()).ok()?;
        UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
    });
    expiries.min().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_names_are_names() {
        let node = CertifiedNode {
            cluster: "shop".into(),
            node: "a".into(),
        };
        assert_eq!(parse(&uri("shop", "a")), Some(node));
        for bad in [
            "limpet://shop/node/",
            "limpet:///node/a",
            "limpet://shop/a",
            "https://shop/node/a",
            "limpet://s/x/node/a",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
