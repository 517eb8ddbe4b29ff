//! Mutual TLS 1.3 between nodes: both sides present a certificate that the cluster's CA signed and that is not expired.
//!
//! Which node a certificate is for is in [`super::identity`]. Host names and addresses play no part, so a node may move.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, ServerConfig,
    SignatureScheme,
};

use super::hint_signature::HintSigner;
use super::identity::{self, CertifiedNode};

/// The server name in the handshake; it selects nothing.
pub const SERVER_NAME: &str = "limpet";

/// Where the certificates lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The cluster's CA.
    pub ca: PathBuf,
    /// This node's certificate.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// Both sides of a node's TLS.
#[derive(Debug, Clone)]
pub struct Tls {
    /// For links others make.
    pub server: Arc<ServerConfig>,
    /// For links this node makes.
    pub client: Arc<ClientConfig>,
    /// For discovery hints.
    pub hint_signer: Arc<HintSigner>,
    /// How long links made with it last.
    pub renewal: Renewal,
    credentials: Arc<Credentials>,
}

/// When links are made again, so that both sides present their certificates again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Renewal {
    /// Within this time after certificates were replaced.
    pub within: Duration,
    /// At this age at the latest.
    pub max_age: Duration,
}

impl Default for Renewal {
    fn default() -> Self {
        Self {
            within: Duration::from_secs(60),
            max_age: Duration::from_secs(24 * 3600),
        }
    }
}

/// What one node presents to another, and verifies it with.
#[derive(Debug, PartialEq, Eq)]
struct Credentials {
    authorities: Vec<CertificateDer<'static>>,
    chain: Vec<CertificateDer<'static>>,
}

/// What is wrong with a file, and the key under `[tls]` that names it. The operator can correct it; nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct TlsError {
    /// The key: `ca`, `cert` or `key`.
    pub key: &'static str,
    path: PathBuf,
    problem: String,
}

impl Tls {
    /// Reads the files, and makes sure that they fit each other and that the certificate is the one of `own`.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn load(files: &TlsFiles, own: &CertifiedNode) -> Result<Self, TlsError> {
        let at = |key, path: &PathBuf, problem: &dyn ToString| TlsError {
            key,
            path: path.clone(),
            problem: problem.to_string(),
        };
        let ca = |problem: &dyn ToString| at("ca", &files.ca, problem);
        let cert = |problem: &dyn ToString| at("cert", &files.cert, problem);
        let certificates = |path: &PathBuf| -> Result<Vec<CertificateDer<'static>>, String> {
            let read = CertificateDer::pem_file_iter(path).map_err(|e| e.to_string())?;
            let all: Vec<_> = read.collect::<Result<_, _>>().map_err(|e| e.to_string())?;
            if all.is_empty() {
                Err("holds no certificate".into())
            } else {
                Ok(all)
            }
        };
        let mut roots = RootCertStore::empty();
        let authorities = certificates(&files.ca).map_err(|e| ca(&e))?;
        for authority in &authorities {
            roots.add(authority.clone()).map_err(|e| ca(&e))?;
        }
        let chain = certificates(&files.cert).map_err(|e| cert(&e))?;
        let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|e| at("key", &files.key, &e))?;
        let found = identity::of_cluster(Some(&chain), &own.cluster).map_err(|e| cert(&e))?;
        if found.node != own.node {
            return Err(cert(&format!(
                "it names node {}, and node.id is {}",
                found.node, own.node
            )));
        }

        let provider = Arc::new(ring::default_provider());
        let first = chain
            .first()
            .cloned()
            .ok_or_else(|| cert(&"holds no certificate"))?;
        let hint_signer = HintSigner::new(first, key.clone_key(), roots.clone(), &provider)
            .map_err(|e| at("key", &files.key, &e))?;
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots.clone()), provider.clone())
            .build()
            .map_err(|e| ca(&e))?;
        let mut server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|e| cert(&e))?
            .with_client_cert_verifier(clients)
            .with_single_cert(chain.clone(), key.clone_key())
            .map_err(|e| cert(&e))?;
        server.send_tls13_tickets = 0; // links are few and long; nothing to resume
        let verifier = Arc::new(AnyNodeOfTheCa {
            roots,
            algorithms: algorithms(&provider),
        });
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|e| cert(&e))?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_auth_cert(chain.clone(), key)
            .map_err(|e| cert(&e))?;
        client.resumption = rustls::client::Resumption::disabled();
        Ok(Self {
            server: Arc::new(server),
            client: Arc::new(client),
            hint_signer: Arc::new(hint_signer),
            renewal: Renewal::default(),
            credentials: Arc::new(Credentials { authorities, chain }),
        })
    }

    /// The same, for links that last as `renewal` says.
    #[must_use]
    pub const fn renewing(mut self, renewal: Renewal) -> Self {
        self.renewal = renewal;
        self
    }

    /// Whether links made with `other` would present and accept the same certificates.
    #[must_use]
    pub fn has_same_credentials_as(&self, other: &Self) -> bool {
        self.credentials == other.credentials
    }
}

fn algorithms(provider: &CryptoProvider) -> WebPkiSupportedAlgorithms {
    provider.signature_verification_algorithms
}

/// Accepts a server with any certificate of the CA that is not expired. Which node it is is checked after the handshake,
/// by its SAN URI.
#[derive(Debug)]
struct AnyNodeOfTheCa {
    roots: RootCertStore,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for AnyNodeOfTheCa {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        verify_server_cert_signed_by_trust_anchor(
            &certificate,
            &self.roots,
            intermediates,
            now,
            self.algorithms.all,
        )?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::InvalidCertificate(
            CertificateError::ApplicationVerificationFailure,
        )) // TLS 1.3 only
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
