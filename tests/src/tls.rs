//! A client of a core's cluster port with whatever certificate a test wants to show, valid or not.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{CertificateParams, DnType, Issuer, KeyPair, SanType, date_time_ymd};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::pki::Pki;

/// A certificate chain and its key, in PEM.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The certificate.
    pub cert: String,
    /// Its key.
    pub key: String,
}

impl Identity {
    /// What `limpet-core pki issue` made for a node.
    #[must_use]
    pub fn issued(pki: &Pki, node: &str) -> Self {
        Self {
            cert: pki.read(&format!("{node}.pem")),
            key: pki.read(&format!("{node}.key")),
        }
    }

    /// A certificate signed by the CA of `pki` that says `uri`, valid in `years` (from, until).
    #[must_use]
    pub fn signed(pki: &Pki, uri: &str, years: (i32, i32)) -> Self {
        Self::made(pki, uri, |params| {
            params.not_before = date_time_ymd(years.0, 1, 1);
            params.not_after = date_time_ymd(years.1, 1, 1);
        })
    }

    /// A certificate signed by the CA of `pki` that says `uri` and is over at `end`, to the second.
    #[must_use]
    pub fn ending(pki: &Pki, uri: &str, end: SystemTime) -> Self {
        let since_1970 = end.duration_since(UNIX_EPOCH).expect("after 1970");
        Self::made(pki, uri, |params| {
            params.not_after = date_time_ymd(1970, 1, 1) + Duration::from_secs(since_1970.as_secs());
        })
    }

    fn made(pki: &Pki, uri: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let ca_key = KeyPair::from_pem(&pki.read("ca.key")).expect("the CA's key");
        let ca = Issuer::from_ca_cert_pem(&pki.read("ca.pem"), ca_key).expect("the CA's certificate");
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("a name");
        params
            .distinguished_name
            .push(DnType::CommonName, "made by a test");
        params
            .subject_alt_names
            .push(SanType::URI(uri.try_into().expect("ASCII")));
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let cert = params.signed_by(&key, &ca).expect("a certificate");
        Self {
            cert: cert.pem(),
            key: key.serialize_pem(),
        }
    }
}

/// How a core took a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reception {
    /// It let the client in and keeps the connection.
    Open,
    /// It ended the connection, in the handshake or right after; the client's view of why.
    Refused(String),
}

/// Connects to `addr` as `identity`, trusting the CA of `pki`.
///
/// # Errors
/// Whatever the handshake says.
pub async fn connect(
    addr: &str,
    pki: &Pki,
    identity: Option<&Identity>,
    versions: &[&'static SupportedProtocolVersion],
) -> io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_slice(pki.read("ca.pem").as_bytes()).expect("the CA's certificate");
    roots.add(ca).expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .expect("versions ring knows")
        .with_root_certificates(roots);
    let config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let cert = CertificateDer::from_pem_slice(identity.cert.as_bytes()).expect("a certificate");
            let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect("a key");
            builder
                .with_client_auth_cert(vec![cert], key)
                .expect("a key for the certificate")
        }
    };
    let stream = TcpStream::connect(addr).await?;
    let name = ServerName::try_from("127.0.0.1").expect("an address");
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// Connects and waits to see whether the connection stays: TLS 1.3 tells a client about its certificate only after
/// its own handshake is complete.
pub async fn reception(
    addr: &str,
    pki: &Pki,
    identity: Option<&Identity>,
    versions: &[&'static SupportedProtocolVersion],
    patience: Duration,
) -> Reception {
    let mut stream = match connect(addr, pki, identity, versions).await {
        Ok(stream) => stream,
        Err(e) => return Reception::Refused(e.to_string()),
    };
    let mut buffer = [0; 1024];
    let reading = async {
        loop {
            match stream.read(&mut buffer).await {
                Ok(0) => return "closed".to_owned(),
                Ok(_) => {}
                Err(e) => return e.to_string(),
            }
        }
    };
    match tokio::time::timeout(patience, reading).await {
        Ok(reason) => Reception::Refused(reason),
        Err(_) => Reception::Open,
    }
}
