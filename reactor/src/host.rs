//! The one place where a handler loses its type, and the one where its panics end.
//!
//! `Box<dyn Host>` stands once per service, never once per connection: a connection's session keeps its
//! type in the service's own table.

use std::any::Any;
use std::collections::VecDeque;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use crate::connection::ServiceIndex;
use crate::context::{ConnContext, Context, Core};
use crate::handle::Inbox;
use crate::handler::Handler;
use crate::id::{ConnId, ConnMap, SocketId, TimerId};
use crate::read_buffer::ReadBuffer;
use crate::reason::{CloseReason, ConnectError, Deadline};
use crate::socket::address::Address;
use crate::trace::event::{Callback, Event, Source};

/// The typed name of a service: what [`Reactor::add`](crate::Reactor::add) gives.
///
/// It is meant for the reactor that gave it; another one may panic on it, or take it for a service of
/// the same type of its own.
pub struct Service<H> {
    pub(crate) index: ServiceIndex,
    handler: PhantomData<fn() -> H>,
}

impl<H> Service<H> {
    pub(crate) fn new(index: ServiceIndex) -> Self {
        Self { index, handler: PhantomData }
    }
}

impl<H> Clone for Service<H> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<H> Copy for Service<H> {}

impl<H> std::fmt::Debug for Service<H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Service({})", self.index)
    }
}

/// What is done when a callback panics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Panics {
    /// The connection closes, all else goes on; the panic is counted and logged. The default.
    #[default]
    Isolate,
    /// The panic goes on, through the loop: what a test wants. The loop is not fit for use afterwards.
    Propagate,
}

