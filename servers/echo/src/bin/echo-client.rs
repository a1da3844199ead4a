//! Sends stdin to an echo server, and prints what comes back. See `echo-client --help`.

use std::io;
use std::process::ExitCode;

use clap::Parser;
use echo::{ClientMessage, ClientPlan, EchoClient};
use reactor::{Reactor, ServiceConfig, inbox};
use servers_common::{ClientOptions, Failure, Input, LogOptions, Output, Unit, run, stdout_file};

/// Sends stdin to an echo server and prints what comes back.
///
/// It is done when stdin has ended and as many bytes have come back.
#[derive(Parser)]
#[command(name = "echo-client", version)]
struct Arguments {
    #[command(flatten)]
    client: ClientOptions,
}

/// Bytes of stdin that are read at a time.
const CHUNK: usize = 64 * 1024;

fn main() -> ExitCode {
    run(&[], |Arguments { client }| {
        client.check()?;
        LogOptions::start_for_client();
        exchange(&client)
    })
}

fn exchange(options: &ClientOptions) -> Result<(), Failure> {
    let cannot_start = |error: io::Error| Failure::run(format!("cannot start: {error}"));
    let (handle, messages) = inbox(16);
    let chunks = Unit::Chunk(CHUNK);
    let input = Input::start(io::stdin(), chunks, handle.clone(), ClientMessage::Input)
        .map_err(cannot_start)?;
    let stdout = stdout_file().map_err(cannot_start)?;
    let output = Output::start(stdout, handle, ClientMessage::Output).map_err(cannot_start)?;
    let plan = ClientPlan {
        connect: options.connect()?,
        address: options.address.clone(),
        timeout: options.timeout(),
        retries: options.retries,
    };
    let mut reactor = Reactor::new().map_err(cannot_start)?;
    let client = EchoClient::new(plan, input, output);
    let config = ServiceConfig::new().limits(EchoClient::limits()).inbox(messages);
    let client = reactor.add_with(client, config);
    reactor.with(&client, |client, cx| client.start(cx));
    reactor.run().map_err(|error| Failure::run(format!("the event loop has failed: {error}")))?;
    reactor.get(&client).outcome()
}
