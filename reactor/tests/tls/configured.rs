//! How a server is configured, and how it is told so if that cannot be.

use std::sync::Arc;

use reactor::tls::{Client, ClientCertificates, ConfigError, Identity, Provider, Server, Version};
use reactor::{CertificateFault, Connect, ConnectError, Reactor, TlsError};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, KeyLogFile};

use crate::by_hand::{ByHand, beside, serve, turn_until};
use crate::certificates::{
    Answer, Authority, BOTH, authority, client, provider, roots, server, speaking,
};
use crate::support::{Heard, OnConnection, Probe, propagating};

/// Connects two loops' worth of us to ourselves: what the client was told, if it failed.
fn connect(server: Server, client: Client, name: &str) -> Result<(), ConnectError> {
    let (mut reactor, _, address) = serve(Probe::default(), propagating(), server);
    let caller = reactor.add(Probe::default());
    let to = Connect::to(address).tls(client).server_name(name);
    let id = reactor.connect(&caller, to);
    turn_until(&mut reactor, &caller, |probe| !probe.heard.is_empty());
    let heard = reactor.get(&caller).heard.first().cloned();
    // Under TLS 1.3 a client stands before the server has seen its certificate.
    reactor.with(&caller, |_, cx| cx.send_to(id, b"?"));
    turn_until(&mut reactor, &caller, |probe| {
        probe.heard.iter().any(|heard| !matches!(heard, Heard::Open(_)))
    });
    let last = reactor.get(&caller).heard.last().cloned();
    match (heard, last) {
        (Some(Heard::ConnectFailed(_, error)), _) => Err(error),
        (_, Some(Heard::Close(_, reason))) => Err(ConnectError::from(&reason)),
        _ => Ok(()),
    }
}

#[test]
fn each_name_has_its_certificate() {
    let identity = |name: &str| authority().identity(&[name]);
    let server = Server::builder(&provider(), identity("default.test"))
        .named("One.test", identity("one.test"))
        .named("two.test", identity("two.test"))
        .build()
        .unwrap();
    for name in ["default.test", "one.test", "ONE.test", "two.test"] {
        assert_eq!(connect(server.clone(), client(), name), Ok(()), "{name}");
    }
    let other = connect(server, client(), "three.test");
    let wrong = TlsError::Certificate(CertificateFault::WrongName);
    assert_eq!(other, Err(ConnectError::Tls(wrong)));
}

#[test]
fn keys_of_each_kind_are_served() {
    let kinds = [
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_ED25519,
        &rcgen::PKCS_RSA_SHA256,
    ];
    for kind in kinds {
        let (certificate, key) = authority().signs(&["localhost"], kind, |_| {});
        let identity = Identity::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap();
        for provider in [Provider::aws_lc(), other_provider()] {
            let server = Server::builder(&provider, identity.clone()).build().unwrap();
            assert_eq!(connect(server, client(), "localhost"), Ok(()), "{kind:?}");
        }
    }
}

/// ring, if it is there.
fn other_provider() -> Provider {
    #[cfg(feature = "tls-ring")]
    return Provider::ring();
    #[cfg(not(feature = "tls-ring"))]
    return Provider::aws_lc();
}

#[test]
fn clients_show_certificates_if_they_are_asked() {
    let stranger = Authority::new("a stranger");
    let pem = authority().pem().into_bytes();
    let asks = |clients| {
        let builder = Server::builder(&provider(), authority().identity(&["localhost"]));
        builder.client_certificates(clients).build().unwrap()
    };
    let with = |identity: Option<Identity>| {
        let builder =
            Client::builder(&provider()).without_system_roots().trust_pem(authority().pem());
        match identity {
            Some(identity) => builder.identity(identity),
            None => builder,
        }
        .build()
        .unwrap()
    };
    let good = || with(Some(authority().identity(&["client.test"])));
    let required = || asks(ClientCertificates::Required(pem.clone()));
    let optional = || asks(ClientCertificates::Optional(pem.clone()));
    assert_eq!(connect(required(), good(), "localhost"), Ok(()));
    assert_eq!(connect(optional(), with(None), "localhost"), Ok(()));
    let none = connect(required(), with(None), "localhost");
    assert_eq!(none, Err(ConnectError::Tls(TlsError::Alert(116))), "certificate required");
    let strange = || with(Some(stranger.identity(&["client.test"])));
    for server in [required(), optional()] {
        let refused = connect(server, strange(), "localhost");
        assert!(matches!(refused, Err(ConnectError::Tls(TlsError::Alert(_)))), "{refused:?}");
    }
}

