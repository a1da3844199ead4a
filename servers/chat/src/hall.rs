//! The hall: everything that is decided in the chat. Who is there and what they are called, the rooms, who
//! hears what.
//!
//! It is one state machine, however many loops there are: what people do comes in, in one order, and what
//! follows goes to an [`Outlet`], in one order. It knows no socket, no loop and no clock.

mod commands;
mod login;
mod people;
mod rooms;

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use reactor::ConnId;

use self::login::Failures;
use self::people::{People, Person};
pub(crate) use self::rooms::RoomId;
use self::rooms::Rooms;
use crate::accounts::Names;
use crate::counters::ChatCounters;
use crate::names::{LOBBY, guest_name};
use crate::protocol::{FAREWELL, Framing, Message};

/// Where somebody is to be reached: a connection of a loop, or the operator's console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seat {
    /// A connection of the loop with this number.
    Peer(u16, ConnId),
    Console,
}

/// Why somebody is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    Vanished,
    TooSlow,
    Idle,
}

impl Why {
    fn suffix(self) -> &'static str {
        match self {
            Self::Vanished => "",
            Self::TooSlow => " (too slow)",
            Self::Idle => " (idle)",
        }
    }
}

/// A claim to be somebody, to be checked off the loop's thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) seat: Seat,
    /// Where it comes from; a Unix socket is no address.
    pub(crate) address: Option<IpAddr>,
    /// `None` if it is no name: nobody is called that, and it takes as long to find out.
    pub(crate) user: Option<String>,
    pub(crate) password: Vec<u8>,
}

/// What became of a claim.
#[derive(Clone, Debug)]
pub(crate) struct Checked {
    pub(crate) claim: Claim,
    /// Whether it is who it claims to be, and then whether that is an operator.
    pub(crate) operator: Option<bool>,
    /// The names of all accounts, if they have changed.
    pub(crate) names: Option<Names>,
}

/// What follows from what people do. All of it is done in the order in which it is asked for.
pub(crate) trait Outlet {
    /// One hears something alone, behind all that was said before in its room.
    fn tell(&mut self, seat: Seat, room: Option<RoomId>, wire: &[u8]);
    /// All in a room hear something, but for who says it.
    fn say(&mut self, room: RoomId, from: Option<Seat>, wire: &[u8]);
    /// One hears from now on what is said in a room.
    fn join(&mut self, seat: Seat, room: RoomId);
    /// One does no longer.
    fn leave(&mut self, seat: Seat, room: RoomId);
    /// The connection closes, behind all that its owner was told.
    fn close(&mut self, seat: Seat);
    /// Whoever waited for the outcome of a login may speak again.
    fn resume(&mut self, seat: Seat);
    /// Has a claim checked; it comes back to [`Hall::checked`]. Whether there was room for it.
    fn check(&mut self, claim: Claim) -> bool;
}

/// How a chat is to be.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) framing: Framing,
    /// Messages that a room remembers.
    pub(crate) history: usize,
    /// People in a room other than the lobby; 0: any number.
    pub(crate) room_limit: usize,
    /// Rooms, the lobby too; 0: any number.
    pub(crate) max_rooms: usize,
    pub(crate) require_login: bool,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Hall {
    rules: Rules,
    people: People,
    rooms: Rooms,
    accounts: Names,
    failures: Failures,
    counters: Arc<ChatCounters>,
    /// How many guests there were.
    guests: u64,
    /// It is over: nobody is heard any more.
    is_closed: bool,
    /// The message that is being written, kept for its memory.
    wire: Vec<u8>,
}

impl Hall {
    /// An empty hall, for so many loops.
    pub(crate) fn new(
        rules: Rules,
        loops: usize,
        accounts: Names,
        counters: Arc<ChatCounters>,
    ) -> Self {
        Self {
            people: People::new(loops),
            rooms: Rooms::new(rules.history),
            accounts,
            failures: Failures::default(),
            counters,
            guests: 0,
            is_closed: false,
            wire: Vec::new(),
            rules,
        }
    }

    /// Somebody comes.
    pub(crate) fn enter(&mut self, seat: Seat, address: Option<IpAddr>, out: &mut dyn Outlet) {
        if self.is_closed {
            return out.close(seat);
        }
        self.guests += 1;
        let name: Rc<str> = guest_name(self.guests).into();
        self.people.insert(seat, Person::guest(self.guests, Rc::clone(&name), address));
        self.counters.people.add(1);
        let mut greeting = self.notice(format_args!("* welcome, {name}; /help lists the commands"));
        if self.rules.require_login {
            out.tell(seat, None, &greeting);
        } else {
            self.enter_room(seat, LOBBY, &mut greeting, out);
        }
    }

    /// The one who runs the server takes part: in the lobby, as an operator.
    pub(crate) fn enter_console(&mut self, out: &mut dyn Outlet) {
        self.people.insert(Seat::Console, Person::server());
        self.counters.people.add(1);
        self.enter_room(Seat::Console, LOBBY, &mut Vec::new(), out);
    }

