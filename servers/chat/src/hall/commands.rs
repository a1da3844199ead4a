//! What the commands do.

use std::rc::Rc;
use std::time::Instant;

use super::{Hall, Outlet, RoomId, Seat};
use crate::names::{LOBBY, SERVER, is_guest_name, name_in, room_name_in};
use crate::protocol::{Cleaned, Command, HELP, LOGIN_USAGE};

impl Hall {
    pub(super) fn obey(
        &mut self,
        seat: Seat,
        command: Command<'_>,
        now: Instant,
        out: &mut dyn Outlet,
    ) {
        let is_outside = self.people.get(seat).is_none_or(|person| person.room.is_none());
        match command {
            Command::Login { user, password } => self.log_in(seat, user, password, now, out),
            Command::Help => self.help(seat, out),
            Command::Quit => self.quit(seat, out),
            Command::Incomplete(usage @ LOGIN_USAGE) => {
                self.tell(seat, format_args!("! usage: {usage}"), out);
            }
            _ if is_outside => self.tell(seat, format_args!("! log in first"), out),
            Command::Name(new) => self.name(seat, new, out),
            Command::Who => self.who(seat, out),
            Command::Whisper { name, text } => self.whisper(seat, name, text, out),
            Command::Rooms => self.list_rooms(seat, out),
            Command::Join(room) => self.join(seat, room, out),
            Command::Leave => self.move_to(seat, LOBBY, out),
            Command::Kick(name) => self.kick(seat, name, out),
            Command::Incomplete(usage) => {
                self.tell(seat, format_args!("! usage: {usage}"), out);
            }
            Command::Unknown(word) => {
                self.tell(seat, format_args!("! unknown command: {}", Cleaned(word)), out);
            }
        }
    }

    fn help(&self, seat: Seat, out: &mut dyn Outlet) {
        let mut wire = Vec::new();
        for line in HELP {
            self.add_notice(&mut wire, format_args!("* {line}"));
        }
        self.tell_wire(seat, &wire, out);
    }

    fn quit(&mut self, seat: Seat, out: &mut dyn Outlet) {
        self.tell(seat, format_args!("* bye"), out);
        self.remove(seat, out, |name, room| format!("* {name} left {room}"));
        out.close(seat);
    }

    fn name(&mut self, seat: Seat, new: &[u8], out: &mut dyn Outlet) {
        match name_in(new) {
            None => self.tell(seat, format_args!("! bad name"), out),
            Some(new) if self.is_taken(seat, new) => {
                self.tell(seat, format_args!("! name taken: {new}"), out);
            }
            Some(new) => self.rename(seat, &Rc::from(new), out),
        }
    }

    /// Whether somebody has a better claim to a name than this one.
    fn is_taken(&self, seat: Seat, name: &str) -> bool {
        let Some(person) = self.people.get(seat) else { return true };
        if *person.name == *name {
            return false;
        }
        let is_own_account = person.account.as_deref() == Some(name);
        let is_own_guest = seat != Seat::Console && name == super::guest_name(person.guest);
        self.people.named(name).is_some()
            || (self.accounts.contains(name) && !is_own_account)
            || (name == SERVER && seat != Seat::Console)
            || (is_guest_name(name) && !is_own_guest)
    }

    /// The name must be nobody's. The room hears of it.
    pub(super) fn rename(&mut self, seat: Seat, new: &Rc<str>, out: &mut dyn Outlet) {
        let Some(person) = self.people.get(seat) else { return };
        let (old, room) = (Rc::clone(&person.name), person.room);
        self.people.rename(seat, new);
        if let Some(room) = room {
            self.rooms.rename(room, &old, new);
            self.say_notice(room, format_args!("* {old} is now {new}"), out);
        }
    }

    fn who(&self, seat: Seat, out: &mut dyn Outlet) {
        let Some(room) = self.people.get(seat).and_then(|person| person.room) else { return };
        let mut text = format!("* in {}: ", self.rooms.name(room));
        for (index, name) in self.rooms.names(room).enumerate() {
            text.push_str(if index == 0 { "" } else { ", " });
            text.push_str(name);
        }
        self.tell(seat, format_args!("{text}"), out);
    }

