//! Signatures of discovery hints, which are sent outside of TLS: made with the key of a node's certificate.
//!
//! A signature proves which node of the cluster made the hint, and nothing about when or for whom. What a hint says is
//! in [`crate::membership`].

use std::sync::Arc;

use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::SigningKey;
use rustls::{RootCertStore, SignatureScheme};

use super::identity::{self, CertifiedNode};

/// A signature, and what it was made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HintSignature {
    /// The certificate, in DER.
    pub certificate: Vec<u8>,
    /// The scheme, by its number in TLS.
    pub scheme: u16,
    /// The signature.
    pub signature: Vec<u8>,
}

/// Signs as this node, and verifies what others signed.
#[derive(Debug)]
pub struct HintSigner {
    certificate: CertificateDer<'static>,
    key: Arc<dyn SigningKey>,
    roots: RootCertStore,
    algorithms: WebPkiSupportedAlgorithms,
}

impl HintSigner {
    /// Signs with `certificate` and its `key`, and trusts certificates that `roots` signed.
    ///
    /// # Errors
    /// When the key is of no kind that can sign.
    pub(super) fn new(
        certificate: CertificateDer<'static>,
        key: PrivateKeyDer<'static>,
        roots: RootCertStore,
        provider: &CryptoProvider,
    ) -> Result<Self, rustls::Error> {
        Ok(Self {
            certificate,
            key: provider.key_provider.load_private_key(key)?,
            roots,
            algorithms: provider.signature_verification_algorithms,
        })
    }

    /// Signs `message`. `None` when the key refuses.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Option<HintSignature> {
        let signer = self.key.choose_scheme(&self.algorithms.supported_schemes())?;
        Some(HintSignature {
            certificate: self.certificate.to_vec(),
            scheme: signer.scheme().into(),
            signature: signer.sign(message).ok()?,
        })
    }

    /// The node that signed `message`; `None` unless its certificate is the CA's and not expired.
    #[must_use]
    pub fn verify(&self, message: &[u8], signed_hint: &HintSignature) -> Option<CertifiedNode> {
        let certificate = CertificateDer::from(signed_hint.certificate.as_slice());
        let parsed = ParsedCertificate::try_from(&certificate).ok()?;
        let (roots, now) = (&self.roots, UnixTime::now());
        verify_server_cert_signed_by_trust_anchor(&parsed, roots, &[], now, self.algorithms.all).ok()?;
        let key = webpki::EndEntityCert::try_from(&certificate).ok()?;
        let scheme = SignatureScheme::from(signed_hint.scheme);
        let (_, algorithms) = self
            .algorithms
            .mapping
            .iter()
            .find(|(known, _)| *known == scheme)?;
        let signed = |algorithm| {
            key.verify_signature(algorithm, message, &signed_hint.signature)
                .is_ok()
        };
        if !algorithms.iter().any(|algorithm| signed(*algorithm)) {
            return None;
        }
        identity::certified(&certificate).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::tls::{Tls, TlsFiles};

    /// The signer of `node` of a cluster `shop` with a CA of its own, called `ca`.
    fn hint_signer(ca: &str, node: &str) -> Arc<HintSigner> {
        let folder = std::env::temp_dir().join(format!("limpet-hint-{ca}-{}", std::process::id()));
        if !folder.exists() {
            crate::pki::init(&folder, "shop").unwrap();
        }
        crate::pki::issue(&folder, node, &[]).unwrap();
        let files = TlsFiles {
            ca: folder.join("ca.pem"),
            cert: folder.join(format!("{node}.pem")),
            key: folder.join(format!("{node}.key")),
        };
        let own = CertifiedNode {
            cluster: "shop".into(),
            node: node.into(),
        };
        Tls::load(&files, &own).unwrap().hint_signer
    }

    #[test]
    fn only_the_key_of_a_node_of_the_cluster_signs_for_it() {
        let folders = ["ours", "theirs"]
            .map(|ca| std::env::temp_dir().join(format!("limpet-hint-{ca}-{}", std::process::id())));
        for folder in &folders {
            let _ = std::fs::remove_dir_all(folder); // left behind by a process of the same number
        }
        let (a, b, stranger) = (
            hint_signer("ours", "a"),
            hint_signer("ours", "b"),
            hint_signer("theirs", "b"),
        );
        for folder in &folders {
            std::fs::remove_dir_all(folder).unwrap();
        }

        let signed_hint = b.sign(b"here I am").unwrap();
        let who = a.verify(b"here I am", &signed_hint).unwrap();
        assert_eq!((who.cluster.as_str(), who.node.as_str()), ("shop", "b"));
        assert_eq!(
            a.verify(b"there I am", &signed_hint),
            None,
            "something else was signed"
        );
        assert_eq!(
            a.verify(b"here I am", &stranger.sign(b"here I am").unwrap()),
            None,
            "another CA"
        );
        let stolen = HintSignature {
            certificate: a.sign(b"").unwrap().certificate,
            ..signed_hint.clone()
        };
        assert_eq!(
            a.verify(b"here I am", &stolen),
            None,
            "not the key of that certificate"
        );
        for scheme in [0, 0x0804, 0x0807, u16::MAX] {
            let other = HintSignature {
                scheme,
                ..signed_hint.clone()
            };
            assert_eq!(a.verify(b"here I am", &other), None, "another scheme");
        }
        let garbled = HintSignature {
            certificate: signed_hint.certificate[1..].to_vec(),
            ..signed_hint
        };
        assert_eq!(a.verify(b"here I am", &garbled), None);
    }
}
