//! A chat for as many as will. See `chat-server --help`.

mod accounts;
mod numbers;
mod options;

use std::process::ExitCode;
use std::sync::Arc;

use chat::{ChatLoops, ChatMessage};
use clap::Parser;
use reactor::describe;
use servers_common::{Extras, Failure, Program, ServerOptions, Traffic, run, serve_with};

use accounts::Task;
use numbers::numbers;
use options::ChatOptions;

/// A chat: rooms, names, whispers, accounts.
#[derive(Parser)]
#[command(name = "chat-server", version, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    task: Option<Task>,
    #[command(flatten)]
    chat: ChatOptions,
    #[command(flatten)]
    server: ServerOptions,
}

fn main() -> ExitCode {
    run(&[("listen", "127.0.0.1:9001"), ("idle_timeout", "0")], |arguments: Arguments| {
        match arguments.task {
            Some(task) => task.perform(),
            None => serve_chat(&arguments.chat, &arguments.server),
        }
    })
}

fn serve_chat(chat: &ChatOptions, server: &ServerOptions) -> Result<(), Failure> {
    let mut limits = server.limits(Traffic::FansOut);
    limits.input_max = 0; // --max-line and --max-frame are the bound
    let version = env!("CARGO_PKG_VERSION");
    let program = Program { name: "chat-server", version, datagrams: false, limits };
    let loops = Arc::new(ChatLoops::new(chat.settings(server.queue_limit)?, server.loops));
    if chat.console {
        let cannot = |error| Failure::run(format!("cannot open the console: {}", describe(&error)));
        loops.open_console().map_err(cannot)?;
    }
    let (counters, handle) = (loops.counters(), loops.handle());
    let extras = Extras {
        numbers: Some(Box::new(move || numbers(&counters))),
        farewell: Some(Box::new(move |grace| {
            handle.as_ref().is_some_and(|home| home.send(ChatMessage::farewell(grace)).is_ok())
        })),
    };
    serve_with(server, program, extras, move |number, config| {
        let (handler, inbox) = loops.part(number).unwrap_or_else(|| unreachable!("one a loop"));
        (handler, config.inbox(inbox))
    })
}
