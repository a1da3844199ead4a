//! A handler under audit: what the loop owes it is counted, and now and then it panics.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;

use crate::connection::Origin;
use crate::context::{ConnContext, Context};
use crate::counters::Statistics;
use crate::driver::sim::network::Shared;
use crate::handler::Handler;
use crate::id::{ConnId, SocketId, TimerId};
use crate::read_buffer::ReadBuffer;
use crate::reason::Deadline::{self, Drain, Idle, Set};
use crate::reason::{CloseReason, ConnectError};
use crate::socket::address::Address;
use crate::timers::Nanos;

/// Where handlers under test say what they were owed and did not get; clones are the same box. The world
/// looks into it after each turn.
#[derive(Clone, Debug, Default)]
pub struct Complaints(Rc<RefCell<Option<String>>>);

impl Complaints {
    /// Complains, unless this holds. The first complaint counts.
    pub fn expect(&self, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds {
            self.0.borrow_mut().get_or_insert_with(otherwise);
        }
    }

    pub(super) fn take(&self) -> Option<String> {
        self.0.borrow_mut().take()
    }
}

/// What is known of one service's callbacks.
#[derive(Debug, Default)]
pub(super) struct Audit {
    opened: u64,
    closed: u64,
    /// How often it was told that the loop stops.
    shutdowns: u64,
    /// Bytes of streams that the handler consumed, and of datagrams that it was lent.
    consumed: u64,
    /// Panics that are faults of the world's.
    panics: u64,
    /// The turn in which a message was last heard, and how many were.
    heard_in: u64,
    heard_in_turn: usize,
}

impl Audit {
    /// Each `on_open` that returned has had its `on_close`, and the service its one `on_shutdown`.
    ///
    /// # Errors
    /// How often each was called.
    pub(super) fn check_calls(&self) -> Result<(), String> {
        let Self { opened, closed, shutdowns, .. } = self;
        match opened == closed && *shutdowns == 1 {
            true => Ok(()),
            false => Err(format!(
                "on_open was called {opened} times, on_close {closed}, on_shutdown {shutdowns}"
            )),
        }
    }

    /// Adds another service's.
    pub(super) fn add(&mut self, other: &Self) {
        self.consumed += other.consumed;
        self.panics += other.panics;
    }

    /// What all audits of a loop say together, held against its own counters.
    ///
    /// # Errors
    /// What does not add up.
    pub(super) fn check_sums(&self, counted: &Statistics) -> Result<(), String> {
        let Statistics { bytes_in, bytes_discarded, panics, .. } = counted;
        if *bytes_in != self.consumed + bytes_discarded {
            let consumed = self.consumed;
            return Err(format!(
                "{bytes_in} bytes were read, {consumed} consumed and {bytes_discarded} discarded"
            ));
        }
        match *panics == self.panics {
            true => Ok(()),
            false => Err(format!("{panics} callbacks panicked, of which {} had to", self.panics)),
        }
    }
}

/// A handler whose callbacks are audited, and panic as often as the world's
/// [faults](crate::sim::Faults) say. It derefs to the handler itself.
pub struct Audited<H> {
    handler: H,
    audit: Rc<RefCell<Audit>>,
    complaints: Complaints,
    network: Shared,
    /// Messages that it may hear in one turn.
    budget: usize,
}

/// The session of an audited connection.
pub struct AuditedSession<S> {
    session: S,
    id: ConnId,
    eof: bool,
    panicked: bool,
    /// When it was last told that it is idle.
    idle_at: Nanos,
}

impl<H> Audited<H> {
    pub(super) fn new(
        handler: H,
        audit: Rc<RefCell<Audit>>,
        complaints: Complaints,
        network: &Shared,
        budget: usize,
    ) -> Self {
        Self { handler, audit, complaints, network: Rc::clone(network), budget: budget.max(1) }
    }

    /// In a callback about no connection.
    fn may_panic(&self) {
        let mut network = self.network.borrow_mut();
        let panics = network.faults.panic;
        if network.random.chance(panics) {
            drop(network);
            self.panic();
        }
    }

