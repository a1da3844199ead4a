//! Who one is: a chain of certificates and the key to the first of them; and what can be wrong with that.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, InconsistentKeys, RootCertStore};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use super::provider::Provider;
use crate::reason::{CertificateFault, describe};

/// A configuration cannot be had. It prints as one line that names the file, if there is one:
/// `cert.pem: no certificate in it`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    subject: String,
    what: String,
}

impl ConfigError {
    pub(super) fn new(subject: impl Into<String>, what: impl fmt::Display) -> Self {
        Self { subject: subject.into(), what: what.to_string() }
    }

    /// The file, or what else it is about.
    pub fn subject(&self) -> &str {
        &self.subject
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.what)
    }
}

impl std::error::Error for ConfigError {}

/// Who one is: a chain of certificates, one's own first, and the key to that, ECDSA, RSA or Ed25519.
///
/// ```no_run
/// use reactor::tls::Identity;
///
/// let identity = Identity::from_files("cert.pem", "key.pem")?;
/// # Ok::<(), reactor::tls::ConfigError>(())
/// ```
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    /// Where the certificates and the key are from.
    from: (String, String),
}

impl Identity {
    /// Of two files in PEM. Other things in them are passed over.
    ///
    /// # Errors
    /// The file, and what is wrong with it. Whether the two belong together is found out by who uses them.
    pub fn from_files(
        certificates: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> Result<Self, ConfigError> {
        let (certificates, key) = (certificates.as_ref(), key.as_ref());
        let from = (certificates.display().to_string(), key.display().to_string());
        Self::read(&read(certificates)?, &read(key)?, from)
    }

    /// Of two texts in PEM, which may be the same.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> Result<Self, ConfigError> {
        Self::read(certificates, key, ("the certificate".to_owned(), "the key".to_owned()))
    }

    fn read(certificates: &[u8], key: &[u8], from: (String, String)) -> Result<Self, ConfigError> {
        let chain = certificates_in(certificates, &from.0)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
            pem::Error::NoItemsFound => ConfigError::new(&from.1, "no private key in it"),
            error => ConfigError::new(&from.1, error),
        })?;
        Ok(Self { chain, key, from })
    }

    /// What speaks against its certificate today: it has expired, or is not valid yet. (All other checks are the
    /// peer's.) A server that starts nevertheless serves nobody who looks.
    pub fn fault_of_date(&self, provider: &Provider) -> Option<CertificateFault> {
        let (leaf, issuers) = self.chain.split_first()?;
        let mut roots = RootCertStore::empty();
        roots.add(self.chain.last()?.clone()).ok()?;
        let crypto = provider.crypto.clone();
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), crypto).build().ok()?;
        let name = ServerName::try_from("localhost").ok()?;
        // Dates are looked at first; what is said of anything else is of no interest here.
        let verdict = verifier.verify_server_cert(leaf, issuers, &name, &[], UnixTime::now());
        match verdict.err() {
            Some(rustls::Error::InvalidCertificate(
                CertificateError::Expired | CertificateError::ExpiredContext { .. },
            )) => Some(CertificateFault::Expired),
            Some(rustls::Error::InvalidCertificate(
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
            )) => Some(CertificateFault::NotYetValid),
            _ => None,
        }
    }

    /// The certificates, and their key ready for use.
    pub(super) fn certified(self, provider: &Provider) -> Result<CertifiedKey, ConfigError> {
        let Self { chain, key, from } = self;
        CertifiedKey::from_der(chain, key, &provider.crypto).map_err(|error| match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                ConfigError::new(&from.1, format!("it is not the key to {}", from.0))
            }
            rustls::Error::InvalidCertificate(_) => ConfigError::new(&from.0, error),
            error => ConfigError::new(&from.1, error),
        })
    }

    pub(super) fn into_parts(
        self,
    ) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>, (String, String)) {
        (self.chain, self.key, self.from)
    }
}

impl Clone for Identity {
    fn clone(&self) -> Self {
        let Self { chain, key, from } = self;
        Self { chain: chain.clone(), key: key.clone_key(), from: from.clone() }
    }
}

impl fmt::Debug for Identity {
    /// Not the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({} certificates from {})", self.chain.len(), self.from.0)
    }
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, ConfigError> {
    std::fs::read(path)
        .map_err(|error| ConfigError::new(path.display().to_string(), describe(&error)))
}

/// All certificates in a text in PEM; there must be one.
pub(super) fn certificates_in(
    pem: &[u8],
    from: &str,
) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let all: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| ConfigError::new(from, error))?;
    match all.is_empty() {
        true => Err(ConfigError::new(from, "no certificate in it")),
        false => Ok(all),
    }
}

/// Those that are trusted, in a text in PEM.
pub(super) fn roots_in(pem: &[u8], from: &str) -> Result<RootCertStore, ConfigError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates_in(pem, from)? {
        roots.add(certificate).map_err(|error| ConfigError::new(from, error))?;
    }
    Ok(roots)
}
