//! Home: the loop that decides. Its handler has the hall; what follows reaches its own listeners at once,
//! and those of other loops by lanes.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use reactor::{ConnId, Context};
use servers_common::{InputEvent, OutputEvent};

use crate::console::{Console, typed};
use crate::desk::Desk;
use crate::floor::Floor;
use crate::hall::{Checked, Claim, Hall, Outlet, RoomId, Seat, Why};
use crate::lane::{Item, Lane, Letters, Parcel};
use crate::message::{ChatMessage, Word};

/// The number of the loop that decides.
pub(crate) const HOME: u16 = 0;

/// What somebody does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Deed {
    Enters(Option<IpAddr>),
    Says,
    SpeaksTooFast,
    SpeaksTooLong,
    Exits(Why),
}

/// What home asks of another loop.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Order {
    Tell(ConnId, Option<RoomId>),
    Say(RoomId, Option<ConnId>),
    Join(ConnId, RoomId),
    Leave(ConnId, RoomId),
    Close(ConnId),
    Resume(ConnId),
    /// It is over; how long connections may drain.
    Stop(Duration),
}

impl Item for (ConnId, Deed) {
    fn wrap(from: u16, parcel: Parcel<Self>) -> ChatMessage {
        ChatMessage(Word::Deeds(from, parcel))
    }

    fn unwrap(message: ChatMessage) -> Option<Parcel<Self>> {
        match message.0 {
            Word::Deeds(_, parcel) => Some(parcel),
            _ => None,
        }
    }
}

impl Item for Order {
    fn wrap(_: u16, parcel: Parcel<Self>) -> ChatMessage {
        ChatMessage(Word::Orders(parcel))
    }

