//! What the clients share: where to, how long, how often, and how to tell what went wrong.

use std::io;
use std::time::Duration;

use clap::Args;
use reactor::{CloseReason, Connect, ConnectError, Target};

use crate::address::parse_peer;
use crate::failure::Failure;
use crate::unavailable::ClientUnavailable;
use crate::units::parse_duration;

/// The options that all clients have.
#[derive(Args, Clone, Debug)]
pub struct ClientOptions {
    /// Where the server is: HOST:PORT or unix:PATH
    #[arg(value_name = "ADDR", value_parser = parse_peer)]
    pub address: Target,
    /// How long name and connection may take together, and each wait for bytes that are due; 0: for ever
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = parse_duration,
          allow_hyphen_values = true)]
    timeout: Duration,
    /// How often to try again if there is no connection, after 100 ms, then twice that, at most 5 s
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true)]
    pub retries: u32,
    #[command(flatten)]
    unavailable: ClientUnavailable,
}

impl ClientOptions {
    /// Whether what was asked for is there to be had.
    ///
    /// # Errors
    /// The option that this version does not have.
    pub fn check(&self) -> Result<(), Failure> {
        self.unavailable.refuse()
    }

    /// How long each wait may be; [`Duration::MAX`] if for ever.
    pub fn timeout(&self) -> Duration {
        match self.timeout.is_zero() {
            true => Duration::MAX,
            false => self.timeout,
        }
    }

    /// The connection to be wished for.
    pub fn connect(&self) -> Connect {
        Connect::to(self.address.clone()).timeout(self.timeout())
    }
}

/// Why there is no connection, for the one line on stderr.
///
/// ```
/// use reactor::ConnectError;
/// use servers_common::explain_connect;
///
/// let text = explain_connect(&"127.0.0.1:9".into(), &ConnectError::Refused);
/// assert_eq!(text, "cannot connect to 127.0.0.1:9: connection refused");
/// ```
pub fn explain_connect(address: &Target, error: &ConnectError) -> String {
    format!("cannot connect to {address}: {error}")
}

/// Why a connection ended before its time, in the words of the contract.
///
/// ```
/// use reactor::CloseReason;
/// use servers_common::explain_close;
///
/// assert_eq!(explain_close(&CloseReason::Eof), "closed early");
/// assert_eq!(
///     explain_close(&CloseReason::Io(std::io::ErrorKind::ConnectionReset)),
///     "closed early: connection reset"
/// );
/// ```
pub fn explain_close(reason: &CloseReason) -> String {
    match reason {
        CloseReason::Deadline(_) | CloseReason::Io(io::ErrorKind::TimedOut) => {
            "timed out".to_owned()
        }
        CloseReason::Io(
            kind @ (io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable),
        ) => {
            format!("unreachable: {kind}")
        }
        CloseReason::Io(io::ErrorKind::ConnectionReset) => {
            "closed early: connection reset".to_owned()
        }
        CloseReason::Eof | CloseReason::Asked => "closed early".to_owned(),
        reason => format!("closed early: {reason}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Arguments {
        #[command(flatten)]
        client: ClientOptions,
    }

    fn parse(arguments: &[&str]) -> Result<ClientOptions, clap::Error> {
        Arguments::try_parse_from([&["client"], arguments].concat())
            .map(|arguments| arguments.client)
    }

    #[test]
    fn the_defaults_are_those_of_the_contract_and_an_address_is_needed() {
        let options = parse(&["localhost:1"]).unwrap();
        assert_eq!((options.timeout(), options.retries), (Duration::from_secs(10), 0));
        assert_eq!(options.address, Target::Name("localhost:1".to_owned()));
        for arguments in [&[][..], &["nonsense"], &["udp:127.0.0.1:1"]] {
            assert_eq!(parse(arguments).unwrap_err().exit_code(), 2);
        }
        let patient = parse(&["127.0.0.1:1", "--timeout", "0"]).unwrap();
        assert_eq!(patient.timeout(), Duration::MAX);
    }

    #[test]
    fn values_below_zero_are_refused_as_values() {
        for (option, value) in [("--timeout", "-1s"), ("--retries", "-1")] {
            let error = parse(&["127.0.0.1:1", option, value]).unwrap_err().to_string();
            assert!(error.contains(&format!("invalid value '{value}' for '{option}")), "{error}");
        }
    }

    #[test]
    fn what_this_version_does_not_have_is_told_by_its_name() {
        for arguments in [
            &["--tls"][..],
            &["--ca", "ca.pem"],
            &["--insecure"],
            &["--sni", "name"],
            &["--cert", "c.pem"],
            &["--key", "k.pem"],
        ] {
            let all = [&["127.0.0.1:1"], arguments].concat();
            let failure = parse(&all).unwrap().check().unwrap_err();
            let text = format!("error: {} is not available in this version", arguments[0]);
            assert_eq!(failure.to_string(), text);
        }
    }

    #[test]
    fn every_reason_has_one_of_the_words_of_the_contract() {
        let words =
            ["name not found", "refused", "timed out", "reset", "unreachable", "closed early"];
        let address = Target::from("127.0.0.1:1");
        for error in [
            ConnectError::NotFound,
            ConnectError::Refused,
            ConnectError::TimedOut,
            ConnectError::Unreachable,
            ConnectError::Reset,
        ] {
            let text = explain_connect(&address, &error);
            assert!(words.iter().any(|word| text.contains(word)), "{text}");
        }
        for reason in [
            CloseReason::Eof,
            CloseReason::Deadline(reactor::Deadline::Set),
            CloseReason::Io(io::ErrorKind::ConnectionReset),
            CloseReason::Io(io::ErrorKind::BrokenPipe),
            CloseReason::Io(io::ErrorKind::TimedOut),
            CloseReason::Io(io::ErrorKind::HostUnreachable),
        ] {
            let text = explain_close(&reason);
            assert!(words.iter().any(|word| text.contains(word)), "{text}");
        }
    }
}