#[test]
fn a_handler_can_ask_who_the_peer_is() {
    let (certificate, key) =
        authority().signs(&["client.test"], &rcgen::PKCS_ECDSA_P256_SHA256, |_| {});
    let chain: Vec<_> = rustls::pki_types::CertificateDer::pem_slice_iter(certificate.as_bytes())
        .collect::<Result<_, _>>()
        .unwrap();
    let expected = chain[0].to_vec();
    for version in BOTH {
        let expected = expected.clone();
        let open: OnConnection = Box::new(move |cx| {
            assert_eq!(&*cx.peer_identity().unwrap()[0], &expected[..]);
            let tls = cx.tls().unwrap();
            assert!(tls.version() >= Version::Tls12 && !tls.is_resumed());
            assert!(tls.cipher_suite().starts_with("TLS"), "{}", tls.cipher_suite());
        });
        let pem = authority().pem().into_bytes();
        let server = Server::builder(&provider(), authority().identity(&["localhost"]))
            .client_certificates(ClientCertificates::Required(pem))
            .build()
            .unwrap();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let config =
            ClientConfig::builder_with_provider(speaking(version).crypto_provider().clone())
                .with_protocol_versions(&[version])
                .unwrap()
                .with_root_certificates(roots())
                .with_client_auth_cert(chain.clone(), key)
                .unwrap();
        let (mut reactor, service, address) =
            serve(Probe { open, ..Probe::default() }, propagating(), server);
        beside(&mut reactor, move || {
            let mut client = ByHand::shaken(address, Arc::new(config));
            client.say(b"x").unwrap();
            client.read_exact(1).unwrap();
        });
        assert_eq!(reactor.get(&service).opened().len(), 1);
    }
}

/// Connections that stand go on; who comes later meets the new certificate; what cannot be built changes nothing.
#[test]
fn a_reload_loses_nobody() {
    let shared = server();
    let (mut reactor, service, address) = serve(Probe::default(), propagating(), shared.clone());
    let mut before =
        beside(&mut reactor, move || ByHand::shaken(address, speaking(&rustls::version::TLS13)));
    let identity = authority().identity(&["renewed.test"]);
    shared.replace(&Server::builder(&provider(), identity).build().unwrap());
    let bad = Identity::from_pem(b"no certificate", b"no key");
    assert_eq!(bad.unwrap_err().to_string(), "the certificate: no certificate in it");
    beside(&mut reactor, move || {
        before.say(b"still here").unwrap();
        assert_eq!(before.read_exact(10).unwrap(), b"still here");
        let refused = ByHand::new(address, speaking(&rustls::version::TLS13)).shake_hands();
        assert!(refused.unwrap_err().to_string().contains("renewed.test"));
    });
    assert_eq!(reactor.get(&service).opened().len(), 1);
}

#[test]
fn whoever_brings_a_whole_configuration_is_served() {
    let config = Answer::default().config(&BOTH);
    let server = Server::from(Arc::new(config));
    let mut config = (*speaking(&rustls::version::TLS12)).clone();
    config.key_log = Arc::new(KeyLogFile::new());
    assert_eq!(connect(server, Client::from(Arc::new(config)), "localhost"), Ok(()));
}

#[test]
fn no_process_wide_provider_is_installed() {
    assert_eq!(connect(server(), client(), "localhost"), Ok(()));
    assert!(rustls::crypto::CryptoProvider::get_default().is_none());
}

