//! What an author implements.

use crate::context::{ConnContext, Context};
use crate::id::{ConnId, SocketId, TimerId};
use crate::read_buffer::ReadBuffer;
use crate::reason::{CloseReason, ConnectError, Deadline};
use crate::socket::address::Address;

/// A service: what happens on its connections, timers, datagrams and messages.
///
/// **A handler never touches a socket.** It is lent the bytes that have arrived and a context through
/// which it states wishes: send this, send that to another connection, close, pause, set a deadline,
/// connect there. The loop fulfils them, in the same turn; those of [`on_drained`](Self::on_drained) and
/// [`on_close`](Self::on_close), which are called at its end, in the next.
///
/// There is one handler for all connections of a service, so what they share is plain `&mut self`;
/// what only one of them needs is its `Session`. `self`, the session, the input and the context are
/// disjoint, so one may send a line to others while it is still borrowed from the input.
///
/// # Guarantees
/// - Callbacks of one loop never overlap, and none is called from within another.
/// - **Every connection ends with one typed reason**: [`on_close`](Self::on_close) is called exactly once
///   for each [`on_open`](Self::on_open) that returned, and is the last call about that connection.
///   A wish to [`connect`](Context::connect) ends in exactly one of an `on_open` that returns and
///   [`on_connect_failed`](Self::on_connect_failed).
/// - **A panic in a callback about a connection closes that connection, not the server**, with
///   [`CloseReason::Panicked`]; one outside any connection is counted and logged. A panic in `on_close`
///   is logged and ends there. The policy is [`Config::panics`](crate::Config::panics).
///
/// # Not guaranteed
/// After a panic `self` may be half changed: what the callback had done by then is done. A service that
/// cannot live with that chooses [`Panics::Propagate`](crate::Panics::Propagate). Where panics abort the
/// program, nothing of this holds.
///
/// ```
/// use reactor::{ConnContext, Handler, ReadBuffer, Reactor};
/// use std::convert::Infallible;
///
/// struct Echo;
///
/// impl Handler for Echo {
///     type Session = ();
///     type Message = Infallible;
///
///     fn on_open(&mut self, _: &mut ConnContext<'_>) {}
///
///     fn on_data(&mut self, _: &mut (), input: &mut ReadBuffer, cx: &mut ConnContext<'_>) {
///         cx.forward(input);
///     }
/// }
///
/// let mut reactor = Reactor::new()?;
/// let echo = reactor.add(Echo);
/// reactor.listen(&echo, "127.0.0.1:0")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[allow(
    unused_variables,
    reason = "the default methods name what they are given, for those who implement them"
)]
pub trait Handler: 'static {
    /// What only this connection needs. What others need lives in `self`.
    type Session: 'static;

    /// What other threads may say to this handler; [`Infallible`](std::convert::Infallible) if nothing.
    type Message: Send + 'static;

    /// A connection stands, accepted or connected: see [`origin`](ConnContext::origin).
    fn on_open(&mut self, cx: &mut ConnContext<'_>) -> Self::Session;

    /// Bytes have arrived. What is left in `input` is lent again with the next ones, or, after a
    /// [`pause`](ConnContext::pause) or a full queue, as soon as that is over.
    fn on_data(
        &mut self,
        session: &mut Self::Session,
        input: &mut ReadBuffer,
        cx: &mut ConnContext<'_>,
    );

    /// The peer has finished sending; `input` is what was left, for the last time. We may go on sending.
    /// The default closes.
    fn on_eof(
        &mut self,
        session: &mut Self::Session,
        input: &mut ReadBuffer,
        cx: &mut ConnContext<'_>,
    ) {
        cx.close();
    }

    /// The queue was [full](ConnContext::is_full), and has fallen to its low mark.
    fn on_drained(&mut self, session: &mut Self::Session, cx: &mut ConnContext<'_>) {}

    /// The idle timeout or the deadline that was set has passed. The default closes; whoever does not
    /// has another idle timeout before it.
    fn on_deadline(
        &mut self,
        session: &mut Self::Session,
        which: Deadline,
        cx: &mut ConnContext<'_>,
    ) {
        cx.close();
    }

    /// The connection has ended, and why. What is wished for it now is not fulfilled any more.
    fn on_close(&mut self, session: Self::Session, reason: &CloseReason, cx: &mut ConnContext<'_>) {
    }

    /// The connection that [`Context::connect`] promised under this name will not be.
    fn on_connect_failed(&mut self, id: ConnId, error: ConnectError, cx: &mut Context<'_>) {}

    /// Another thread, or another loop, says something.
    fn on_message(&mut self, message: Self::Message, cx: &mut Context<'_>) {}

    /// An inbox that was full when [`Context::send_message`] tried has room again.
    fn on_inbox_drained(&mut self, cx: &mut Context<'_>) {}

    /// A datagram has arrived.
    fn on_datagram(
        &mut self,
        socket: SocketId,
        from: &Address,
        datagram: &[u8],
        cx: &mut Context<'_>,
    ) {
    }

    /// A timer has passed. It is gone, unless it is [armed anew](Context::rearm_timer) now.
    fn on_timer(&mut self, timer: TimerId, cx: &mut Context<'_>) {}

    /// The turn ends, and [`Context::at_turn_end`] had asked for it. What is sent now leaves with all
    /// else: the place where a turn's broadcast goes out.
    fn on_turn_end(&mut self, cx: &mut Context<'_>) {}

    /// The loop is about to stop: the last chance to say something. Connections close after this turn.
    fn on_shutdown(&mut self, cx: &mut Context<'_>) {}
}
