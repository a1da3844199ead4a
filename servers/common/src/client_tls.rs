//! TLS for every client: whom it trusts, and who it says it is.

use std::path::PathBuf;

use clap::Args;
use reactor::tls::{Client, Identity, Provider};
use reactor::{Connect, Target};

use crate::failure::Failure;
use crate::stderr::print_error_line;
use crate::tls::needs_tls;

/// Whether a client speaks TLS, and how.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "TLS")]
pub(crate) struct ClientTlsOptions {
    /// Speak TLS
    #[arg(long)]
    pub(crate) tls: bool,
    /// Trust who is signed by the certificates in this file (PEM), too
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Verify nothing: anybody may be at the other end
    #[arg(long)]
    insecure: bool,
    /// The name to send, and to verify, in place of ADDR's
    #[arg(long, value_name = "NAME")]
    sni: Option<String>,
    /// Our certificate chain (PEM), our own first
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// Its private key (PEM)
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
}

impl ClientTlsOptions {
    /// What is said of TLS where there is none is a mistake: it would all go in the clear.
    pub(crate) fn check(&self, address: &Target) -> Result<(), Failure> {
        let options = [
            ("--ca", self.ca.is_some()),
            ("--insecure", self.insecure),
            ("--sni", self.sni.is_some()),
            ("--cert", self.cert.is_some()),
        ];
        needs_tls(self.tls, &options)?;
        match address {
            Target::Unix(_) if self.tls && self.sni.is_none() => {
                Err(Failure::usage("TLS over a Unix socket needs --sni: a path is no name"))
            }
            _ => Ok(()),
        }
    }

    /// The same connection, with TLS if that was asked for.
    pub(crate) fn apply(&self, connect: Connect) -> Result<Connect, Failure> {
        if !self.tls {
            return Ok(connect);
        }
        let connect = connect.tls(self.client()?);
        Ok(match &self.sni {
            Some(name) => connect.server_name(name),
            None => connect,
        })
    }

    fn client(&self) -> Result<Client, Failure> {
        let mut builder = Client::builder(&Provider::default());
        if let Some(path) = &self.ca {
            builder = builder.trust_file(path).map_err(Failure::run)?;
        }
        if let (Some(certificate), Some(key)) = (&self.cert, &self.key) {
            let identity = Identity::from_files(certificate, key).map_err(Failure::run)?;
            builder = builder.identity(identity);
        }
        if self.insecure {
            print_error_line("warning: --insecure: who is at the other end is not verified");
            builder = builder.dangerously_trust_anyone();
        }
        builder.build().map_err(Failure::run)
    }
}
