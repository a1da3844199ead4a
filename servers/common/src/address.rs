//! Addresses as they are written on a command line, told apart from what is none before anything starts.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use reactor::Target;

/// Where a server listens.
///
/// ```
/// use servers_common::ListenAddress;
///
/// let address: ListenAddress = "udp:127.0.0.1:9002".parse()?;
/// assert!(matches!(address, ListenAddress::Datagram(_)));
/// assert_eq!(address.to_string(), "udp:127.0.0.1:9002");
/// assert!("127.0.0.1".parse::<ListenAddress>().is_err());
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// `HOST:PORT` or `unix:PATH`: connections.
    Stream(Target),
    /// `udp:HOST:PORT`: datagrams.
    Datagram(Target),
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let forms = "it is not HOST:PORT, [::]:PORT, unix:PATH or udp:HOST:PORT";
        let address = match text.strip_prefix("udp:") {
            Some(rest) => host_and_port(rest).map(Self::Datagram),
            None => target(text).map(Self::Stream),
        };
        address.ok_or_else(|| forms.to_owned())
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stream(target) => write!(f, "{target}"),
            Self::Datagram(target) => write!(f, "udp:{target}"),
        }
    }
}

/// Where a client connects to: `HOST:PORT` or `unix:PATH`.
///
/// # Errors
/// A text that says how to write it.
///
/// ```
/// use reactor::Target;
/// use servers_common::parse_peer;
///
/// assert_eq!(parse_peer("localhost:80"), Ok(Target::Name("localhost:80".to_owned())));
/// assert!(parse_peer("localhost").is_err());
/// ```
pub fn parse_peer(text: &str) -> Result<Target, String> {
    target(text).ok_or_else(|| "it is not HOST:PORT or unix:PATH".to_owned())
}

fn target(text: &str) -> Option<Target> {
    match text.strip_prefix("unix:") {
        Some(path) if path.is_empty() || path.contains('\0') => None,
        Some(path) => Some(Target::Unix(path.into())),
        None => host_and_port(text),
    }
}

fn host_and_port(text: &str) -> Option<Target> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(Target::Ip(address));
    }
    let (host, port) = text.rsplit_once(':')?;
    let is_no_part_of_a_name =
        |c: char| c.is_whitespace() || c.is_control() || matches!(c, ':' | '[' | ']' | '/');
    let is_port = port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
    let is_host = !host.is_empty() && !host.contains(is_no_part_of_a_name);
    (is_host && is_port).then(|| Target::Name(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_told_apart_and_prints_as_it_was_written() {
        for text in [
            "127.0.0.1:9002",
            "[::]:9002",
            "[::1]:0",
            "localhost:9002",
            "unix:/run/x.sock",
            "unix:relative.sock",
            "udp:127.0.0.1:9002",
            "udp:[::1]:9002",
        ] {
            let address: ListenAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
            let is_datagram = matches!(address, ListenAddress::Datagram(_));
            assert_eq!(is_datagram, text.starts_with("udp:"));
            assert_eq!(parse_peer(text).is_ok(), !is_datagram, "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "9002",
            ":9002",
            "127.0.0.1",
            "127.0.0.1:",
            "127.0.0.1:http",
            "127.0.0.1:+80",
            "127.0.0.1:65536",
            "::1:80",
            "[::1]",
            "[x]:80",
            "tcp://127.0.0.1:80",
            "a b:80",
            "unix:",
            "udp:",
            "udp:unix:/run/x.sock",
            "udp:udp:127.0.0.1:80",
        ] {
            let error = text.parse::<ListenAddress>().unwrap_err();
            assert!(error.contains("HOST:PORT"), "{text}: {error}");
            assert!(parse_peer(text).is_err(), "{text}");
        }
    }
}
