//! How a listener speaks TLS.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::server::{
    ClientHello, NoServerSessionStorage, ResolvesServerCert, ResolvesServerCertUsingSni,
    WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::DnsName;

use super::identity::{ConfigError, Identity, read, roots_in};
use super::provider::{Provider, Tickets};

/// How a listener speaks TLS: for [`Listen::tls`](crate::Listen::tls). Clones are the same, on any number of
/// listeners and loops: they share session tickets, and [`replace`](Self::replace) is for all of them.
///
/// It is built here, or made `From` a whole `Arc<rustls::ServerConfig>` of your own.
///
/// ```no_run
/// use reactor::Listen;
/// use reactor::tls::{Identity, Provider, Server};
///
/// # #[cfg(feature = "tls-aws-lc")] {
/// let provider = Provider::default();
/// let identity = Identity::from_files("cert.pem", "key.pem")?;
/// let server = Server::builder(&provider, identity).alpn(["h2", "http/1.1"]).build()?;
/// let listen = Listen::at("[::]:9443").tls(server.clone());
///
/// // Later: new files, for new connections.
/// let identity = Identity::from_files("cert.pem", "key.pem")?;
/// server.replace(&Server::builder(&provider, identity).build()?);
/// # }
/// # Ok::<(), reactor::tls::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct Server(Arc<RwLock<Arc<ServerConfig>>>);

impl Server {
    /// One that shows `identity` to everybody who does not ask for another by name.
    pub fn builder(provider: &Provider, identity: Identity) -> ServerBuilder {
        ServerBuilder {
            provider: provider.clone(),
            identity,
            named: Vec::new(),
            alpn: Vec::new(),
            clients: ClientCertificates::NotAskedFor,
            tickets: Tickets::new(provider),
        }
    }

    /// From now on, clients meet what `new` is at present; connections that stand are not touched. It is for all
    /// clones of this one, on all loops.
    pub fn replace(&self, new: &Server) {
        let config = new.current();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = config;
    }

    /// What a client that comes now meets.
    pub(crate) fn current(&self) -> Arc<ServerConfig> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl From<Arc<ServerConfig>> for Server {
    fn from(config: Arc<ServerConfig>) -> Self {
        Self(Arc::new(RwLock::new(config)))
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Server")
    }
}

/// Whether clients are asked for a certificate.
#[derive(Clone, Debug, Default)]
pub enum ClientCertificates {
    /// They are not. The default.
    #[default]
    NotAskedFor,
    /// Who has one that an authority in this PEM text has signed shows it; who has none may come too.
    Optional(Vec<u8>),
    /// Only who has one may come.
    Required(Vec<u8>),
}

impl ClientCertificates {
    /// Requires one that an authority in this file, in PEM, has signed.
    ///
    /// # Errors
    /// The file, and what is wrong with it.
    pub fn required_by_file(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let (pem, name) = (read(path.as_ref())?, path.as_ref().display().to_string());
        roots_in(&pem, &name)?;
        Ok(Self::Required(pem))
    }
}

/// What a [`Server`] is built from.
#[derive(Clone, Debug)]
pub struct ServerBuilder {
    provider: Provider,
    identity: Identity,
    named: Vec<(String, Identity)>,
    alpn: Vec<Vec<u8>>,
    clients: ClientCertificates,
    tickets: Option<Tickets>,
}

impl ServerBuilder {
    /// Shows `identity`, whose certificate must be good for it, to who asks for the server of this name (SNI).
    pub fn named(mut self, name: impl Into<String>, identity: Identity) -> Self {
        self.named.push((name.into(), identity));
        self
    }

    /// The application protocols that are spoken, the dearest first. A client that names some, and none of these,
    /// is turned away. Default: none, and whatever a client names is passed over.
    pub fn alpn<P: Into<Vec<u8>>>(mut self, protocols: impl IntoIterator<Item = P>) -> Self {
        self.alpn = protocols.into_iter().map(Into::into).collect();
        self
    }

    /// Whether clients are asked for a certificate. Default: no.
    pub fn client_certificates(mut self, clients: ClientCertificates) -> Self {
        self.clients = clients;
        self
    }

    /// What session tickets are sealed with; `None`: no session can be resumed. Default: keys of its own.
    pub fn tickets(mut self, tickets: Option<Tickets>) -> Self {
        self.tickets = tickets;
        self
    }

    /// The whole of it.
    ///
    /// # Errors
    /// The file, or what else does not fit, and why.
    pub fn build(self) -> Result<Server, ConfigError> {
        let Self { provider, identity, named, alpn, clients, tickets } = self;
        let versions = ServerConfig::builder_with_provider(provider.crypto.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| ConfigError::new("the provider", error))?;
        let verified = match clients {
            ClientCertificates::NotAskedFor => versions.with_no_client_auth(),
            ClientCertificates::Optional(pem) => {
                let roots = Arc::new(roots_in(&pem, AUTHORITY)?);
                let builder = verifier(roots, &provider).allow_unauthenticated();
                versions.with_client_cert_verifier(built(builder)?)
            }
            ClientCertificates::Required(pem) => {
                let roots = Arc::new(roots_in(&pem, AUTHORITY)?);
                versions.with_client_cert_verifier(built(verifier(roots, &provider))?)
            }
        };
        let certificates = Certificates::new(identity, named, &provider)?;
        let mut config = verified.with_cert_resolver(Arc::new(certificates));
        config.alpn_protocols = alpn;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        match tickets {
            Some(Tickets(tickets)) => config.ticketer = tickets,
            None => config.send_tls13_tickets = 0,
        }
        Ok(Server::from(Arc::new(config)))
    }
}

const AUTHORITY: &str = "the certificates of the clients' authority";

fn verifier(
    roots: Arc<RootCertStore>,
    provider: &Provider,
) -> rustls::server::ClientCertVerifierBuilder {
    WebPkiClientVerifier::builder_with_provider(roots, provider.crypto.clone())
}

fn built(
    builder: rustls::server::ClientCertVerifierBuilder,
) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, ConfigError> {
    builder.build().map_err(|error| ConfigError::new(AUTHORITY, error))
}

/// Which certificate is shown.
#[derive(Debug)]
struct Certificates {
    named: ResolvesServerCertUsingSni,
    otherwise: Arc<CertifiedKey>,
}

impl Certificates {
    fn new(
        identity: Identity,
        named: Vec<(String, Identity)>,
        provider: &Provider,
    ) -> Result<Self, ConfigError> {
        let mut by_name = ResolvesServerCertUsingSni::new();
        for (name, identity) in named {
            // Names are compared as clients send them: in lower case.
            let name = DnsName::try_from(name.as_str())
                .map_err(|error| ConfigError::new(&name, error))?
                .to_lowercase_owned();
            let certified = identity.certified(provider)?;
            by_name
                .add(name.as_ref(), certified)
                .map_err(|error| ConfigError::new(name.as_ref(), error))?;
        }
        Ok(Self { named: by_name, otherwise: Arc::new(identity.certified(provider)?) })
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.named.resolve(hello).or_else(|| Some(self.otherwise.clone()))
    }
}
