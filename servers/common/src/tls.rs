//! TLS for every server: from which files, and what becomes of it when they change.

use std::path::{Path, PathBuf};

use clap::Args;
use reactor::tls::{ClientCertificates, Identity, Provider, Server, Tickets};

use crate::development::Development;
use crate::failure::Failure;

/// Where the development certificate is, if nobody says.
const DIRECTORY: &str = "dev-tls";

/// Whether a server's TCP listeners speak TLS, and with which files.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "TLS")]
pub(crate) struct TlsOptions {
    /// Speak TLS where TCP is listened on; without --cert by a development certificate
    #[arg(long)]
    pub(crate) tls: bool,
    /// The certificate chain (PEM), the server's own first
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// Its private key (PEM)
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// Where the development certificate is kept [default: dev-tls]
    #[arg(long, value_name = "DIR")]
    tls_dir: Option<PathBuf>,
    /// Require of each client a certificate that one in this file (PEM) has signed
    #[arg(long, value_name = "FILE")]
    client_ca: Option<PathBuf>,
}

impl TlsOptions {
    /// Files without TLS are a mistake: who names them does not want to be served in the clear.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let options = [
            ("--cert", self.cert.is_some()),
            ("--tls-dir", self.tls_dir.is_some()),
            ("--client-ca", self.client_ca.is_some()),
        ];
        needs_tls(self.tls, &options)
    }

    fn files(&self) -> Files {
        match (&self.cert, &self.key) {
            (Some(certificate), Some(key)) => {
                Files::Given { certificate: certificate.clone(), key: key.clone() }
            }
            _ => {
                let directory = self.tls_dir.clone().unwrap_or_else(|| DIRECTORY.into());
                Files::Development(Development::in_directory(directory))
            }
        }
    }
}

/// The first of them that was given, and has no meaning without `--tls`.
pub(crate) fn needs_tls(has_tls: bool, options: &[(&str, bool)]) -> Result<(), Failure> {
    match options.iter().find(|(_, is_given)| *is_given && !has_tls) {
        Some((name, _)) => Err(Failure::usage(format!("{name} needs --tls"))),
        None => Ok(()),
    }
}

/// Where the server's certificate comes from.
enum Files {
    Given { certificate: PathBuf, key: PathBuf },
    Development(Development),
}

impl Files {
    fn certificate(&self) -> PathBuf {
        match self {
            Self::Given { certificate, .. } => certificate.clone(),
            Self::Development(development) => development.certificate(),
        }
    }

    fn key(&self) -> PathBuf {
        match self {
            Self::Given { key, .. } => key.clone(),
            Self::Development(development) => development.key(),
        }
    }
}

/// What all listeners of a program speak TLS by.
pub(crate) struct Tls {
    files: Files,
    client_ca: Option<PathBuf>,
    provider: Provider,
    tickets: Option<Tickets>,
    server: Server,
}

impl Tls {
    /// `None` if TLS was not asked for.
    pub(crate) fn open(options: &TlsOptions) -> Result<Option<Self>, Failure> {
        if !options.tls {
            return Ok(None);
        }
        let (files, client_ca) = (options.files(), options.client_ca.clone());
        let provider = Provider::default();
        let tickets = Tickets::new(&provider);
        let server = load(&files, client_ca.as_deref(), &provider, tickets.clone())?;
        Ok(Some(Self { files, client_ca, provider, tickets, server }))
    }

    /// For each listener, on whichever loop.
    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    /// How clients come to trust a certificate that nobody knows; `port` is where it is shown.
    pub(crate) fn advice(&self, port: u16) -> Vec<String> {
        match &self.files {
            Files::Given { .. } => Vec::new(),
            Files::Development(development) => development.advice(port),
        }
    }

    /// Reads the files again, for connections that come from now on. If they are bad, all stays as it was.
    pub(crate) fn reload(&mut self) {
        // Who resumes a session is not asked for a certificate again: an authority that is trusted no more must
        // not be trusted by way of old tickets.
        let tickets = match self.client_ca {
            Some(_) => Tickets::new(&self.provider),
            None => self.tickets.clone(),
        };
        match load(&self.files, self.client_ca.as_deref(), &self.provider, tickets) {
            Ok(server) => {
                self.server.replace(&server);
                let certificate = self.files.certificate();
                log::info!("SIGHUP: new connections get {}", certificate.display());
            }
            Err(Failure::Usage(why) | Failure::Run(why)) => {
                log::error!("SIGHUP: {why}; new connections get what they got before");
            }
        }
    }
}

fn load(
    files: &Files,
    client_ca: Option<&Path>,
    provider: &Provider,
    tickets: Option<Tickets>,
) -> Result<Server, Failure> {
    if let Files::Development(development) = files {
        development.provide(provider)?;
    }
    let certificate = files.certificate();
    let identity = Identity::from_files(&certificate, files.key()).map_err(Failure::run)?;
    if let Some(fault) = identity.fault_of_date(provider) {
        log::warn!("{}: the certificate {fault}", certificate.display());
    }
    let mut builder = Server::builder(provider, identity).tickets(tickets);
    if let Some(path) = client_ca {
        let required = ClientCertificates::required_by_file(path).map_err(Failure::run)?;
        builder = builder.client_certificates(required);
    }
    builder.build().map_err(Failure::run)
}
