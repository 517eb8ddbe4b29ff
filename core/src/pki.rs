//! `limpet-core pki`: a CA for one cluster and certificates for its nodes, as files.
//!
//! Keys are P-256. The CA is constrained to sign end-entity certificates only; a node's certificate is good for
//! both sides of a link. Deliberately small: an operator with a PKI of their own needs only the SAN URI.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};

use crate::base::id::NodeId;
use crate::net::identity;

const CA_CERT: &str = "ca.pem";
const CA_KEY: &str = "ca.key";

/// Why nothing was issued.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A file is in the way, missing, or cannot be read or written.
    #[error("{}: {problem}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A name that cannot be one.
    #[error("{0}")]
    Name(String),
    /// The certificate could not be made.
    #[error("making the certificate: {0}")]
    Rcgen(#[from] rcgen::Error),
}

/// Makes the CA of `cluster` in `dir`. Never replaces one that is there.
///
/// # Errors
/// See [`PkiError`].
pub fn init(dir: &Path, cluster: &str) -> Result<(), PkiError> {
    NodeId::parse(cluster).map_err(|_| PkiError::Name(format!("{cluster}: not a valid cluster name")))?;
    std::fs::create_dir_all(dir).map_err(|e| at(dir, e))?;
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.distinguished_name = named(&format!("limpet cluster {cluster}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.subject_alt_names = vec![SanType::URI(format!("limpet://{cluster}").try_into()?)];
    let certificate = params.self_signed(&key)?;
    write_new(&dir.join(CA_KEY), &key.serialize_pem(), 0o600)?;
    write_new(&dir.join(CA_CERT), &certificate.pem(), 0o644)
}

/// Issues the certificate of `node`, signed by the CA in `dir`, for the cluster the CA was made for.
///
/// # Errors
/// See [`PkiError`].
pub fn issue(dir: &Path, node: &str, ips: &[IpAddr]) -> Result<(), PkiError> {
    NodeId::parse(node).map_err(|e| PkiError::Name(e.to_string()))?;
    let ca_pem = read(&dir.join(CA_CERT))?;
    let ca_key = KeyPair::from_pem(&read(&dir.join(CA_KEY))?)?;
    let cluster =
        cluster_of(&ca_pem).ok_or_else(|| at(&dir.join(CA_CERT), "not made by `limpet-core pki init`"))?;
    let issuer = Issuer::from_ca_cert_pem(&ca_pem, ca_key)?;
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.distinguished_name = named(node);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params.subject_alt_names = vec![SanType::URI(identity::uri(&cluster, node).try_into()?)];
    params
        .subject_alt_names
        .extend(ips.iter().map(|ip| SanType::IpAddress(*ip)));
    params.use_authority_key_identifier_extension = true;
    let certificate = params.signed_by(&key, &issuer)?;
    write_new(&dir.join(format!("{node}.key")), &key.serialize_pem(), 0o600)?;
    write_new(&dir.join(format!("{node}.pem")), &certificate.pem(), 0o644)
}

fn cluster_of(ca_pem: &str) -> Option<String> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;
    use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};
    let der = CertificateDer::from_pem_slice(ca_pem.as_bytes()).ok()?;
    let (_, parsed) = X509Certificate::from_der(&der).ok()?;
    let names = parsed.subject_alternative_name().ok()??;
    names.value.general_names.iter().find_map(|name| match name {
        GeneralName::URI(uri) => uri.strip_prefix("limpet://").map(str::to_owned),
        _ => None,
    })
}

fn named(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

fn read(path: &Path) -> Result<String, PkiError> {
    std::fs::read_to_string(path).map_err(|e| at(path, e))
}

/// Writes a file that is not there yet; a private one is never readable by others, not even for a moment.
fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), PkiError> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .map_err(|e| at(path, e))?;
    file.write_all(text.as_bytes()).map_err(|e| at(path, e))
}

fn at(path: &Path, problem: impl ToString) -> PkiError {
    PkiError::File {
        path: path.to_owned(),
        problem: problem.to_string(),
    }
}
