//! What a chat may be told, beside what all servers may.

use std::path::PathBuf;
use std::time::Duration;

use chat::{ChatSettings, Framing, Rate};
use clap::Args;
use servers_common::{Failure, parse_duration, parse_size};

use crate::accounts::read_accounts;

#[derive(Args)]
pub(crate) struct ChatOptions {
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
    pub(crate) console: bool,
}

impl ChatOptions {
    /// What the chat is made with. The accounts are read.
    ///
    /// # Errors
    /// The file of accounts, and what is wrong with it.
    pub(crate) fn settings(&self, queue_limit: usize) -> Result<ChatSettings, Failure> {
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
