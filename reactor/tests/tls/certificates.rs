//! An authority, and who it has signed.

use std::sync::{Arc, OnceLock};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SignatureAlgorithm,
};
use reactor::tls::{Client, Identity, Provider, Server};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};

/// The name that everybody's certificate is good for.
pub(crate) const NAME: &str = "localhost";

pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// The one that everybody trusts.
pub(crate) fn authority() -> &'static Authority {
    static AUTHORITY: OnceLock<Authority> = OnceLock::new();
    AUTHORITY.get_or_init(|| Authority::new("an authority"))
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer }
    }

    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    pub(crate) fn der(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }

    /// A certificate and its key, both in PEM.
    pub(crate) fn signs(
        &self,
        names: &[&str],
        algorithm: &'static SignatureAlgorithm,
        change: impl FnOnce(&mut CertificateParams),
    ) -> (String, String) {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        let key = KeyPair::generate_for(algorithm).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem() + &self.pem(), key.serialize_pem())
    }

    pub(crate) fn identity(&self, names: &[&str]) -> Identity {
        let (certificate, key) = self.signs(names, &rcgen::PKCS_ECDSA_P256_SHA256, |_| {});
        Identity::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap()
    }
}

pub(crate) fn provider() -> Provider {
    Provider::aws_lc()
}

/// A server with a certificate for [`NAME`].
pub(crate) fn server() -> Server {
    Answer::default().server()
}

/// How a server answers.
#[derive(Default)]
pub(crate) struct Answer {
    pub(crate) alpn: &'static [&'static str],
}

impl Answer {
    fn pem() -> &'static (String, String) {
        static PEM: OnceLock<(String, String)> = OnceLock::new();
        PEM.get_or_init(|| {
            authority().signs(&[NAME, "127.0.0.1"], &rcgen::PKCS_ECDSA_P256_SHA256, |_| {})
        })
    }

    /// One of ours.
    pub(crate) fn server(&self) -> Server {
        let (certificate, key) = Self::pem();
        let identity = Identity::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap();
        let builder = Server::builder(&provider(), identity);
        builder.alpn(self.alpn.iter().copied()).build().unwrap()
    }

    /// One by hand.
    pub(crate) fn config(&self, versions: &[&'static SupportedProtocolVersion]) -> ServerConfig {
        let (certificate, key) = Self::pem();
        let chain = CertificateDer::pem_slice_iter(certificate.as_bytes())
            .collect::<Result<_, _>>()
            .unwrap();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_no_client_auth();
        let mut config = builder.with_single_cert(chain, key).unwrap();
        config.alpn_protocols = self.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }
}

/// A client of our own that trusts the authority.
pub(crate) fn client() -> Client {
    Client::builder(&provider())
        .without_system_roots()
        .trust_pem(authority().pem())
        .build()
        .unwrap()
}

pub(crate) static BOTH: [&SupportedProtocolVersion; 2] =
    [&rustls::version::TLS12, &rustls::version::TLS13];

pub(crate) fn roots() -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(authority().der()).unwrap();
    Arc::new(roots)
}

/// A client by hand that speaks this version alone.
pub(crate) fn speaking(version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots())
        .with_no_client_auth();
    Arc::new(config)
}
