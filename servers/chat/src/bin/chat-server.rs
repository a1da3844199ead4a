//! A chat for as many as will. See `chat-server --help`.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use chat::{Accounts, ChatCounters, ChatLoops, ChatMessage, ChatSettings, Framing, Rate};
use clap::{Args, Parser, Subcommand};
use reactor::describe;
use servers_common::{
    Extras, Failure, Number, Program, ServerOptions, Traffic, parse_duration, parse_size, run,
    serve_with,
};

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

#[derive(Subcommand)]
enum Task {
    /// Make an account, or replace it; the password is the first line of stdin
    Passwd {
        /// Where the accounts are
        #[arg(long, value_name = "FILE")]
        accounts: PathBuf,
        /// Whose account
        user: String,
        /// It may kick
        #[arg(long)]
        operator: bool,
    },
}

#[derive(Args)]
struct ChatOptions {
    /// How messages follow each other: line, or length (4 bytes, big-endian, before each)
    #[arg(long, default_value = "line")]
    framing: Framing,
    /// How long a line may be; 0: any length
    #[arg(long, value_name = "SIZE", default_value = "1024", value_parser = parse_size, allow_hyphen_values = true)]
    max_line: usize,
    /// How long a frame may be; 0: any length
    #[arg(long, value_name = "SIZE", default_value = "64KiB", value_parser = parse_size, allow_hyphen_values = true)]
    max_frame: usize,
    /// How many messages a second one may send in the long run; 0: any number
    #[arg(long, value_name = "N", default_value_t = Rate::default().per_second, allow_negative_numbers = true)]
    rate: u32,
    /// How many of them at once
    #[arg(long, value_name = "N", default_value_t = Rate::default().burst, allow_negative_numbers = true)]
    burst: u32,
    /// How long what is said may be gathered, for fewer packets; 0: it is sent at once
    #[arg(long, value_name = "DURATION", default_value = "0", value_parser = parse_duration, allow_hyphen_values = true)]
    tick: Duration,
    /// How many messages a room remembers for those who come
    #[arg(long, value_name = "N", default_value_t = 10, allow_negative_numbers = true)]
    history: usize,
    /// How many may be in a room; #lobby is never full; 0: any number
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true)]
    room_limit: usize,
    /// How many rooms there may be; 0: any number
    #[arg(long, value_name = "N", default_value_t = 10_000, allow_negative_numbers = true)]
    max_rooms: usize,
    /// Who may log in: a file that `chat-server passwd` writes
    #[arg(long, value_name = "FILE")]
    accounts: Option<PathBuf>,
    /// Answer nobody before a login
    #[arg(long, requires = "accounts")]
    require_login: bool,
    /// Take part at this terminal, as the operator `server`
    #[arg(long)]
    console: bool,
}

fn main() -> ExitCode {
    run(&[("listen", "127.0.0.1:9001"), ("idle_timeout", "0")], |arguments: Arguments| {
        match arguments.task {
            Some(Task::Passwd { accounts, user, operator }) => {
                set_password(&accounts, &user, operator)
            }
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

impl ChatOptions {
    fn settings(&self, queue_limit: usize) -> Result<ChatSettings, Failure> {
        let path = self.accounts.as_deref();
        let accounts = path.map(|path| read_accounts(path, false)).transpose()?;
        Ok(ChatSettings {
            framing: self.framing,
            message_max: match self.framing {
                Framing::Line => self.max_line,
                Framing::Length => self.max_frame,
            },
            rate: Rate { per_second: self.rate, burst: self.burst },
            tick: self.tick,
            history: self.history,
            room_limit: self.room_limit,
            max_rooms: self.max_rooms,
            require_login: self.require_login,
            queue_limit,
            accounts: accounts.unwrap_or_default(),
            accounts_file: self.accounts.clone(),
            ..ChatSettings::default()
        })
    }
}

#[rustfmt::skip] // a table
fn numbers(counters: &ChatCounters) -> Vec<Number> {
    let number = |name, help, only_grows, value| Number { name, help, only_grows, value };
    vec![
        number("chat_people", "People who are there", false, counters.people.get()),
        number("chat_rooms", "Rooms with somebody in them", false, counters.rooms.get()),
        number("chat_messages", "Messages said in rooms", true, counters.messages.get()),
        number("chat_deliveries", "The same, once for each listener", true, counters.deliveries.get()),
        number("chat_dropped_slow", "Listeners closed because they did not keep up", true, counters.dropped_slow.get()),
    ]
}

fn read_accounts(path: &Path, may_be_missing: bool) -> Result<Accounts, Failure> {
    match Accounts::read(path) {
        Err(error) if may_be_missing && error.kind() == io::ErrorKind::NotFound => {
            Ok(Accounts::default())
        }
        read => read.map_err(|error| {
            let (path, why) = (path.display(), describe(&error));
            Failure::run(format!("cannot read the accounts in {path}: {why}"))
        }),
    }
}

/// Bytes of a password.
const PASSWORD_MAX: u64 = 1024;

fn set_password(path: &Path, user: &str, is_operator: bool) -> Result<(), Failure> {
    let mut accounts = read_accounts(path, true)?;
    let mut line = Vec::new();
    let cannot_read =
        |error| Failure::run(format!("cannot read the password: {}", describe(&error)));
    io::stdin().take(PASSWORD_MAX + 2).read_to_end(&mut line).map_err(cannot_read)?;
    let password = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let password = password.strip_suffix(b"\r").unwrap_or(password);
    if password.is_empty() || password.len() as u64 > PASSWORD_MAX {
        return Err(Failure::run(format!("the password must have 1 to {PASSWORD_MAX} bytes")));
    }
    accounts
        .set(user, password, is_operator)
        .map_err(|why| Failure::usage(format!("{user}: {why}")))?;
    accounts.write(path).map_err(|error| {
        let (path, why) = (path.display(), describe(&error));
        Failure::run(format!("cannot write the accounts to {path}: {why}"))
    })
}