    /// Somebody says something: text, or a command.
    pub(crate) fn hear(&mut self, seat: Seat, bytes: &[u8], now: Instant, out: &mut dyn Outlet) {
        if self.is_closed || !self.people.contains(seat) {
            return;
        }
        match Message::parse(bytes) {
            Message::Text(text) => self.say(seat, text, out),
            Message::Command(command) => self.obey(seat, command, now, out),
            Message::Empty => {}
        }
    }

    /// Somebody speaks too fast, and is told.
    pub(crate) fn too_fast(&mut self, seat: Seat, out: &mut dyn Outlet) {
        self.tell(seat, format_args!("! slow down"), out);
    }

    /// Somebody's message had no end.
    pub(crate) fn too_long(&mut self, seat: Seat, out: &mut dyn Outlet) {
        self.tell(seat, format_args!("! too long"), out);
        self.exit(seat, Why::Vanished, out);
    }

    /// Somebody is gone, has finished, or has been silent for too long: its connection closes, behind all
    /// that it was told. Of who has left already nothing is told.
    pub(crate) fn exit(&mut self, seat: Seat, why: Why, out: &mut dyn Outlet) {
        if why == Why::TooSlow && self.people.contains(seat) {
            self.counters.dropped_slow.add(1);
        }
        let suffix = why.suffix();
        if self.remove(seat, out, |name, room| format!("* {name} left {room}{suffix}")) {
            out.close(seat);
        }
    }

    /// It is over: everyone hears so, after all that was said before, and nobody is heard any more.
    pub(crate) fn farewell(&mut self, out: &mut dyn Outlet) {
        if std::mem::replace(&mut self.is_closed, true) {
            return;
        }
        let farewell = self.notice(format_args!("{FAREWELL}"));
        for room in self.rooms.ids() {
            out.say(room, None, &farewell);
        }
        for seat in self.people.outside() {
            out.tell(seat, None, &farewell);
        }
    }

    fn say(&mut self, seat: Seat, text: &[u8], out: &mut dyn Outlet) {
        let Some(person) = self.people.get(seat) else { return };
        let Some(room) = person.room else {
            return self.tell(seat, format_args!("! log in first"), out);
        };
        let framing = self.rules.framing;
        self.wire.clear();
        framing.frame(&mut self.wire, |wire| {
            wire.extend_from_slice(person.name.as_bytes());
            wire.extend_from_slice(b": ");
            framing.quote(wire, text);
        });
        let listeners = self.rooms.remember(room, &self.wire);
        self.counters.messages.add(1);
        self.counters.deliveries.add(listeners.saturating_sub(1) as u64);
        out.say(room, Some(seat), &self.wire);
    }

    /// Takes somebody out of the chat; those who stay in the room hear `notice`, made of name and room,
    /// but for the end of the chat, after which nothing is heard.
    fn remove(
        &mut self,
        seat: Seat,
        out: &mut dyn Outlet,
        notice: impl FnOnce(&str, &str) -> String,
    ) -> bool {
        let Some(person) = self.people.remove(seat) else { return false };
        self.counters.people.subtract(1);
        if let Some(room) = person.room {
            out.leave(seat, room);
            if !self.is_closed {
                let text = notice(&person.name, self.rooms.name(room));
                self.say_notice(room, format_args!("{text}"), out);
            }
            self.rooms.leave(room, &person.name);
            self.counters.rooms.set(self.rooms.len() as u64);
        }
        true
    }

    /// Lets somebody into a room, who hears `greeting` and then what was said there; the others hear of it.
    fn enter_room(&mut self, seat: Seat, name: &str, greeting: &mut Vec<u8>, out: &mut dyn Outlet) {
        let Some(person) = self.people.get_mut(seat) else { return };
        let room = self.rooms.enter(name, &person.name);
        person.room = Some(room);
        let text = format!("* {} joined {name}", person.name);
        self.counters.rooms.set(self.rooms.len() as u64);
        self.say_notice(room, format_args!("{text}"), out);
        out.join(seat, room);
        self.rooms.recall(room, self.rules.framing, greeting);
        if !greeting.is_empty() {
            out.tell(seat, Some(room), greeting);
        }
    }

    fn notice(&self, text: std::fmt::Arguments<'_>) -> Vec<u8> {
        let mut wire = Vec::new();
        self.add_notice(&mut wire, text);
        wire
    }

    fn add_notice(&self, wire: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
        self.rules.framing.frame(wire, |wire| {
            use std::io::Write;
            let _ = wire.write_fmt(text); // a vector takes all
        });
    }

    fn tell(&self, seat: Seat, text: std::fmt::Arguments<'_>, out: &mut dyn Outlet) {
        if let Some(person) = self.people.get(seat) {
            out.tell(seat, person.room, &self.notice(text));
        }
    }

    /// All in a room hear a notice.
    fn say_notice(&self, room: RoomId, text: std::fmt::Arguments<'_>, out: &mut dyn Outlet) {
        out.say(room, None, &self.notice(text));
    }
}
