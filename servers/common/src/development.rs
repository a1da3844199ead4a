//! The development certificate: made once, kept in a directory, and trusted by nobody who is not told to.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
};
use reactor::describe;
use reactor::tls::{Client, Identity, Provider, Server};
use rustix::fs::{FlockOperation, flock};

use crate::failure::Failure;

/// Whom it is for.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
/// How long it is good for: some clients believe in nothing that lasts longer than 825 days.
const LIFETIME: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// Clocks differ.
const BEFORE: Duration = Duration::from_secs(60 * 60);

const AUTHORITY: &str = "ca.pem";
const AUTHORITY_KEY: &str = "ca-key.pem";
const CERTIFICATE: &str = "cert.pem";
const KEY: &str = "key.pem";

/// A directory with an authority, and a certificate that it has signed.
pub(crate) struct Development {
    directory: PathBuf,
}

/// The four files.
struct Pems {
    authority: String,
    authority_key: String,
    certificate: String,
    key: String,
}

impl Development {
    pub(crate) fn in_directory(directory: PathBuf) -> Self {
        Self { directory }
    }

    pub(crate) fn certificate(&self) -> PathBuf {
        self.directory.join(CERTIFICATE)
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.directory.join(KEY)
    }

    fn authority(&self) -> PathBuf {
        self.directory.join(AUTHORITY)
    }

    /// How a client is told to trust it.
    pub(crate) fn advice(&self, port: u16) -> Vec<String> {
        let authority = self.authority();
        let authority = authority.display();
        vec![
            format!(
                "{} is a development certificate, for {}; a client trusts it by {authority}:",
                self.certificate().display(),
                NAMES.join(", "),
            ),
            format!("  curl --cacert {authority} https://localhost:{port}/"),
            format!("  openssl s_client -CAfile {authority} -connect localhost:{port}"),
        ]
    }

    /// Sees to it that there is one that can be used: the one that there is, or a new one.
    ///
    /// Of several programs that start at once, one makes it, and the others wait for that.
    pub(crate) fn provide(&self, provider: &Provider) -> Result<(), Failure> {
        let path = &self.directory;
        fs::create_dir_all(path).map_err(|error| cannot("make", path, &error))?;
        let directory = File::open(path).map_err(|error| cannot("open", path, &error))?;
        // It is held until the directory is closed. Where there are no locks, nobody waits.
        let _ = flock(&directory, FlockOperation::LockExclusive);
        let Some(fault) = self.fault(provider)? else { return Ok(()) };
        let is_first = !self.certificate().exists();
        let pems = generate().map_err(|error| {
            Failure::run(format!("cannot make a certificate in {}: {error}", path.display()))
        })?;
        self.write(&pems)?;
        match is_first {
            true => log::info!("{} has a new development certificate", path.display()),
            false => {
                log::warn!("{fault}: it is made anew, and clients must be told to trust it again");
            }
        }
        Ok(())
    }

    /// What speaks against the files that are there. What may not be read may not be replaced either.
    fn fault(&self, provider: &Provider) -> Result<Option<String>, Failure> {
        for name in [AUTHORITY, CERTIFICATE, KEY] {
            let path = self.directory.join(name);
            match File::open(&path) {
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    return Err(cannot("read", &path, &error));
                }
                _ => {}
            }
        }
        Ok(self.examine(provider).err())
    }

    fn examine(&self, provider: &Provider) -> Result<(), String> {
        let certificate = self.certificate();
        let identity =
            Identity::from_files(&certificate, self.key()).map_err(|error| error.to_string())?;
        if let Some(fault) = identity.fault_of_date(provider) {
            return Err(format!("{}: the certificate {fault}", certificate.display()));
        }
        Server::builder(provider, identity).build().map_err(|error| error.to_string())?;
        Client::builder(provider)
            .without_system_roots()
            .trust_file(self.authority())
            .and_then(|builder| builder.build())
            .map_err(|error| error.to_string())?;
        Ok(())
    }

    /// The certificate goes first and comes last: whoever is interrupted leaves none, not one that does not
    /// belong to the rest.
    fn write(&self, pems: &Pems) -> Result<(), Failure> {
        let certificate = self.certificate();
        match fs::remove_file(&certificate) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(cannot("replace", &certificate, &error));
            }
            _ => {}
        }
        for (name, pem, mode) in [
            (AUTHORITY_KEY, &pems.authority_key, 0o600),
            (AUTHORITY, &pems.authority, 0o644),
            (KEY, &pems.key, 0o600),
            (CERTIFICATE, &pems.certificate, 0o644),
        ] {
            let path = self.directory.join(name);
            replace(&path, pem, mode).map_err(|error| cannot("write", &path, &error))?;
        }
        Ok(())
    }
}

/// Writes a file as a whole: who reads it meanwhile finds the old one or the new one.
fn replace(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    // Of a program that was interrupted; it would keep its mode.
    let _ = fs::remove_file(&new);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)
}

fn cannot(what: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::run(format!("cannot {what} {}: {}", path.display(), describe(error)))
}

/// An authority of its own, and a certificate for [`NAMES`] that it has signed.
fn generate() -> Result<Pems, rcgen::Error> {
    let mut authority = parameters(&[], "reactor development authority")?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
    let mut server = parameters(&NAMES, "localhost")?;
    server.use_authority_key_identifier_extension = true;
    server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate()?;
    let certificate = server.signed_by(&key, &authority)?;
    Ok(Pems {
        authority: authority.pem(),
        authority_key: authority.key().serialize_pem(),
        certificate: certificate.pem(),
        key: key.serialize_pem(),
    })
}

fn parameters(names: &[&str], common_name: &str) -> Result<CertificateParams, rcgen::Error> {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut parameters = CertificateParams::new(names)?;
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, common_name);
    let now = SystemTime::now();
    parameters.not_before = (now - BEFORE).into();
    parameters.not_after = (now + LIFETIME).into();
    Ok(parameters)
}
