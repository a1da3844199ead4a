//! Takes part in a chat. See `chat-client --help`.

mod streams;

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use chat::{ChatClient, ClientPlan, Framing, TerminalKept};
use clap::Parser;
use reactor::{Reactor, ServiceConfig, describe, inbox};
use servers_common::{ClientOptions, Failure, LogOptions, print_error_line, run};

use streams::{is_terminal, streams};

/// What is typed goes to the chat, and what the chat says is shown. A connection that is lost is made anew.
#[derive(Parser)]
#[command(name = "chat-client", version)]
struct Arguments {
    #[command(flatten)]
    client: ClientOptions,
    /// What to be called
    #[arg(long, value_name = "NAME", allow_hyphen_values = true)]
    name: Option<String>,
    /// How messages follow each other, as the server has it: line or length
    #[arg(long, default_value = "line")]
    framing: Framing,
    /// Show notices, errors and whispers without colours; NO_COLOR does the same
    #[arg(long)]
    no_color: bool,
}

fn main() -> ExitCode {
    run(&[], |arguments: Arguments| {
        arguments.client.check()?;
        LogOptions::start_for_client();
        let kept = TerminalKept::new();
        let outcome = take_part(arguments);
        drop(kept);
        outcome
    })
}

fn take_part(arguments: Arguments) -> Result<(), Failure> {
    let cannot_start =
        |error: io::Error| Failure::run(format!("cannot start: {}", describe(&error)));
    let options = &arguments.client;
    let (handle, messages) = inbox(64);
    let (input, output) = streams(handle).map_err(cannot_start)?;
    let is_colourless = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let plan = ClientPlan {
        connect: options.connect()?,
        address: options.address.clone(),
        timeout: options.timeout(),
        retries: options.retries,
        framing: arguments.framing,
        name: arguments.name,
        has_colours: io::stdout().is_terminal() && !arguments.no_color && !is_colourless,
        tell: (!is_terminal() || !io::stderr().is_terminal()).then_some(print_error_line),
    };
    let mut reactor = Reactor::new().map_err(cannot_start)?;
    let config = ServiceConfig::new().limits(ChatClient::limits()).inbox(messages);
    let client = reactor.add_with(ChatClient::new(plan, input, output), config);
    reactor.with(&client, |client, cx| client.start(cx));
    reactor.run().map_err(|error| Failure::run(format!("the event loop has failed: {error}")))?;
    reactor.get(&client).outcome()
}
