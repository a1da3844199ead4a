//! What the clients share: where to, how long, how often, and how to tell what went wrong.

use std::io;
use std::time::Duration;

use clap::Args;
use reactor::{CloseReason, Connect, ConnectError, Target};

use crate::address::parse_peer;
use crate::client_tls::ClientTlsOptions;
use crate::failure::Failure;
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
    tls: ClientTlsOptions,
}

impl ClientOptions {
    /// The same for a client that always speaks TLS, as if `--tls` had been given.
    pub fn with_tls(mut self) -> Self {
        self.tls.tls = true;
        self
    }

    /// Whether the options make sense together.
    ///
    /// # Errors
    /// The option that does not.
    pub fn check(&self) -> Result<(), Failure> {
        self.tls.check(&self.address)
    }

    /// How long each wait may be; [`Duration::MAX`] if for ever.
    pub fn timeout(&self) -> Duration {
        match self.timeout.is_zero() {
            true => Duration::MAX,
            false => self.timeout,
        }
    }

    /// The connection to be wished for. If it is not to be verified, stderr is warned.
    ///
    /// # Errors
    /// A file that TLS needs, and what is wrong with it.
    pub fn connect(&self) -> Result<Connect, Failure> {
        self.tls.apply(Connect::to(self.address.clone()).timeout(self.timeout()))
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
/// assert_eq!(
///     explain_close(&CloseReason::Truncated),
///     "closed early: the connection was cut off without TLS's close_notify"
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
        CloseReason::Tls(error) => error.to_string(),
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
    fn what_tls_needs_is_a_mistake_without_it() {
        for arguments in [
            &["--ca", "ca.pem"][..],
            &["--insecure"],
            &["--sni", "name"],
            &["--cert", "c.pem", "--key", "k.pem"],
        ] {
            let all = [&["127.0.0.1:1"], arguments].concat();
            let options = parse(&all).unwrap();
            let failure = options.check().unwrap_err();
            assert_eq!(failure, Failure::usage(format!("{} needs --tls", arguments[0])));
            assert!(options.with_tls().check().is_ok());
        }
        for half in [["--cert", "c.pem"], ["--key", "k.pem"]] {
            let all = [&["127.0.0.1:1", "--tls"], &half[..]].concat();
            assert_eq!(parse(&all).unwrap_err().exit_code(), 2);
        }
    }

    #[test]
    fn a_unix_socket_has_no_name_to_verify() {
        let failure = parse(&["unix:/run/x.sock", "--tls"]).unwrap().check().unwrap_err();
        assert!(matches!(failure, Failure::Usage(why) if why.contains("--sni")));
        let named = parse(&["unix:/run/x.sock", "--tls", "--sni", "localhost"]).unwrap();
        assert!(named.check().is_ok());
    }

    #[test]
    fn a_file_that_tls_needs_is_named_if_it_is_not_there() {
        for arguments in [&["--ca", "/no/ca.pem"][..], &["--cert", "/no/c.pem", "--key", "k.pem"]] {
            let all = [&["127.0.0.1:1", "--tls"], arguments].concat();
            let failure = parse(&all).unwrap().connect().unwrap_err();
            let text = format!("{}: no such file or directory", arguments[1]);
            assert_eq!(failure, Failure::run(text));
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
