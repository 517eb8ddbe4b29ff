//! What a node says outside of a link, vouched for by its certificate: signed with the certificate's key, which the
//! cluster's CA signed. It proves who spoke, and nothing about when or to whom.

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

/// Signs as this node, and judges what others signed.
#[derive(Debug)]
pub struct HintSigner {
    certificate: CertificateDer<'static>,
    key: Arc<dyn SigningKey>,
    roots: RootCertStore,
    algorithms: WebPkiSupportedAlgorithms,
}

impl HintSigner {
    /// Vouches with `certificate` and its `key`, and believes what `roots` signed.
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

    /// Who signed `message`; `None` unless it was somebody whose certificate the CA signed, whose time is not over.
    #[must_use]
    pub fn verify(&self, message: &[u8], vouched: &HintSignature) -> Option<CertifiedNode> {
        let certificate = CertificateDer::from(vouched.certificate.as_slice());
        let parsed = ParsedCertificate::try_from(&certificate).ok()?;
        let (roots, now) = (&self.roots, UnixTime::now());
        verify_server_cert_signed_by_trust_anchor(&parsed, roots, &[], now, self.algorithms.all).ok()?;
        let key = webpki::EndEntityCert::try_from(&certificate).ok()?;
        let scheme = SignatureScheme::from(vouched.scheme);
        let (_, algorithms) = self
            .algorithms
            .mapping
            .iter()
            .find(|(known, _)| *known == scheme)?;
        let signed = |algorithm| {
            key.verify_signature(algorithm, message, &vouched.signature)
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

    /// What `node` of a cluster `shop` with a CA of its own, called `ca`, would vouch with.
    fn hint_signer(ca: &str, node: &str) -> Arc<HintSigner> {
        let folder = std::env::temp_dir().join(format!("limpet-voucher-{ca}-{}", std::process::id()));
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
    fn a_signature_proves_who_spoke_and_nothing_else_does() {
        let folders = ["ours", "theirs"]
            .map(|ca| std::env::temp_dir().join(format!("limpet-voucher-{ca}-{}", std::process::id())));
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

        let vouched = b.sign(b"here I am").unwrap();
        let who = a.verify(b"here I am", &vouched).unwrap();
        assert_eq!((who.cluster.as_str(), who.node.as_str()), ("shop", "b"));
        assert_eq!(
            a.verify(b"there I am", &vouched),
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
            ..vouched.clone()
        };
        assert_eq!(
            a.verify(b"here I am", &stolen),
            None,
            "not the key of that certificate"
        );
        for scheme in [0, 0x0804, 0x0807, u16::MAX] {
            let other = HintSignature {
                scheme,
                ..vouched.clone()
            };
            assert_eq!(a.verify(b"here I am", &other), None, "another scheme");
        }
        let garbled = HintSignature {
            certificate: vouched.certificate[1..].to_vec(),
            ..vouched
        };
        assert_eq!(a.verify(b"here I am", &garbled), None);
    }
}
