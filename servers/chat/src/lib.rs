//! A chat: rooms, names, whispers, accounts; one copy of what is said, however many listen.
//!
//! ```text
//!  loop 0  peers --> Chat --> Hall (decides) --> Floor (its listeners, room by room) --> peers
//!                              ^   |
//!                        Lane  |   v  Lane      bounded, both ways
//!  loop 1  peers --> Chat -----+   +----------> Floor --> peers
//! ```
//!
//! Everything that is decided is decided in one place, the hall of loop 0, in one order: names, rooms,
//! who hears what. The other loops send it what their people do, and do what it tells them to, both in order;
//! so a chat on several loops is the same chat. What is decided once is delivered everywhere: a loop writes
//! to its own listeners, and each line stands once in each loop, however many listen there.
//!
//! | | |
//! |---|---|
//! | `protocol.rs`, `names.rs`, `flood.rs` | messages, names, how fast one may speak: pure |
//! | `hall.rs` | the chat itself: people, rooms, commands, logins: a state machine without I/O |
//! | `floor.rs` | the listeners of one loop |
//! | `lane.rs`, `message.rs` | what loops say to each other, bounded and in order |
//! | `home.rs` | the loop that decides |
//! | `handler.rs` | the service: [`Chat`] |
//! | `accounts.rs`, `desk.rs` | the file of accounts; passwords, checked off the loop's thread |
//! | `console.rs`, `counters.rs`, `loops.rs` | the operator's terminal; numbers; how it is made: [`ChatLoops`] |
//! | `client.rs`, `presence.rs`, `terminal.rs` | the client: [`ChatClient`]; who it is; a terminal that is typed at |

#![deny(missing_docs)]

mod accounts;
mod client;
mod console;
mod counters;
mod desk;
mod floor;
mod flood;
mod hall;
mod handler;
mod home;
mod lane;
mod loops;
mod message;
mod names;
mod presence;
mod protocol;
#[cfg(feature = "terminal")]
mod terminal;

pub use accounts::Accounts;
pub use client::{ChatClient, ClientMessage, ClientPlan};
pub use counters::{ChatCounters, Count};
pub use flood::{Bucket, Rate, Ruling};
pub use handler::{Chat, Guest};
pub use loops::{ChatLoops, ChatSettings};
pub use message::ChatMessage;
pub use names::{LOBBY, SERVER, is_name, is_reserved, is_room_name};
pub use presence::{Farewell, Presence};
pub use protocol::{Command, Framing, Incoming, Message, clean};
#[cfg(feature = "terminal")]
pub use terminal::{TerminalKept, open_terminal};
