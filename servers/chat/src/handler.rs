//! The chat as a handler: the same on each loop, but for who decides.

use reactor::{CloseReason, ConnContext, ConnId, Context, Deadline, Handler, ReadBuffer, TimerId};

use crate::flood::{Bucket, Rate, Ruling};
use crate::floor::Floor;
use crate::hall::{Seat, Why};
use crate::home::{Deed, HOME, Home, Order};
use crate::lane::Lane;
use crate::message::{ChatMessage, Word};
use crate::protocol::{Command, Framing, Incoming, Message};

/// One loop's part of a chat; [`ChatLoops`](crate::ChatLoops) makes it.
///
/// Loop 0 decides, also for those who are connected to others: who is called what, who is in which room,
/// and in which order all that happened. The other loops read, and write what it tells them to.
#[derive(Debug)]
pub struct Chat {
    pub(crate) framing: Framing,
    /// Bytes of a message; 0: any number.
    pub(crate) message_max: usize,
    pub(crate) rate: Rate,
    pub(crate) floor: Floor,
    pub(crate) role: Role,
}

#[derive(Debug)]
pub(crate) enum Role {
    Home(Box<Home>),
    Front(Front),
}

/// A loop that does not decide.
#[derive(Debug)]
pub(crate) struct Front {
    pub(crate) home: Lane<(ConnId, Deed)>,
    /// It is over, and everyone has been told.
    pub(crate) is_told: bool,
}

/// What is kept of one connection: all else about its owner is in the hall.
#[derive(Debug)]
pub struct Guest {
    incoming: Incoming,
    bucket: Bucket,
}

impl Chat {
    /// Whether those who speak must wait.
    fn is_busy(&self) -> bool {
        match &self.role {
            Role::Home(home) => home.is_busy(&self.floor),
            Role::Front(front) => !front.home.is_open(),
        }
    }

    /// Somebody who is connected here does something.
    fn act(&mut self, id: ConnId, deed: Deed, bytes: &[u8], cx: &mut Context<'_>) {
        match &mut self.role {
            Role::Home(home) => {
                home.act(Seat::Peer(HOME, id), deed, bytes, &mut self.floor, cx);
            }
            Role::Front(front) => {
                front.home.push((id, deed), bytes);
                cx.at_turn_end();
            }
        }
    }

    /// A message has come. Whether its sender may say more at once.
    fn heard(&mut self, guest: &mut Guest, bytes: &[u8], cx: &mut ConnContext<'_>) -> bool {
        if bytes.is_empty() {
            return true;
        }
        match guest.bucket.take(self.rate, cx.now()) {
            Ruling::Dropped { tell: false } => return true,
            Ruling::Dropped { tell: true } => self.act(cx.id(), Deed::SpeaksTooFast, b"", cx),
            Ruling::Heard => {
                let is_login =
                    matches!(Message::parse(bytes), Message::Command(Command::Login { .. }));
                if is_login {
                    // What follows depends on the outcome; the hall lets it go on.
                    cx.pause();
                }
                self.act(cx.id(), Deed::Says, bytes, cx);
                return !is_login;
            }
        }
        true
    }

    fn end_turn(&mut self, cx: &mut Context<'_>) {
        match &mut self.role {
            Role::Home(home) => home.end_turn(&mut self.floor, cx),
            Role::Front(front) => {
                self.floor.end_turn(cx);
                front.home.send(cx);
                if front.home.is_open() {
                    self.floor.release(cx);
                }
            }
        }
    }

    /// What home asks for is done.
    fn follow(&mut self, order: Order, bytes: &[u8], cx: &mut Context<'_>) {
        let floor = &mut self.floor;
        match order {
            Order::Tell(id, room) => floor.tell(id, room, bytes, cx),
            Order::Say(room, from) => floor.say(room, from, bytes, cx),
            Order::Join(id, room) => floor.join(id, room),
            Order::Leave(id, room) => floor.leave(id, room, cx),
            Order::Close(id) => {
                if let Some(mut peer) = cx.at(id) {
                    peer.close();
                }
            }
            Order::Resume(id) => {
                if let Some(mut peer) = cx.at(id) {
                    peer.resume();
                }
            }
            Order::Stop(grace) => {
                floor.flush(cx);
                if let Role::Front(front) = &mut self.role {
                    front.is_told = true;
                }
                cx.shutdown(grace);
            }
        }
    }

