//! What an upstream is told of a client, and a user of a session: bytes and words, and nothing else.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use reactor::Address;
use reactor::tls::{Info, Version};

/// A version of the PROXY protocol, as HAProxy has specified it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyVersion {
    /// One line of text.
    V1,
    /// Binary.
    V2,
}

impl FromStr for ProxyVersion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "v1" => Ok(Self::V1),
            "v2" => Ok(Self::V2),
            _ => Err("it is neither v1 nor v2".to_owned()),
        }
    }
}

/// What every header of version 2 begins with: nothing that another protocol would say.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, and on behalf of somebody else.
const VERSION_AND_COMMAND: u8 = 0x21;
const UNSPECIFIED: u8 = 0x00;
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;

/// The header that tells an upstream who its client is, and where that client came to.
///
/// An IPv4-mapped address is told as IPv4. A client without an IP address is `UNKNOWN`. A listener on all addresses does
/// not say on which of them the client came: that is told as 0.0.0.0 or ::.
///
/// ```
/// use reactor::Address;
/// use tls::{ProxyVersion, proxy_header};
///
/// let client = Address::Ip("192.0.2.1:54321".parse()?);
/// let listener = Address::Ip("192.0.2.7:443".parse()?);
/// let header = proxy_header(ProxyVersion::V1, &client, Some(&listener));
/// assert_eq!(header, b"PROXY TCP4 192.0.2.1 192.0.2.7 54321 443\r\n");
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
pub fn proxy_header(
    version: ProxyVersion,
    client: &Address,
    listener: Option<&Address>,
) -> Vec<u8> {
    let ends = ends(client, listener);
    match version {
        ProxyVersion::V1 => text(ends),
        ProxyVersion::V2 => binary(ends),
    }
}

/// From where and to where, in one family.
enum Ends {
    V4((Ipv4Addr, u16), (Ipv4Addr, u16)),
    V6((Ipv6Addr, u16), (Ipv6Addr, u16)),
    Unknown,
}

fn ends(client: &Address, listener: Option<&Address>) -> Ends {
    let (Some(from), Some(to)) =
        (client.socket_address(), listener.and_then(Address::socket_address))
    else {
        return Ends::Unknown;
    };
    let (from_port, to_port) = (from.port(), to.port());
    match (from.ip().to_canonical(), to.ip().to_canonical()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => Ends::V4((from, from_port), (to, to_port)),
        (IpAddr::V6(from), IpAddr::V6(to)) => Ends::V6((from, from_port), (to, to_port)),
        // A client of IPv4 at a listener on `[::]`.
        (IpAddr::V4(from), IpAddr::V6(_)) => {
            Ends::V4((from, from_port), (Ipv4Addr::UNSPECIFIED, to_port))
        }
        (IpAddr::V6(_), IpAddr::V4(_)) => Ends::Unknown,
    }
}

fn text(ends: Ends) -> Vec<u8> {
    let line = match ends {
        Ends::V4((from, from_port), (to, to_port)) => {
            format!("PROXY TCP4 {from} {to} {from_port} {to_port}\r\n")
        }
        Ends::V6((from, from_port), (to, to_port)) => {
            format!("PROXY TCP6 {from} {to} {from_port} {to_port}\r\n")
        }
        Ends::Unknown => "PROXY UNKNOWN\r\n".to_owned(),
    };
    line.into_bytes()
}

fn binary(ends: Ends) -> Vec<u8> {
    let mut addresses = Vec::new();
    let family = match ends {
        Ends::V4((from, from_port), (to, to_port)) => {
            addresses.extend(from.octets());
            addresses.extend(to.octets());
            addresses.extend(from_port.to_be_bytes());
            addresses.extend(to_port.to_be_bytes());
            TCP_OVER_IPV4
        }
        Ends::V6((from, from_port), (to, to_port)) => {
            addresses.extend(from.octets());
            addresses.extend(to.octets());
            addresses.extend(from_port.to_be_bytes());
            addresses.extend(to_port.to_be_bytes());
            TCP_OVER_IPV6
        }
        Ends::Unknown => UNSPECIFIED,
    };
    let length = u16::try_from(addresses.len()).unwrap_or_default(); // at most 36
    let mut header = SIGNATURE.to_vec();
    header.extend([VERSION_AND_COMMAND, family]);
    header.extend(length.to_be_bytes());
    header.extend(addresses);
    header
}

