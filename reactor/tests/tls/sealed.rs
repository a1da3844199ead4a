//! Records that no decent client sends, sealed with the keys of one that has shaken hands.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rustls::{CipherSuite, ClientConfig, ConnectionTrafficSecrets, SupportedProtocolVersion};

use crate::by_hand::ByHand;
use crate::certificates::speaking;

/// A client that seals what it is told to.
pub(crate) struct Sealed {
    pub(crate) stream: TcpStream,
    key: LessSafeKey,
    iv: [u8; 12],
    number: u64,
    is_tls13: bool,
}

/// One whose suite is AES-128-GCM, and whose keys can be had.
fn config(version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.cipher_suites.retain(|suite| {
        matches!(
            suite.suite(),
            CipherSuite::TLS13_AES_128_GCM_SHA256
                | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
        )
    });
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(crate::certificates::roots())
        .with_no_client_auth();
    config.enable_secret_extraction = true;
    assert_eq!(speaking(version).alpn_protocols, config.alpn_protocols);
    Arc::new(config)
}

impl Sealed {
    /// With the handshake and one exchange of words behind it.
    pub(crate) fn shaken(address: SocketAddr, version: &'static SupportedProtocolVersion) -> Self {
        let mut client = ByHand::shaken(address, config(version));
        client.say(b"x").unwrap();
        client.read_exact(1).unwrap();
        let secrets = client.tls.dangerous_extract_secrets().unwrap();
        let (number, ConnectionTrafficSecrets::Aes128Gcm { key, iv }) = secrets.tx else {
            panic!("another suite was chosen");
        };
        let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, key.as_ref()).unwrap());
        let iv = iv.as_ref().try_into().unwrap();
        let is_tls13 = version.version == rustls::ProtocolVersion::TLSv1_3;
        Self { stream: client.stream, key, iv, number, is_tls13 }
    }

    /// One record of this type.
    pub(crate) fn seal(&mut self, kind: u8, text: &[u8]) -> Vec<u8> {
        let number = self.number.to_be_bytes();
        self.number += 1;
        let mut nonce = self.iv;
        for (place, byte) in nonce[4..].iter_mut().zip(number) {
            *place ^= byte;
        }
        let nonce_of = Nonce::assume_unique_for_key(nonce);
        let mut sealed = text.to_vec();
        if self.is_tls13 {
            sealed.push(kind);
            let length = (sealed.len() + 16) as u16;
            let head = [&[23, 3, 3][..], &length.to_be_bytes()].concat();
            self.key.seal_in_place_append_tag(nonce_of, Aad::from(&head), &mut sealed).unwrap();
            return [head, sealed].concat();
        }
        let length = (text.len() as u16).to_be_bytes();
        let aad = [&number[..], &[kind, 3, 3], &length].concat();
        self.key.seal_in_place_append_tag(nonce_of, Aad::from(&aad), &mut sealed).unwrap();
        let length = (sealed.len() + 8) as u16;
        [&[kind, 3, 3][..], &length.to_be_bytes(), &nonce[4..], &sealed].concat()
    }

    pub(crate) fn send(&mut self, kind: u8, text: &[u8]) -> std::io::Result<()> {
        let record = self.seal(kind, text);
        self.stream.write_all(&record)
    }

    /// How many bytes come next.
    pub(crate) fn hear(&mut self) -> usize {
        self.stream.read(&mut [0; 1000]).unwrap_or(0)
    }
}

impl Sealed {
    /// How many bytes come until the end.
    pub(crate) fn hear_all(&mut self) -> usize {
        let mut bytes = Vec::new();
        _ = self.stream.read_to_end(&mut bytes);
        bytes.len()
    }
}
