//! A chat on one loop or on several: how its parts are made, and how they know each other.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reactor::{Handle, Inbox, inbox};

use crate::accounts::Accounts;
use crate::console::Console;
use crate::counters::ChatCounters;
use crate::desk::Desk;
use crate::flood::Rate;
use crate::floor::{Floor, turn_max};
use crate::hall::{Hall, Rules};
use crate::handler::{Chat, Front, Role};
use crate::home::{HOME, Home};
use crate::lane::Lane;
use crate::message::{ChatMessage, Word};
use crate::protocol::Framing;

/// How a chat is to be.
#[derive(Clone, Debug)]
pub struct ChatSettings {
    /// How messages follow each other.
    pub framing: Framing,
    /// Bytes that a message may have, its framing not counted; 0: any number.
    pub message_max: usize,
    /// How fast one may speak.
    pub rate: Rate,
    /// For how long what is said may be gathered; zero: it leaves at once.
    pub tick: Duration,
    /// Messages that a room remembers for those who come.
    pub history: usize,
    /// People in a room other than the lobby; 0: any number.
    pub room_limit: usize,
    /// Rooms, the lobby counted; 0: any number.
    pub max_rooms: usize,
    /// Whether one must log in before anything else.
    pub require_login: bool,
    /// [`Limits::queue_max`](reactor::Limits::queue_max) of the service: what is said in a turn must be well
    /// below it.
    pub queue_limit: usize,
    /// Messages that may wait for a loop, at least 1; what does not find room waits where it is.
    pub inbox: usize,
    /// Who may log in.
    pub accounts: Accounts,
    /// Where they are read from again when the file has changed.
    pub accounts_file: Option<PathBuf>,
}

impl Default for ChatSettings {
    fn default() -> Self {
        Self {
            framing: Framing::Line,
            message_max: 1024,
            rate: Rate::default(),
            tick: Duration::ZERO,
            history: 10,
            room_limit: 0,
            max_rooms: 10_000,
            require_login: false,
            queue_limit: 1 << 20,
            inbox: 1024,
            accounts: Accounts::default(),
            accounts_file: None,
        }
    }
}

/// The parts of one chat: a handler for each loop, and the inbox by which it hears of the others.
///
/// ```
/// use chat::{ChatLoops, ChatSettings};
/// use reactor::{Config, ServiceConfig, Stage};
///
/// let chat = ChatLoops::new(ChatSettings::default(), 1);
/// let (handler, inbox) = chat.part(0).unwrap();
/// let mut stage = Stage::with_config(handler, Config::default(), ServiceConfig::new().inbox(inbox));
/// let (alice, bob) = (stage.open(), stage.open());
/// stage.sent(bob);
/// stage.deliver(alice, b"hello\n");
/// assert_eq!(stage.sent(bob), b"guest-1: hello\n");
/// ```
#[derive(Debug)]
pub struct ChatLoops {
    settings: ChatSettings,
    handles: Vec<Handle<ChatMessage>>,
    inboxes: Mutex<Vec<Option<Inbox<ChatMessage>>>>,
    counters: Arc<ChatCounters>,
}

impl ChatLoops {
    /// A chat on so many loops; on at least one.
    pub fn new(settings: ChatSettings, loops: u16) -> Self {
        let made = (0..loops.max(1)).map(|_| inbox(settings.inbox));
        let (handles, inboxes) = made.map(|(handle, inbox)| (handle, Some(inbox))).unzip();
        let counters = Arc::new(ChatCounters::default());
        Self { settings, handles, inboxes: Mutex::new(inboxes), counters }
    }

    /// What the loop with this number is given; to be asked for on its own thread, once. The numbers are
    /// those of the loops themselves: [`Config::loop_number`](reactor::Config::loop_number).
    ///
    /// `None` if there is no such loop, or it has its part already.
    pub fn part(&self, number: u16) -> Option<(Chat, Inbox<ChatMessage>)> {
        let inbox = {
            let mut inboxes = self.inboxes.lock().unwrap_or_else(PoisonError::into_inner);
            inboxes.get_mut(usize::from(number))?.take()?
        };
        let ChatSettings { framing, message_max, rate, tick, queue_limit, .. } = self.settings;
        let role = match number {
            HOME => Role::Home(Box::new(self.home()?)),
            number => Role::Front(Front { home: self.lane(number, HOME)?, is_told: false }),
        };
        let floor = Floor::new(tick, queue_limit);
        Some((Chat { framing, message_max, rate, floor, role }, inbox))
    }

    /// Lets whoever runs the program take part, on its standard streams.
    ///
    /// # Errors
    /// There is no thread, or no descriptor, to be had.
    pub fn open_console(&self) -> io::Result<()> {
        let Some(home) = self.handles.first() else { return Ok(()) };
        let console = Console::start(self.settings.framing, home)?;
        let begun = home.send(ChatMessage(Word::Begin(Box::new(console))));
        begun.map_err(|error| io::Error::other(error.to_string()))
    }

    /// Speaks to loop 0.
    pub fn handle(&self) -> Option<Handle<ChatMessage>> {
        self.handles.first().cloned()
    }

    /// The numbers of this chat, live.
    pub fn counters(&self) -> Arc<ChatCounters> {
        Arc::clone(&self.counters)
    }

    fn home(&self) -> Option<Home> {
        let settings = &self.settings;
        let rules = Rules {
            framing: settings.framing,
            history: settings.history,
            room_limit: settings.room_limit,
            max_rooms: settings.max_rooms,
            require_login: settings.require_login,
        };
        let names = settings.accounts.names();
        let hall = Hall::new(rules, self.handles.len(), names, self.counters());
        let (accounts, file) = (settings.accounts.clone(), settings.accounts_file.clone());
        let desk = Desk::new(accounts, file, self.handle()?);
        let others = (1..).take(self.handles.len() - 1);
        let lanes = others.filter_map(|number| self.lane(HOME, number)).collect();
        Some(Home::new(hall, desk, lanes))
    }

    fn lane<I: crate::lane::Item>(&self, from: u16, to: u16) -> Option<Lane<I>> {
        let to = self.handles.get(usize::from(to))?.clone();
        Some(Lane::new(from, to, turn_max(self.settings.queue_limit)))
    }
}