    /// In a callback about a connection, which closes for it: its peer has nothing to complain of.
    fn may_panic_about(&self, cx: &ConnContext<'_>, panicked: &mut bool) {
        let mut network = self.network.borrow_mut();
        let panics = network.faults.panic;
        if network.random.chance(panics) {
            network.harm_whose(&cx.peer());
            drop(network);
            *panicked = true;
            self.panic();
        }
    }

    /// Nobody is called idle while bytes move, nor twice for the same silence.
    fn check_idle<S>(&self, session: &mut AuditedSession<S>, cx: &ConnContext<'_>) {
        let network = self.network.borrow();
        let moved_at = match cx.origin() {
            Origin::Accepted(_) => network.moved_at(&cx.peer()).unwrap_or(0),
            Origin::Connected => 0, // its peer's address may be that of many
        };
        let since = network.now - moved_at.max(session.idle_at).min(network.now);
        session.idle_at = network.now;
        self.expect(since >= cx.idle_timeout(), || format!("{} was not idle", cx.id()));
    }

    /// The reason is one that it can have ended for, and its peer sees what goes with it.
    fn check_reason<S>(
        &self,
        session: &AuditedSession<S>,
        reason: &CloseReason,
        cx: &ConnContext<'_>,
    ) {
        use CloseReason::{Aborted, Asked, Deadline, Eof, InputTooLarge, Io, SlowConsumer};
        let can_be = match reason {
            Io(std::io::ErrorKind::Interrupted) => false,
            Asked | InputTooLarge | Deadline(Idle | Set) => !session.panicked,
            Eof => session.eof && !session.panicked,
            _ => true,
        };
        self.expect(can_be, || format!("{} cannot have ended like that: {reason}", cx.id()));
        let resets = matches!(reason, Aborted | SlowConsumer | Deadline(Drain));
        if resets && matches!(cx.origin(), Origin::Accepted(_)) {
            let lives = self.network.borrow().was_not_reset(&cx.peer());
            self.expect(!lives, || format!("{} was not reset: {reason}", cx.id()));
        }
    }

    fn check_message(&self) {
        let turn = self.network.borrow().turn;
        let mut audit = self.audit.borrow_mut();
        if std::mem::replace(&mut audit.heard_in, turn) != turn {
            audit.heard_in_turn = 0;
        }
        audit.heard_in_turn += 1;
        let (heard, budget) = (audit.heard_in_turn, self.budget);
        self.expect(heard <= budget, || format!("{heard} messages in one turn, of {budget}"));
    }

    /// Not `panic!`, which would print: thousands of worlds have nothing to say on stderr.
    fn panic(&self) -> ! {
        self.audit.borrow_mut().panics += 1;
        std::panic::resume_unwind(Box::new("a fault of the simulated world"))
    }

    /// Whoever has ended hears `on_close` and nothing else.
    fn expect_alive(&self, callback: &str, cx: &ConnContext<'_>) {
        self.expect(cx.is_open(), || format!("{callback} of {}, which has ended", cx.id()));
    }

    fn expect(&self, holds: bool, otherwise: impl FnOnce() -> String) {
        self.complaints.expect(holds, otherwise);
    }
}

impl<H> Deref for Audited<H> {
    type Target = H;

    fn deref(&self) -> &H {
        &self.handler
    }
}

impl<H> DerefMut for Audited<H> {
    fn deref_mut(&mut self) -> &mut H {
        &mut self.handler
    }
}

impl<H: Handler> Handler for Audited<H> {
    type Session = AuditedSession<H::Session>;
    type Message = H::Message;

    fn on_open(&mut self, cx: &mut ConnContext<'_>) -> Self::Session {
        let mut panicked = false;
        self.may_panic_about(cx, &mut panicked);
        let session = self.handler.on_open(cx);
        self.audit.borrow_mut().opened += 1;
        AuditedSession { session, id: cx.id(), eof: false, panicked, idle_at: 0 }
    }