    fn hear_word(&mut self, word: Word, cx: &mut Context<'_>) {
        match (&mut self.role, word) {
            (Role::Home(home), Word::Deeds(from, parcel)) => home.received(from, parcel, cx),
            (Role::Home(home), Word::Checked(checked)) => {
                home.checked(checked, &mut self.floor, cx);
            }
            (Role::Home(home), Word::Typed(event)) => home.typed(&event, &mut self.floor, cx),
            (Role::Home(home), Word::Shown(event)) => home.shown(&event),
            (Role::Home(home), Word::Begin(console)) => {
                home.open_console(*console, &mut self.floor, cx);
            }
            (Role::Home(home), Word::Farewell(grace)) => {
                home.farewell(grace, &mut self.floor, cx);
            }
            (Role::Front(front), Word::Orders(mut parcel)) => {
                front.home.heard(parcel.done);
                front.home.worked_off(parcel.letters.cost());
                cx.at_turn_end();
                while let Some((order, bytes)) = parcel.letters.next() {
                    self.follow(order, bytes, cx);
                }
            }
            // Nobody says that to this one.
            (Role::Home(_), Word::Orders(_)) | (Role::Front(_), _) => {}
        }
    }
}

impl Handler for Chat {
    type Session = Guest;
    type Message = ChatMessage;

    fn on_open(&mut self, cx: &mut ConnContext<'_>) -> Guest {
        log::debug!("{} is here", cx.peer());
        let address = cx.peer().ip();
        self.act(cx.id(), Deed::Enters(address), b"", cx);
        let incoming = Incoming::new(self.framing, self.message_max);
        Guest { incoming, bucket: Bucket::default() }
    }

    fn on_data(&mut self, guest: &mut Guest, input: &mut ReadBuffer, cx: &mut ConnContext<'_>) {
        // What is left in the input of one who has to wait is offered again.
        while cx.can_send() && !cx.is_full() {
            if self.is_busy() {
                return self.floor.hold(cx);
            }
            match guest.incoming.next(input) {
                Ok(Some(message)) => {
                    if !self.heard(guest, message, cx) {
                        return;
                    }
                }
                Ok(None) => return,
                Err(error) => {
                    log::debug!("{} sent {error}", cx.peer());
                    cx.pause();
                    return self.act(cx.id(), Deed::SpeaksTooLong, b"", cx);
                }
            }
        }
    }

    /// Half a message is none.
    fn on_eof(&mut self, _: &mut Guest, _: &mut ReadBuffer, cx: &mut ConnContext<'_>) {
        self.act(cx.id(), Deed::Exits(Why::Vanished), b"", cx);
    }

    fn on_deadline(&mut self, _: &mut Guest, _: Deadline, cx: &mut ConnContext<'_>) {
        self.act(cx.id(), Deed::Exits(Why::Idle), b"", cx);
    }

    fn on_close(&mut self, _: Guest, reason: &CloseReason, cx: &mut ConnContext<'_>) {
        log::debug!("{} is gone: {reason}", cx.peer());
        let why = match reason {
            CloseReason::SlowConsumer => Why::TooSlow,
            _ => Why::Vanished,
        };
        self.act(cx.id(), Deed::Exits(why), b"", cx);
    }

    fn on_message(&mut self, message: ChatMessage, cx: &mut Context<'_>) {
        self.hear_word(message.0, cx);
    }

    fn on_inbox_drained(&mut self, cx: &mut Context<'_>) {
        cx.at_turn_end();
    }

    fn on_timer(&mut self, timer: TimerId, cx: &mut Context<'_>) {
        self.floor.tick(timer, cx);
    }

    fn on_turn_end(&mut self, cx: &mut Context<'_>) {
        self.end_turn(cx);
    }

    fn on_shutdown(&mut self, cx: &mut Context<'_>) {
        match &mut self.role {
            Role::Home(home) => home.say_farewell(&mut self.floor, cx),
            Role::Front(front) if !front.is_told => {
                let mut farewell = Vec::new();
                let text = crate::protocol::FAREWELL.as_bytes();
                self.framing.frame(&mut farewell, |wire| wire.extend_from_slice(text));
                self.floor.say_everywhere(&farewell, cx);
            }
            Role::Front(_) => {}
        }
    }
}