/// A callback, and what it is given.
pub(crate) enum Call<'a> {
    Open(ConnId),
    Data(ConnId, &'a mut ReadBuffer),
    Eof(ConnId, &'a mut ReadBuffer),
    Drained(ConnId),
    Deadline(ConnId, Deadline),
    Close(ConnId, &'a CloseReason),
    ConnectFailed(ConnId, ConnectError),
    /// At most so many messages.
    Messages(usize),
    InboxDrained,
    Datagram(SocketId, &'a Address, &'a [u8]),
    Timer(TimerId),
    TurnEnd,
    Shutdown,
}

impl Call<'_> {
    /// Its name in the trait, and the connection that a panic in it closes.
    fn about(&self) -> (Callback, Option<ConnId>) {
        match self {
            Self::Open(id) => (Callback::Open, Some(*id)),
            Self::Data(id, _) => (Callback::Data, Some(*id)),
            Self::Eof(id, _) => (Callback::Eof, Some(*id)),
            Self::Drained(id) => (Callback::Drained, Some(*id)),
            Self::Deadline(id, _) => (Callback::Deadline, Some(*id)),
            Self::Close(id, _) => (Callback::Close, Some(*id)),
            Self::ConnectFailed(..) => (Callback::ConnectFailed, None),
            Self::Messages(_) => (Callback::Message, None),
            Self::InboxDrained => (Callback::InboxDrained, None),
            Self::Datagram(..) => (Callback::Datagram, None),
            Self::Timer(_) => (Callback::Timer, None),
            Self::TurnEnd => (Callback::TurnEnd, None),
            Self::Shutdown => (Callback::Shutdown, None),
        }
    }

    /// What is recorded as its subject: the service, if there is nothing nearer.
    fn subject(&self, service: ServiceIndex) -> Source {
        match self {
            Self::ConnectFailed(id, _) => Source::Connection(*id),
            Self::Datagram(socket, ..) => Source::Socket(*socket),
            Self::Timer(timer) => Source::Timer(*timer),
            call => match call.about() {
                (_, Some(id)) => Source::Connection(id),
                (_, None) => Source::Service(service),
            },
        }
    }
}

/// A service without its handler's type.
pub(crate) trait Host: Any {
    /// Calls back. Whether there are more messages.
    fn call(&mut self, call: Call<'_>, core: &mut Core) -> bool;

    /// Takes no messages any more.
    fn close_inbox(&self);

    /// Whether a connection has a session: not before `on_open` has returned.
    fn has_session(&self, id: ConnId) -> bool;

    /// Bytes of memory in the table of sessions.
    fn memory(&self) -> usize;

    /// Sessions that are owed an `on_close`.
    #[cfg(feature = "sim")]
    fn sessions(&self) -> usize;

    /// Whether other threads have said something that it has not heard.
    #[cfg(feature = "sim")]
    fn has_messages(&self) -> bool;
}

/// A service with it.
pub(crate) struct HostOf<H: Handler> {
    pub(crate) handler: H,
    index: ServiceIndex,
    sessions: ConnMap<H::Session>,
    inbox: Inbox<H::Message>,
    /// Messages that are out of the inbox: the rest of a batch in which one panicked.
    messages: VecDeque<H::Message>,
}

impl<H: Handler> HostOf<H> {
    pub(crate) fn new(
        handler: H,
        index: ServiceIndex,
        inbox: Inbox<H::Message>,
        sessions: ConnMap<H::Session>,
    ) -> Self {
        Self { handler, index, sessions, inbox, messages: VecDeque::new() }
    }

    pub(crate) fn inbox(&self) -> &Inbox<H::Message> {
        &self.inbox
    }

    /// A callback about no connection.
    fn call_service(&mut self, call: Call<'_>, cx: &mut Context<'_>) {
        let Self { handler, .. } = self;
        match call {
            Call::ConnectFailed(id, error) => handler.on_connect_failed(id, error, cx),
            Call::InboxDrained => handler.on_inbox_drained(cx),
            Call::Datagram(socket, from, bytes) => handler.on_datagram(socket, from, bytes, cx),
            Call::Timer(timer) => handler.on_timer(timer, cx),
            Call::TurnEnd => handler.on_turn_end(cx),
            Call::Shutdown => handler.on_shutdown(cx),
            Call::Open(_)
            | Call::Data(..)
            | Call::Eof(..)
            | Call::Drained(_)
            | Call::Deadline(..)
            | Call::Close(..)
            | Call::Messages(_) => {} // they are about connections, or many at once
        }
    }

    fn receive_messages(&mut self, count: usize, core: &mut Core) -> bool {
        let more = self.inbox.take(count.saturating_sub(self.messages.len()), &mut self.messages);
        if let Ok(count @ 1..) = u32::try_from(self.messages.len()) {
            let service = self.index;
            core.table.tap.note(|| Event::Messages { service, count });
        }
        while let Some(message) = self.messages.pop_front() {
            core.table.counters.messages().increment();
            self.handler.on_message(message, &mut Context::new(core, self.index));
        }
        more
    }

    /// A callback about one connection; `cause` is the reason if it closes the connection.
    fn at(
        &mut self,
        id: ConnId,
        cause: CloseReason,
        core: &mut Core,
        callback: impl FnOnce(&mut H, &mut H::Session, &mut ConnContext<'_>),
    ) {
        if let Some(session) = self.sessions.get_mut(id) {
            let mut cx = ConnContext::new(core, self.index, id, cause);
            callback(&mut self.handler, session, &mut cx);
        }
    }
}

impl<H: Handler> Host for HostOf<H> {
    fn call(&mut self, call: Call<'_>, core: &mut Core) -> bool {
        use CloseReason::Asked;
        match call {
            Call::Data(id, input) => {
                self.at(id, Asked, core, |handler, session, cx| {
                    handler.on_data(session, input, cx);
                });
            }
            Call::Eof(id, input) => {
                let eof = CloseReason::Eof;
                self.at(id, eof, core, |handler, session, cx| {
                    handler.on_eof(session, input, cx);
                });
            }
            Call::Drained(id) => {
                self.at(id, Asked, core, |handler, session, cx| {
                    handler.on_drained(session, cx);
                });
            }
            Call::Deadline(id, which) => {
                self.at(id, CloseReason::Deadline(which), core, |handler, session, cx| {
                    handler.on_deadline(session, which, cx);
                });
            }
            Call::Open(id) => {
                let mut cx = ConnContext::new(core, self.index, id, Asked);
                let session = self.handler.on_open(&mut cx);
                self.sessions.insert(id, session);
            }
            Call::Close(id, reason) => {
                if let Some(session) = self.sessions.remove(id) {
                    let mut cx = ConnContext::new(core, self.index, id, Asked);
                    self.handler.on_close(session, reason, &mut cx);
                }
            }
            Call::Messages(count) => return self.receive_messages(count, core),
            call => self.call_service(call, &mut Context::new(core, self.index)),
        }
        false
    }

    fn close_inbox(&self) {
        self.inbox.close();
    }

    fn has_session(&self, id: ConnId) -> bool {
        self.sessions.contains(id)
    }

    fn memory(&self) -> usize {
        self.sessions.memory()
    }

    #[cfg(feature = "sim")]
    fn sessions(&self) -> usize {
        self.sessions.len()
    }

    #[cfg(feature = "sim")]
    fn has_messages(&self) -> bool {
        !self.messages.is_empty() || !self.inbox.is_empty()
    }
}

/// All services of a loop.
pub(crate) struct Hosts {
    hosts: Vec<Box<dyn Host>>,
    panics: Panics,
    timing: Timing,
}

/// Which callbacks are timed, at two looks at the clock each, and recorded, if anything is.
pub(crate) struct Timing {
    /// From one to the next; never, if it is `u64::MAX`.
    every: u64,
    /// How many are left until the next one, with it.
    left: u64,
    /// How many the next one stands for.
    weight: u64,
}

impl Timing {
    /// None.
    pub(crate) const NONE: Self = Self::new(u64::MAX, u64::MAX);
    /// All.
    pub(crate) const ALL: Self = Self::new(1, 1);
    /// The first, and then one in so many that it makes no difference to what they cost. A prime number: loops
    /// like to do things in fours.
    pub(crate) const SAMPLES: Self = Self::new(251, 1);

    const fn new(every: u64, left: u64) -> Self {
        Self { every, left, weight: 1 }
    }

    /// A callback begins. How many it stands for, if it is to be timed.
    fn next(&mut self) -> Option<u64> {
        self.left -= 1;
        if self.left > 0 {
            return None;
        }
        self.left = self.every;
        Some(std::mem::replace(&mut self.weight, self.every))
    }
}

impl Hosts {
    pub(crate) fn new(panics: Panics, timing: Timing) -> Self {
        Self { hosts: Vec::new(), panics, timing }
    }

    pub(crate) fn push(&mut self, host: Box<dyn Host>) {
        self.hosts.push(host);
    }

    pub(crate) fn indices(&self) -> impl Iterator<Item = ServiceIndex> + use<> {
        0..ServiceIndex::try_from(self.hosts.len()).unwrap_or(ServiceIndex::MAX)
    }

    pub(crate) fn get<H: Handler>(&self, service: Service<H>) -> Option<&HostOf<H>> {
        let host: &dyn Any = &**self.hosts.get(usize::from(service.index))?;
        host.downcast_ref()
    }

    pub(crate) fn get_mut<H: Handler>(&mut self, service: Service<H>) -> Option<&mut HostOf<H>> {
        let host: &mut dyn Any = &mut **self.hosts.get_mut(usize::from(service.index))?;
        host.downcast_mut()
    }

    pub(crate) fn close_inboxes(&self) {
        self.hosts.iter().for_each(|host| host.close_inbox());
    }

    pub(crate) fn has_session(&self, service: ServiceIndex, id: ConnId) -> bool {
        self.hosts.get(usize::from(service)).is_some_and(|host| host.has_session(id))
    }

    pub(crate) fn memory(&self) -> usize {
        self.hosts.iter().map(|host| host.memory()).sum()
    }

    #[cfg(feature = "sim")]
    pub(crate) fn has_messages(&self) -> bool {
        self.hosts.iter().any(|host| host.has_messages())
    }

    #[cfg(feature = "sim")]
    pub(crate) fn sessions(&self) -> usize {
        self.hosts.iter().map(|host| host.sessions()).sum()
    }

    /// Calls a service back. Whether it has more messages waiting.
    pub(crate) fn call(&mut self, core: &mut Core, service: ServiceIndex, call: Call<'_>) -> bool {
        let Some(host) = self.hosts.get_mut(usize::from(service)) else { return false };
        let about = call.about();
        core.table.counters.callbacks().increment();
        let timing = self.timing.next().map(|weight| {
            let subject = call.subject(service);
            (subject, core.table.tap.callback_began(about.0, subject), weight)
        });
        let result = catch_unwind(AssertUnwindSafe(|| host.call(call, core)));
        if let Some((subject, began, weight)) = timing {
            let turn = core.table.counters.turns().get();
            let callback = (about.0, subject);
            let took = core.table.tap.callback_ended(callback, began, result.is_err(), turn);
            core.table.counters.handler_nanoseconds().add(took.saturating_mul(weight));
        }
        match result {
            Ok(more) => more,
            Err(panic) => {
                self.panicked(core, about, panic);
                true // the rest of a batch of messages, if it was one
            }
        }
    }

    fn panicked(
        &self,
        core: &mut Core,
        (callback, connection): (Callback, Option<ConnId>),
        panic: Box<dyn Any + Send>,
    ) {
        core.table.counters.panics().increment();
        if let Some(id) = connection {
            core.table.panicked(id);
        }
        if self.panics == Panics::Propagate {
            resume_unwind(panic);
        }
        let text = panic
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("a value that is no text");
        let callback = callback.name();
        match connection {
            Some(id) => log::error!("{callback} of connection {id} panicked: {text}"),
            None => log::error!("{callback} panicked: {text}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many callbacks those that are timed stand for, of so many.
    fn weights(mut timing: Timing, callbacks: usize) -> Vec<u64> {
        (0..callbacks).filter_map(|_| timing.next()).collect()
    }

    #[test]
    fn a_callback_that_is_timed_stands_for_those_since_the_last() {
        assert_eq!(weights(Timing::NONE, 1000), [0; 0]);
        assert_eq!(weights(Timing::ALL, 1000), [1; 1000]);
        assert_eq!(weights(Timing::SAMPLES, 251), [1]);
        assert_eq!(weights(Timing::SAMPLES, 1 + 3 * 251), [1, 251, 251, 251]);
    }
}