    fn whisper(&self, seat: Seat, name: &[u8], text: &[u8], out: &mut dyn Outlet) {
        let Some(speaker) = self.people.get(seat) else { return };
        let Some((to, listener)) = name_in(name).and_then(|name| self.people.present(name)) else {
            return self.tell(seat, format_args!("! no such user: {}", Cleaned(name)), out);
        };
        let (mut wire, framing) = (Vec::new(), self.rules.framing);
        framing.frame(&mut wire, |wire| {
            wire.extend_from_slice(format!("[whisper from {}] ", speaker.name).as_bytes());
            framing.quote(wire, text);
        });
        out.tell(to, listener.room, &wire);
        self.tell(seat, format_args!("* whispered to {}", listener.name), out);
    }

    fn list_rooms(&self, seat: Seat, out: &mut dyn Outlet) {
        let mut wire = Vec::new();
        for (name, people) in self.rooms.list() {
            self.add_notice(&mut wire, format_args!("* {name} {people}"));
        }
        self.tell_wire(seat, &wire, out);
    }

    fn join(&mut self, seat: Seat, name: &[u8], out: &mut dyn Outlet) {
        match room_name_in(name) {
            Some(name) => self.move_to(seat, name, out),
            None => self.tell(seat, format_args!("! bad room name"), out),
        }
    }

    fn move_to(&mut self, seat: Seat, name: &str, out: &mut dyn Outlet) {
        let Some(person) = self.people.get(seat) else { return };
        let (person_name, Some(old)) = (Rc::clone(&person.name), person.room) else { return };
        let mut greeting = self.notice(format_args!("* you are in {name}"));
        let found = self.rooms.find(name);
        if found == Some(old) {
            return out.tell(seat, Some(old), &greeting);
        }
        if name != LOBBY {
            if found.is_some_and(|room| self.is_full(self.rooms.people(room))) {
                return self.tell(seat, format_args!("! {name} is full"), out);
            }
            if found.is_none() && self.is_one_too_many(old) {
                return self.tell(seat, format_args!("! too many rooms"), out);
            }
        }
        out.leave(seat, old);
        let text = format!("* {person_name} left {}", self.rooms.name(old));
        self.say_notice(old, format_args!("{text}"), out);
        self.rooms.leave(old, &person_name);
        self.enter_room(seat, name, &mut greeting, out);
    }

    /// Whether a room more, made by somebody who leaves `old`, would be one too many. The lobby counts,
    /// whether somebody is there or not.
    fn is_one_too_many(&self, old: RoomId) -> bool {
        let lobby = self.rooms.find(LOBBY);
        let is_gone = lobby != Some(old) && self.rooms.people(old) == 1;
        let others = self.rooms.len() - usize::from(lobby.is_some()) - usize::from(is_gone);
        self.rules.max_rooms != 0 && others + 2 > self.rules.max_rooms
    }

    fn is_full(&self, people: usize) -> bool {
        self.rules.room_limit != 0 && people >= self.rules.room_limit
    }

    fn kick(&mut self, seat: Seat, name: &[u8], out: &mut dyn Outlet) {
        let Some(operator) = self.people.get(seat) else { return };
        if !operator.is_operator {
            return self.tell(seat, format_args!("! not an operator"), out);
        }
        let by = Rc::clone(&operator.name);
        let Some((victim, _)) = name_in(name).and_then(|name| self.people.present(name)) else {
            return self.tell(seat, format_args!("! no such user: {}", Cleaned(name)), out);
        };
        self.tell(victim, format_args!("! kicked by {by}"), out);
        self.remove(victim, out, |name, _| format!("* {name} was kicked by {by}"));
        out.close(victim);
    }

    fn tell_wire(&self, seat: Seat, wire: &[u8], out: &mut dyn Outlet) {
        if let Some(person) = self.people.get(seat) {
            out.tell(seat, person.room, wire);
        }
    }
}