    fn on_data(
        &mut self,
        session: &mut Self::Session,
        input: &mut ReadBuffer,
        cx: &mut ConnContext<'_>,
    ) {
        self.expect(session.id == cx.id(), || {
            format!("the session of {} at {}", session.id, cx.id())
        });
        self.expect(!session.eof, || format!("on_data of {} after on_eof", cx.id()));
        self.expect(!input.is_empty(), || format!("on_data of {} with nothing", cx.id()));
        self.expect(cx.may_be_read(), || {
            format!("on_data of {}, which is paused, full or closing", cx.id())
        });
        self.may_panic_about(cx, &mut session.panicked);
        let before = input.len();
        self.handler.on_data(&mut session.session, input, cx);
        self.audit.borrow_mut().consumed += (before - input.len()) as u64;
        self.may_panic_about(cx, &mut session.panicked); // what it has asked for may be under way
    }

    fn on_eof(
        &mut self,
        session: &mut Self::Session,
        input: &mut ReadBuffer,
        cx: &mut ConnContext<'_>,
    ) {
        self.expect_alive("on_eof", cx);
        self.expect(!session.eof, || format!("on_eof of {} again", cx.id()));
        session.eof = true;
        self.may_panic_about(cx, &mut session.panicked);
        let before = input.len();
        self.handler.on_eof(&mut session.session, input, cx);
        self.audit.borrow_mut().consumed += (before - input.len()) as u64;
    }

    fn on_drained(&mut self, session: &mut Self::Session, cx: &mut ConnContext<'_>) {
        self.expect_alive("on_drained", cx);
        self.expect(!cx.is_full(), || format!("on_drained of {}, which is full", cx.id()));
        self.may_panic_about(cx, &mut session.panicked);
        self.handler.on_drained(&mut session.session, cx);
    }

    fn on_deadline(
        &mut self,
        session: &mut Self::Session,
        which: Deadline,
        cx: &mut ConnContext<'_>,
    ) {
        self.expect_alive("on_deadline", cx);
        if which == Idle {
            self.check_idle(session, cx);
        }
        self.may_panic_about(cx, &mut session.panicked);
        self.handler.on_deadline(&mut session.session, which, cx);
    }

    fn on_close(&mut self, session: Self::Session, reason: &CloseReason, cx: &mut ConnContext<'_>) {
        self.expect(session.id == cx.id(), || {
            format!("the session of {} at {}", session.id, cx.id())
        });
        self.check_reason(&session, reason, cx);
        self.audit.borrow_mut().closed += 1;
        self.handler.on_close(session.session, reason, cx); // before the panic: others may depend on it
        self.may_panic_about(cx, &mut false);
    }

    fn on_connect_failed(&mut self, id: ConnId, error: ConnectError, cx: &mut Context<'_>) {
        self.handler.on_connect_failed(id, error, cx);
        self.may_panic();
    }

    fn on_message(&mut self, message: Self::Message, cx: &mut Context<'_>) {
        self.check_message();
        self.handler.on_message(message, cx);
        self.may_panic();
    }

    fn on_inbox_drained(&mut self, cx: &mut Context<'_>) {
        self.handler.on_inbox_drained(cx);
        self.may_panic();
    }

    fn on_datagram(
        &mut self,
        socket: SocketId,
        from: &Address,
        datagram: &[u8],
        cx: &mut Context<'_>,
    ) {
        self.audit.borrow_mut().consumed += datagram.len() as u64;
        self.handler.on_datagram(socket, from, datagram, cx);
        self.may_panic();
    }

    fn on_timer(&mut self, timer: TimerId, cx: &mut Context<'_>) {
        self.handler.on_timer(timer, cx);
        self.may_panic();
    }

    fn on_turn_end(&mut self, cx: &mut Context<'_>) {
        self.handler.on_turn_end(cx);
        self.may_panic();
    }

    fn on_shutdown(&mut self, cx: &mut Context<'_>) {
        self.audit.borrow_mut().shutdowns += 1;
        self.handler.on_shutdown(cx);
    }
}