    fn unwrap(message: ChatMessage) -> Option<Parcel<Self>> {
        match message.0 {
            Word::Orders(parcel) => Some(parcel),
            _ => None,
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Home {
    hall: Hall,
    reach: Reach,
    /// What people of other loops have done, and home has not come to.
    backlog: VecDeque<(u16, Letters<(ConnId, Deed)>)>,
    /// It is over, and the loop stops as soon as the others have been told.
    stop: Option<Duration>,
}

/// All that home reaches beside its own listeners.
#[derive(Debug)]
struct Reach {
    desk: Desk,
    console: Option<Console>,
    /// The next line of the console is to be asked for.
    console_waits: bool,
    /// Loops 1, 2, ...
    fronts: Vec<FarFloor>,
}

/// Another loop, as home sees it.
#[derive(Debug)]
struct FarFloor {
    lane: Lane<Order>,
    /// By room: how many listeners it has there.
    listeners: Vec<usize>,
}

impl Home {
    pub(crate) fn new(hall: Hall, desk: Desk, lanes: Vec<Lane<Order>>) -> Self {
        let far = |lane| FarFloor { lane, listeners: Vec::new() };
        let fronts = lanes.into_iter().map(far).collect();
        let reach = Reach { desk, console: None, console_waits: false, fronts };
        Self { hall, reach, backlog: VecDeque::new(), stop: None }
    }

    /// Whether those who speak must wait: enough was said in this turn, or another loop is behind.
    pub(crate) fn is_busy(&self, floor: &Floor) -> bool {
        floor.is_full() || !self.reach.is_open()
    }

    /// Somebody of this loop, or of another, does something.
    pub(crate) fn act(
        &mut self,
        seat: Seat,
        deed: Deed,
        bytes: &[u8],
        floor: &mut Floor,
        cx: &mut Context<'_>,
    ) {
        let now = cx.now();
        if !self.reach.fronts.is_empty() {
            cx.at_turn_end();
        }
        let (hall, out) = self.parts(floor, cx);
        perform(hall, seat, deed, bytes, now, out);
    }

    fn parts<'a, 'b>(
        &'a mut self,
        floor: &'a mut Floor,
        cx: &'a mut Context<'b>,
    ) -> (&'a mut Hall, Everywhere<'a, 'b>) {
        (&mut self.hall, Everywhere { reach: &mut self.reach, floor, cx })
    }

    /// The one who runs the server begins to take part.
    pub(crate) fn open_console(
        &mut self,
        console: Console,
        floor: &mut Floor,
        cx: &mut Context<'_>,
    ) {
        console.ask();
        self.reach.console = Some(console);
        let (hall, mut out) = self.parts(floor, cx);
        hall.enter_console(&mut out);
    }

    pub(crate) fn typed(&mut self, event: &InputEvent, floor: &mut Floor, cx: &mut Context<'_>) {
        match typed(event) {
            Some(line) => {
                self.act(Seat::Console, Deed::Says, line, floor, cx);
                self.reach.console_waits = true;
                cx.at_turn_end();
            }
            None => self.act(Seat::Console, Deed::Exits(Why::Vanished), b"", floor, cx),
        }
    }

    pub(crate) fn shown(&mut self, event: &OutputEvent) {
        // A console that cannot be shown anything can still be typed at.
        if let Some(console) = &mut self.reach.console {
            console.shown(event);
        }
    }

    pub(crate) fn checked(&mut self, checked: Checked, floor: &mut Floor, cx: &mut Context<'_>) {
        let now = cx.now();
        let (hall, mut out) = self.parts(floor, cx);
        hall.checked(checked, now, &mut out);
        cx.at_turn_end();
    }

    /// Another loop has sent something.
    pub(crate) fn received(
        &mut self,
        from: u16,
        parcel: Parcel<(ConnId, Deed)>,
        cx: &mut Context<'_>,
    ) {
        if let Some(front) = self.reach.front(from) {
            front.lane.heard(parcel.done);
        }
        self.backlog.push_back((from, parcel.letters));
        cx.at_turn_end();
    }

    /// Everyone is told that it is over, and then all loops stop.
    pub(crate) fn farewell(&mut self, grace: Duration, floor: &mut Floor, cx: &mut Context<'_>) {
        self.say_farewell(floor, cx);
        for front in &mut self.reach.fronts {
            front.lane.push(Order::Stop(grace), b"");
        }
        self.stop = Some(grace);
        cx.at_turn_end();
    }

    pub(crate) fn say_farewell(&mut self, floor: &mut Floor, cx: &mut Context<'_>) {
        let (hall, mut out) = self.parts(floor, cx);
        hall.farewell(&mut out);
        floor.flush(cx);
    }

    pub(crate) fn end_turn(&mut self, floor: &mut Floor, cx: &mut Context<'_>) {
        floor.end_turn(cx);
        self.work_off(floor, cx);
        floor.end_turn(cx);
        self.reach.fronts.iter_mut().for_each(|front| front.lane.send(cx));
        if self.reach.is_open() {
            floor.release(cx);
            if !self.backlog.is_empty() {
                cx.at_turn_end(); // of the next one, which does not sleep
            }
            if std::mem::take(&mut self.reach.console_waits)
                && let Some(console) = &self.reach.console
            {
                console.ask();
            }
        }
        if let Some(grace) = self.stop
            && self.reach.fronts.iter().all(|front| front.lane.is_idle())
        {
            cx.shutdown(grace);
        }
    }

    /// What people of other loops have done happens, as far as there is room for what follows.
    fn work_off(&mut self, floor: &mut Floor, cx: &mut Context<'_>) {
        let now = cx.now();
        let Self { hall, reach, backlog, .. } = self;
        while let Some((from, letters)) = backlog.front_mut() {
            let from = *from;
            while !floor.is_full() && reach.is_open() {
                let Some(((id, deed), bytes)) = letters.next() else {
                    if let Some(front) = reach.front(from) {
                        front.lane.worked_off(letters.cost());
                    }
                    backlog.pop_front();
                    break;
                };
                let out = Everywhere { reach, floor, cx };
                perform(hall, Seat::Peer(from, id), deed, bytes, now, out);
            }
            if floor.is_full() || !reach.is_open() {
                return;
            }
        }
    }
}

fn perform(
    hall: &mut Hall,
    seat: Seat,
    deed: Deed,
    bytes: &[u8],
    now: Instant,
    mut out: Everywhere<'_, '_>,
) {
    match deed {
        Deed::Says => hall.hear(seat, bytes, now, &mut out),
        Deed::Enters(address) => hall.enter(seat, address, &mut out),
        Deed::SpeaksTooFast => hall.too_fast(seat, &mut out),
        Deed::SpeaksTooLong => hall.too_long(seat, &mut out),
        Deed::Exits(why) => hall.exit(seat, why, &mut out),
    }
}

impl Reach {
    /// Whether all other loops keep up.
    fn is_open(&self) -> bool {
        self.fronts.iter().all(|front| front.lane.is_open())
    }

    fn front(&mut self, number: u16) -> Option<&mut FarFloor> {
        self.fronts.get_mut(usize::from(number).checked_sub(1)?)
    }
}

impl FarFloor {
    fn listeners(&mut self, room: RoomId) -> Option<&mut usize> {
        if room >= self.listeners.len() {
            self.listeners.resize(room + 1, 0);
        }
        self.listeners.get_mut(room)
    }
}

/// The outlet of home.
struct Everywhere<'a, 'b> {
    reach: &'a mut Reach,
    floor: &'a mut Floor,
    cx: &'a mut Context<'b>,
}

impl Everywhere<'_, '_> {
    fn order(&mut self, number: u16, order: Order, bytes: &[u8]) {
        if let Some(front) = self.reach.front(number) {
            front.lane.push(order, bytes);
        }
    }
}

impl Outlet for Everywhere<'_, '_> {
    fn tell(&mut self, seat: Seat, room: Option<RoomId>, wire: &[u8]) {
        match seat {
            Seat::Peer(HOME, id) => self.floor.tell(id, room, wire, self.cx),
            Seat::Peer(number, id) => self.order(number, Order::Tell(id, room), wire),
            Seat::Console => {
                if let Some(console) = &mut self.reach.console {
                    console.show(wire);
                }
            }
        }
    }

    fn say(&mut self, room: RoomId, from: Option<Seat>, wire: &[u8]) {
        let speaker = |number: u16| match from {
            Some(Seat::Peer(loop_number, id)) if loop_number == number => Some(id),
            _ => None,
        };
        self.floor.say(room, speaker(HOME), wire, self.cx);
        for (number, front) in (1..).zip(&mut self.reach.fronts) {
            if front.listeners(room).is_some_and(|count| *count > 0) {
                front.lane.push(Order::Say(room, speaker(number)), wire);
            }
        }
        if let Some(console) = &mut self.reach.console
            && console.room == Some(room)
            && from != Some(Seat::Console)
        {
            console.show(wire);
        }
    }

    fn join(&mut self, seat: Seat, room: RoomId) {
        match seat {
            Seat::Peer(HOME, id) => self.floor.join(id, room),
            Seat::Peer(number, id) => {
                self.order(number, Order::Join(id, room), b"");
                let count = self.reach.front(number).and_then(|front| front.listeners(room));
                count.into_iter().for_each(|count| *count += 1);
            }
            Seat::Console => {
                if let Some(console) = &mut self.reach.console {
                    console.room = Some(room);
                }
            }
        }
    }

    fn leave(&mut self, seat: Seat, room: RoomId) {
        match seat {
            Seat::Peer(HOME, id) => self.floor.leave(id, room, self.cx),
            Seat::Peer(number, id) => {
                self.order(number, Order::Leave(id, room), b"");
                let count = self.reach.front(number).and_then(|front| front.listeners(room));
                count.into_iter().for_each(|count| *count = count.saturating_sub(1));
            }
            Seat::Console => {
                if let Some(console) = &mut self.reach.console {
                    console.room = None;
                }
            }
        }
    }

    fn close(&mut self, seat: Seat) {
        match seat {
            Seat::Peer(HOME, id) => {
                if let Some(mut peer) = self.cx.at(id) {
                    peer.close();
                }
            }
            Seat::Peer(number, id) => self.order(number, Order::Close(id), b""),
            Seat::Console => self.reach.console = None,
        }
    }

    fn resume(&mut self, seat: Seat) {
        match seat {
            Seat::Peer(HOME, id) => {
                if let Some(mut peer) = self.cx.at(id) {
                    peer.resume();
                }
            }
            Seat::Peer(number, id) => self.order(number, Order::Resume(id), b""),
            Seat::Console => {}
        }
    }

    fn check(&mut self, claim: Claim) -> bool {
        self.reach.desk.take(claim)
    }
}