#[test]
fn what_is_wrong_with_a_file_is_told_in_one_line_that_names_it() {
    let folder = std::env::temp_dir().join(format!("reactor-tls-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (certificate, key) =
        authority().signs(&["localhost"], &rcgen::PKCS_ECDSA_P256_SHA256, |_| {});
    let (_, other) = authority().signs(&["localhost"], &rcgen::PKCS_ECDSA_P256_SHA256, |_| {});
    for (name, text) in [
        ("cert.pem", &certificate),
        ("key.pem", &key),
        ("other.pem", &other),
        ("empty", &String::new()),
    ] {
        std::fs::write(folder.join(name), text).unwrap();
    }
    let said = |certificate: &str, key: &str| {
        let built = Identity::from_files(folder.join(certificate), folder.join(key))
            .and_then(|identity| Server::builder(&provider(), identity).build());
        let text = built.err().map(|error: ConfigError| error.to_string()).unwrap_or_default();
        text.replace(&format!("{}/", folder.display()), "")
    };
    assert_eq!(said("cert.pem", "key.pem"), "");
    assert_eq!(said("gone.pem", "key.pem"), "gone.pem: no such file or directory");
    assert_eq!(said("cert.pem", "gone.pem"), "gone.pem: no such file or directory");
    assert_eq!(said("key.pem", "key.pem"), "key.pem: no certificate in it");
    assert_eq!(said("empty", "key.pem"), "empty: no certificate in it");
    assert_eq!(said("cert.pem", "cert.pem"), "cert.pem: no private key in it");
    assert_eq!(said("cert.pem", "other.pem"), "other.pem: it is not the key to cert.pem");
    let wanted = ClientCertificates::required_by_file(folder.join("empty")).unwrap_err();
    assert!(wanted.subject().ends_with("/empty"));
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_certificate_out_of_its_time_is_known_before_a_client_finds_out() {
    for (from, until, fault) in [
        (2000, 2001, Some(CertificateFault::Expired)),
        (2900, 2901, Some(CertificateFault::NotYetValid)),
        (2000, 2900, None),
    ] {
        let (certificate, key) =
            authority().signs(&["localhost"], &rcgen::PKCS_ECDSA_P256_SHA256, |params| {
                params.not_before = rcgen::date_time_ymd(from, 1, 1);
                params.not_after = rcgen::date_time_ymd(until, 1, 1);
            });
        let identity = Identity::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap();
        assert_eq!(identity.fault_of_date(&provider()), fault);
        let server = Server::builder(&provider(), identity).build().unwrap();
        let met = connect(server, client(), "localhost");
        let told = fault.map(|fault| ConnectError::Tls(TlsError::Certificate(fault)));
        assert_eq!(met.err(), told);
    }
}

#[test]
fn a_client_trusts_whom_it_is_told_to() {
    let stranger = Authority::new("a stranger");
    let strange = || {
        let identity = stranger.identity(&["localhost"]);
        Server::builder(&provider(), identity).build().unwrap()
    };
    let unknown = TlsError::Certificate(CertificateFault::UnknownIssuer);
    let builder = || Client::builder(&provider());
    let system = builder().build();
    if let Ok(system) = system {
        assert_eq!(connect(strange(), system, "localhost"), Err(ConnectError::Tls(unknown)));
    } // where the system trusts nobody, there is nobody to trust
    assert_eq!(connect(strange(), client(), "localhost"), Err(ConnectError::Tls(unknown)));
    let told = builder().trust_pem(stranger.pem()).build().unwrap();
    assert_eq!(connect(strange(), told, "localhost"), Ok(()));
    let anyone = builder().dangerously_trust_anyone().build().unwrap();
    assert_eq!(connect(strange(), anyone, "any.other.name"), Ok(()));
    let nobody = builder().without_system_roots().build();
    assert!(nobody.unwrap_err().to_string().starts_with("the trusted certificates: "));
}

#[test]
fn a_server_without_a_name_cannot_be_connected_to() {
    let mut reactor = Reactor::with_config(propagating()).unwrap();
    let caller = reactor.add(Probe::default());
    for to in [Connect::to("unix:/nowhere"), Connect::to("127.0.0.1:1").server_name("no name")] {
        reactor.connect(&caller, to.tls(client()));
    }
    turn_until(&mut reactor, &caller, |probe| probe.heard.len() == 2);
    for heard in &reactor.get(&caller).heard {
        let Heard::ConnectFailed(_, ConnectError::Invalid(text)) = heard else {
            panic!("{heard:?}");
        };
        assert!(text.ends_with("is no name that a TLS server can have"), "{text}");
    }
}
