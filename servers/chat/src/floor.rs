//! One loop's part of the chat: the listeners that are connected to it, room by room.

use std::time::Duration;

use reactor::{Broadcast, ConnContext, ConnId, Context, TimerId};

use crate::hall::RoomId;

/// Bytes that are said in a turn, at most, and a message: then the speakers wait for the next one, so that
/// what they say can leave before there is too much of it.
const TURN_MAX: usize = 256 * 1024;
/// And this part of what may wait for a listener.
const TURN_PART: usize = 4;

#[derive(Debug)]
pub(crate) struct Floor {
    /// By room; those without listeners here are empty.
    rooms: Vec<Broadcast>,
    /// Rooms in which something was said and has not left yet. Some may be there twice.
    spoken: Vec<RoomId>,
    /// Bytes of it.
    said: usize,
    turn_max: usize,
    /// For how long what is said may be gathered.
    tick: Duration,
    /// Runs while something is.
    timer: Option<TimerId>,
    /// Speakers that wait for the next turn, in the order in which they came to wait.
    held: Vec<ConnId>,
}

impl Floor {
    /// Without listeners. A listener is closed above `queue_limit` bytes; 0: any number.
    pub(crate) fn new(tick: Duration, queue_limit: usize) -> Self {
        Self {
            rooms: Vec::new(),
            spoken: Vec::new(),
            said: 0,
            turn_max: turn_max(queue_limit),
            tick,
            timer: None,
            held: Vec::new(),
        }
    }

    /// Whether enough was said in this turn.
    pub(crate) fn is_full(&self) -> bool {
        self.said >= self.turn_max
    }

    pub(crate) fn join(&mut self, id: ConnId, room: RoomId) {
        if room >= self.rooms.len() {
            self.rooms.resize_with(room + 1, Broadcast::new);
        }
        if let Some(room) = self.rooms.get_mut(room) {
            room.join(id);
        }
    }

    pub(crate) fn leave(&mut self, id: ConnId, room: RoomId, cx: &mut Context<'_>) {
        let Some(room) = self.rooms.get_mut(room) else { return };
        room.leave(id, cx);
        if room.is_empty() {
            *room = Broadcast::new();
        }
    }

    pub(crate) fn say(
        &mut self,
        room: RoomId,
        from: Option<ConnId>,
        bytes: &[u8],
        cx: &mut Context<'_>,
    ) {
        let Some(listeners) = self.rooms.get_mut(room).filter(|room| !room.is_empty()) else {
            return;
        };
        if listeners.waiting() == 0 {
            self.spoken.push(room);
        }
        self.said += bytes.len();
        listeners.say(from, &[bytes], cx);
    }

    pub(crate) fn tell(
        &mut self,
        id: ConnId,
        room: Option<RoomId>,
        bytes: &[u8],
        cx: &mut Context<'_>,
    ) {
        match room.and_then(|room| self.rooms.get_mut(room)) {
            Some(room) => room.send_to(id, bytes, cx),
            None => cx.send_to(id, bytes),
        };
    }

    /// Lets one wait who has more to say, until the turn ends.
    pub(crate) fn hold(&mut self, cx: &mut ConnContext<'_>) {
        cx.pause();
        self.held.push(cx.id());
        cx.at_turn_end();
    }

    /// Those who waited may speak again, each first in its turn: who has filled this one comes last.
    pub(crate) fn release(&mut self, cx: &mut Context<'_>) {
        let last = usize::from(!self.held.is_empty());
        self.held.rotate_left(last);
        for id in self.held.drain(..) {
            if let Some(mut speaker) = cx.at(id) {
                speaker.resume();
            }
        }
    }

    /// The turn ends: what was said leaves, or waits for the tick.
    pub(crate) fn end_turn(&mut self, cx: &mut Context<'_>) {
        if self.tick.is_zero() || self.is_full() {
            self.flush(cx);
        } else if self.said > 0 && self.timer.is_none() {
            self.timer = Some(cx.set_timer(self.tick));
        }
    }

    /// A timer has passed: if it is the tick, what was gathered leaves.
    pub(crate) fn tick(&mut self, timer: TimerId, cx: &mut Context<'_>) {
        if self.timer == Some(timer) {
            self.flush(cx);
        }
    }

    /// What was said leaves.
    pub(crate) fn flush(&mut self, cx: &mut Context<'_>) {
        for room in self.spoken.drain(..) {
            if let Some(room) = self.rooms.get_mut(room) {
                room.flush(cx);
            }
        }
        self.said = 0;
        if let Some(timer) = self.timer.take() {
            cx.cancel_timer(timer);
        }
    }

    /// Everybody in every room hears this, now.
    pub(crate) fn say_everywhere(&mut self, bytes: &[u8], cx: &mut Context<'_>) {
        for room in 0..self.rooms.len() {
            self.say(room, None, bytes, cx);
        }
        self.flush(cx);
    }
}

/// Bytes that may be said in one turn, and that may be on their way from one loop to another.
pub(crate) fn turn_max(queue_limit: usize) -> usize {
    match queue_limit {
        0 => TURN_MAX,
        limit => TURN_MAX.min(limit / TURN_PART).max(1),
    }
}