/// A session in one line, in the words of OpenSSL: `TLSv1.3, TLS_AES_256_GCM_SHA384, not resumed`.
pub fn describe_session(session: &Info) -> String {
    let version = match session.version() {
        Version::Tls12 => "TLSv1.2",
        Version::Tls13 => "TLSv1.3",
    };
    let resumed = if session.is_resumed() { "resumed" } else { "not resumed" };
    format!("{version}, {}, {resumed}", registered_name(session.cipher_suite()))
}

/// As the suite is called in IANA's registry, whatever it is called within.
fn registered_name(suite: &str) -> String {
    match suite.strip_prefix("TLS13_") {
        Some(rest) => format!("TLS_{rest}"),
        None => suite.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ip(text: &str) -> Address {
        Address::Ip(text.parse().unwrap())
    }

    fn line(client: &Address, listener: &str) -> String {
        let header = proxy_header(ProxyVersion::V1, client, Some(&ip(listener)));
        String::from_utf8(header).unwrap()
    }

    #[test]
    fn version_1_is_one_line_in_the_family_of_the_client() {
        let v4 = ip("192.0.2.1:5");
        assert_eq!(line(&v4, "192.0.2.2:6"), "PROXY TCP4 192.0.2.1 192.0.2.2 5 6\r\n");
        assert_eq!(line(&v4, "0.0.0.0:6"), "PROXY TCP4 192.0.2.1 0.0.0.0 5 6\r\n");
        let mapped = ip("[::ffff:192.0.2.1]:5");
        assert_eq!(line(&mapped, "[::]:6"), "PROXY TCP4 192.0.2.1 0.0.0.0 5 6\r\n");
        let v6 = ip("[2001:db8::1]:5");
        assert_eq!(line(&v6, "[::]:6"), "PROXY TCP6 2001:db8::1 :: 5 6\r\n");
        assert_eq!(line(&Address::Unix(None), "[::]:6"), "PROXY UNKNOWN\r\n");
        let header = proxy_header(ProxyVersion::V1, &v4, None);
        assert_eq!(header, b"PROXY UNKNOWN\r\n");
    }

    #[test]
    fn version_2_is_what_the_specification_says() {
        let header =
            proxy_header(ProxyVersion::V2, &ip("192.0.2.1:4660"), Some(&ip("192.0.2.2:443")));
        let expected = b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a\x21\x11\x00\x0c\
                         \xc0\x00\x02\x01\xc0\x00\x02\x02\x12\x34\x01\xbb";
        assert_eq!(header, expected);
        let header = proxy_header(ProxyVersion::V2, &ip("[::1]:1"), Some(&ip("[::2]:2")));
        assert_eq!(header.len(), 16 + 36);
        assert_eq!(header[12..16], [0x21, 0x21, 0, 36]);
        assert_eq!((header[31], header[47]), (1, 2));
        assert_eq!(header[48..], [0, 1, 0, 2]);
        let unknown = proxy_header(ProxyVersion::V2, &Address::Unix(None), None);
        assert_eq!(unknown[12..], [0x21, 0, 0, 0]);
    }

    #[test]
    fn a_version_is_v1_or_v2() {
        assert_eq!("v1".parse(), Ok(ProxyVersion::V1));
        assert_eq!("v2".parse(), Ok(ProxyVersion::V2));
        assert!("2".parse::<ProxyVersion>().is_err());
    }

    #[test]
    fn suites_are_called_as_they_are_registered() {
        assert_eq!(registered_name("TLS13_AES_256_GCM_SHA384"), "TLS_AES_256_GCM_SHA384");
        let other = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256";
        assert_eq!(registered_name(other), other);
    }

    proptest! {
        #[test]
        fn a_line_is_never_longer_than_its_reader_expects(from: [u16; 8], to: [u16; 8]) {
            let address = |octets: [u16; 8]| Address::Ip((octets, u16::MAX).into());
            let line = proxy_header(ProxyVersion::V1, &address(from), Some(&address(to)));
            prop_assert!(line.len() <= 107 && line.ends_with(b"\r\n"));
        }
    }

    #[test]
    fn a_zone_is_not_told() {
        let zoned = std::net::SocketAddr::V6("[fe80::1%3]:5".parse().unwrap());
        assert_eq!(line(&Address::Ip(zoned), "[fe80::2]:6"), "PROXY TCP6 fe80::1 fe80::2 5 6\r\n");
    }
}
