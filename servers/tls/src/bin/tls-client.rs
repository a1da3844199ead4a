//! Stdin to a TLS server, and what it says to stdout. See `tls-client --help`.

use std::io;
use std::process::ExitCode;

use clap::Parser;
use reactor::{Reactor, ServiceConfig, inbox};
use servers_common::{ClientOptions, Failure, Input, LogOptions, Output, Unit, run, stdout_file};
use tls::{ClientMessage, ClientPlan, TlsClient};

/// Sends stdin over TLS and prints what comes back, until the server finishes.
///
/// Protocol, cipher suite, and whether the session was resumed are told on stderr. The end of stdin is passed on
/// (close_notify); the server may go on.
#[derive(Parser)]
#[command(name = "tls-client", version)]
struct Arguments {
    #[command(flatten)]
    client: ClientOptions,
}

/// Bytes of stdin that are read at a time.
const CHUNK: usize = 64 * 1024;

fn main() -> ExitCode {
    run(&[], |Arguments { client }| {
        let options = client.with_tls();
        options.check()?;
        LogOptions::start_for_client();
        exchange(&options)
    })
}

fn exchange(options: &ClientOptions) -> Result<(), Failure> {
    let cannot_start = |error: io::Error| Failure::run(format!("cannot start: {error}"));
    let plan = ClientPlan {
        connect: options.connect()?,
        address: options.address.clone(),
        timeout: options.timeout(),
        retries: options.retries,
    };
    let (handle, messages) = inbox(16);
    let chunks = Unit::Chunk(CHUNK);
    let input = Input::start(io::stdin(), chunks, handle.clone(), ClientMessage::Input)
        .map_err(cannot_start)?;
    let stdout = stdout_file().map_err(cannot_start)?;
    let output = Output::start(stdout, handle, ClientMessage::Output).map_err(cannot_start)?;
    let mut reactor = Reactor::new().map_err(cannot_start)?;
    let config = ServiceConfig::new().limits(TlsClient::limits()).inbox(messages);
    let client = reactor.add_with(TlsClient::new(plan, input, output), config);
    reactor.with(&client, |client, cx| client.start(cx));
    reactor.run().map_err(|error| Failure::run(format!("the event loop has failed: {error}")))?;
    reactor.get(&client).outcome()
}
