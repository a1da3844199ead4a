//! Options that the interface has and this version has not: taken, and answered with one clear line.

use clap::Args;

use crate::failure::Failure;

const HEADING: &str = "Not available in this version";

/// What servers will have.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = HEADING)]
pub(crate) struct ServerUnavailable {
    /// Speak TLS
    #[arg(long)]
    tls: bool,
    /// The certificate chain (PEM)
    #[arg(long, value_name = "FILE")]
    cert: Option<String>,
    /// Its private key (PEM)
    #[arg(long, value_name = "FILE")]
    key: Option<String>,
    /// Where a development certificate is kept
    #[arg(long, value_name = "DIR")]
    tls_dir: Option<String>,
    /// Require of clients a certificate signed by this one
    #[arg(long, value_name = "FILE")]
    client_ca: Option<String>,
}

/// What clients will have.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = HEADING)]
pub(crate) struct ClientUnavailable {
    /// Speak TLS
    #[arg(long)]
    tls: bool,
    /// Trust certificates signed by this one, too
    #[arg(long, value_name = "FILE")]
    ca: Option<String>,
    /// Trust any certificate
    #[arg(long)]
    insecure: bool,
    /// The name to send and to verify
    #[arg(long, value_name = "NAME")]
    sni: Option<String>,
    /// Our certificate (PEM)
    #[arg(long, value_name = "FILE")]
    cert: Option<String>,
    /// Its private key (PEM)
    #[arg(long, value_name = "FILE")]
    key: Option<String>,
}

impl ServerUnavailable {
    pub(crate) fn refuse(&self) -> Result<(), Failure> {
        refuse([
            ("--tls", self.tls),
            ("--cert", self.cert.is_some()),
            ("--key", self.key.is_some()),
            ("--tls-dir", self.tls_dir.is_some()),
            ("--client-ca", self.client_ca.is_some()),
        ])
    }
}

impl ClientUnavailable {
    pub(crate) fn refuse(&self) -> Result<(), Failure> {
        refuse([
            ("--tls", self.tls),
            ("--ca", self.ca.is_some()),
            ("--insecure", self.insecure),
            ("--sni", self.sni.is_some()),
            ("--cert", self.cert.is_some()),
            ("--key", self.key.is_some()),
        ])
    }
}

/// The first that was given is the one that is told.
fn refuse<const N: usize>(options: [(&str, bool); N]) -> Result<(), Failure> {
    match options.iter().find(|(_, is_given)| *is_given) {
        Some((name, _)) => Err(Failure::usage(format!("{name} is not available in this version"))),
        None => Ok(()),
    }
}
