//! How an outgoing connection speaks TLS.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::identity::{ConfigError, Identity, certificates_in, read};
use super::provider::Provider;

/// How outgoing connections speak TLS: for [`Connect::tls`](crate::Connect::tls). Clones are the same, and share
/// the sessions that they may resume: in memory, of the last 256 servers.
///
/// It is built here, or made `From` a whole `Arc<rustls::ClientConfig>` of your own.
///
/// ```
/// use reactor::Connect;
/// use reactor::tls::{Client, Provider};
///
/// # #[cfg(feature = "tls-aws-lc")] {
/// # let pem = Vec::new();
/// // Whom the system trusts; or, with one's own authority alone:
/// let client = Client::builder(&Provider::default()).without_system_roots().trust_pem(pem);
/// # }
/// # fn connect(client: Client) {
/// let connect = Connect::to("10.0.0.7:9443").tls(client).server_name("example.test");
/// # }
/// ```
#[derive(Clone)]
pub struct Client(Arc<ClientConfig>);

impl Client {
    /// One that trusts whom the system trusts, and shows no certificate.
    pub fn builder(provider: &Provider) -> ClientBuilder {
        ClientBuilder {
            provider: provider.clone(),
            system_roots: true,
            trusted: Vec::new(),
            trusts_anyone: false,
            identity: None,
            alpn: Vec::new(),
        }
    }

    pub(crate) fn config(&self) -> Arc<ClientConfig> {
        self.0.clone()
    }
}

impl From<Arc<ClientConfig>> for Client {
    fn from(config: Arc<ClientConfig>) -> Self {
        Self(config)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

/// What a [`Client`] is built from.
#[derive(Clone, Debug)]
pub struct ClientBuilder {
    provider: Provider,
    system_roots: bool,
    /// Texts in PEM, and where they are from.
    trusted: Vec<(Vec<u8>, String)>,
    trusts_anyone: bool,
    identity: Option<Identity>,
    alpn: Vec<Vec<u8>>,
}

impl ClientBuilder {
    /// Does not trust whom the system trusts, but only those that are named here.
    pub fn without_system_roots(mut self) -> Self {
        self.system_roots = false;
        self
    }

    /// Trusts the authorities in this text, in PEM, too.
    pub fn trust_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.trusted.push((pem.into(), "the certificates of the authority".to_owned()));
        self
    }

    /// Trusts the authorities in this file, in PEM, too.
    ///
    /// # Errors
    /// The file, and why it cannot be read.
    pub fn trust_file(mut self, path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        self.trusted.push((read(path)?, path.display().to_string()));
        Ok(self)
    }

    /// Shows this to a server that asks for a certificate.
    pub fn identity(mut self, identity: Identity) -> Self {
        self.identity = Some(identity);
        self
    }

    /// The application protocols that are offered, the dearest first.
    pub fn alpn<P: Into<Vec<u8>>>(mut self, protocols: impl IntoIterator<Item = P>) -> Self {
        self.alpn = protocols.into_iter().map(Into::into).collect();
        self
    }

    /// **Verifies nothing.** Anybody who stands between may read and change everything: the certificate may be
    /// anybody's, for any name, of any date. For experiments on one machine.
    pub fn dangerously_trust_anyone(mut self) -> Self {
        self.trusts_anyone = true;
        self
    }

    /// The whole of it. With the system's authorities this reads files, the first time.
    ///
    /// # Errors
    /// The file, or what else does not fit, and why. Nobody to trust at all is an error too.
    pub fn build(self) -> Result<Client, ConfigError> {
        let verifier = self.verifier()?;
        let Self { provider, identity, alpn, .. } = self;
        let builder = ClientConfig::builder_with_provider(provider.crypto)
            .with_safe_default_protocol_versions()
            .map_err(|error| ConfigError::new("the provider", error))?
            .dangerous() // rustls's word for: by a verifier that is passed to it
            .with_custom_certificate_verifier(verifier);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let (chain, key, from) = identity.into_parts();
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|error| ConfigError::new(from.1, error))?
            }
        };
        config.alpn_protocols = alpn;
        Ok(Client::from(Arc::new(config)))
    }

    fn verifier(&self) -> Result<Arc<dyn ServerCertVerifier>, ConfigError> {
        let crypto = self.provider.crypto.clone();
        if self.trusts_anyone {
            return Ok(Arc::new(Anyone(crypto)));
        }
        let mut trusted = Vec::new();
        for (pem, from) in &self.trusted {
            trusted.extend(certificates_in(pem, from)?);
        }
        if self.system_roots {
            return rustls_platform_verifier::Verifier::new_with_extra_roots(trusted, crypto)
                .map(|verifier| Arc::new(verifier) as _)
                .map_err(|error| ConfigError::new("the system's certificates", error));
        }
        let mut roots = RootCertStore::empty();
        for certificate in trusted {
            roots
                .add(certificate)
                .map_err(|error| ConfigError::new("a trusted certificate", error))?;
        }
        match WebPkiServerVerifier::builder_with_provider(Arc::new(roots), crypto).build() {
            Ok(verifier) => Ok(verifier),
            Err(error) => Err(ConfigError::new("the trusted certificates", error)),
        }
    }
}

/// Takes any certificate; but who shows it must have the key to it.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
