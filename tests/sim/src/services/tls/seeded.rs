//! TLS without secrets: all chance in it comes from the seed, so that the same seed gives the same run.
//!
//! The key exchange is none (both sides tell each other all there is to know), tickets are not sealed, and the key of
//! the one certificate stands beside this file. What is left is TLS as it is in earnest: rustls's state machines, and
//! real ciphers.

use std::cell::RefCell;
use std::sync::Arc;

use reactor::sim::Random;
use rustls::crypto::{
    ActiveKeyExchange, CryptoProvider, GetRandomFailed, SecureRandom, SharedSecret,
    SupportedKxGroup,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ProducesTickets;
use rustls::{
    ClientConfig, Error, NamedGroup, RootCertStore, ServerConfig, SupportedProtocolVersion,
};

/// Whose certificate it is.
pub(super) const NAME: &str = "simulated.test";

const CERTIFICATE: &[u8] = include_bytes!("cert.pem");
/// Everybody may know it: it is good for simulated worlds alone.
const KEY: &[u8] = include_bytes!("key.pem");

thread_local! {
    /// A world lives in one thread, and a thread has one world at a time.
    static CHANCE: RefCell<Random> = RefCell::new(Random::new(0));
}

/// From now on, this thread's chance is this seed's.
pub(super) fn seed(seed: u64) {
    CHANCE.with_borrow_mut(|chance| *chance = Random::new(seed));
}

#[derive(Debug)]
struct Chance;

impl SecureRandom for Chance {
    fn fill(&self, room: &mut [u8]) -> Result<(), GetRandomFailed> {
        CHANCE.with_borrow_mut(|chance| {
            for place in room.chunks_mut(8) {
                let number = chance.number().to_le_bytes();
                let number = number.get(..place.len()).unwrap_or_default();
                place.copy_from_slice(number);
            }
        });
        Ok(())
    }
}

/// An exchange of two numbers, whose sum is no secret.
#[derive(Debug)]
struct NoSecret;

struct Number([u8; 32]);

impl SupportedKxGroup for NoSecret {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let mut number = [0; 32];
        Chance.fill(&mut number).map_err(|_| Error::FailedToGetRandomBytes)?;
        Ok(Box::new(Number(number)))
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

impl ActiveKeyExchange for Number {
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        let sum: Vec<u8> = self.0.iter().zip(peer).map(|(one, other)| one ^ other).collect();
        Ok(SharedSecret::from(&*sum))
    }

    fn pub_key(&self) -> &[u8] {
        &self.0
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

/// Tickets that anybody could read.
#[derive(Debug)]
struct Open;

impl ProducesTickets for Open {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        3600
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        Some(plain.to_vec())
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        Some(cipher.to_vec())
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        secure_random: &Chance,
        kx_groups: vec![&NoSecret],
        ..rustls::crypto::aws_lc_rs::default_provider()
    })
}

/// How servers speak in this world.
pub(super) fn server(resumes: bool) -> Result<ServerConfig, Error> {
    let unreadable = |error| Error::General(format!("a file of the simulation: {error}"));
    let chain = vec![CertificateDer::from_pem_slice(CERTIFICATE).map_err(unreadable)?];
    let key = PrivateKeyDer::from_pem_slice(KEY).map_err(unreadable)?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    if resumes {
        config.ticketer = Arc::new(Open);
    }
    Ok(config)
}

/// How clients do.
pub(super) fn client(version: &'static SupportedProtocolVersion) -> Result<ClientConfig, Error> {
    let unreadable = |error| Error::General(format!("a file of the simulation: {error}"));
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(CERTIFICATE).map_err(unreadable)?)?;
    let builder =
        ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[version])?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
