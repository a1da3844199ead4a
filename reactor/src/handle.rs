//! Speaking to a loop from any thread: a bounded inbox of typed messages, and one coalesced wake.
//!
//! ```text
//!   any thread                                    the loop's thread
//!   Handle::send --> [ m m m ..capacity ] --> Inbox::take --> on_message
//!        |                                              |
//!        +--> Alarm::ring (one wake for many)           +--> room again: wakes who waits
//! ```

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, PoisonError};
#[cfg(not(all(loom, test)))]
use std::sync::{
    Condvar, Mutex, MutexGuard, OnceLock,
    atomic::{AtomicBool, Ordering},
};
use std::task::Waker;

// Loom runs this file through the interleavings of its threads: docs/TESTING.md.
#[cfg(all(loom, test))]
use {
    self::interleavings::{AtomicBool, OnceLock},
    loom::sync::{Condvar, Mutex, MutexGuard, atomic::Ordering},
};

/// Wakes one loop, once for as many as ring before it answers.
#[derive(Debug)]
pub(crate) struct Alarm {
    waker: Waker,
    rung: AtomicBool,
    stop: AtomicBool,
}

impl Alarm {
    pub(crate) fn new(waker: Waker) -> Self {
        Self { waker, rung: AtomicBool::new(false), stop: AtomicBool::new(false) }
    }

    /// What the ringer has to say must be in its place before.
    pub(crate) fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            self.waker.wake_by_ref();
        }
    }

    /// Whether it rang. Whoever rings from now on wakes the loop again, so what was said must be
    /// looked at after this.
    pub(crate) fn answer(&self) -> bool {
        self.rung.load(Ordering::Relaxed) && self.rung.swap(false, Ordering::AcqRel)
    }

    fn ask_to_stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.ring();
    }

    #[cfg(feature = "sim")]
    pub(crate) fn is_rung(&self) -> bool {
        self.rung.load(Ordering::Acquire)
    }

    pub(crate) fn take_stop(&self) -> bool {
        self.stop.swap(false, Ordering::AcqRel)
    }
}

/// A service that waits for room in another loop's inbox.
#[derive(Debug)]
pub(crate) struct Port {
    alarm: Arc<Alarm>,
    room: AtomicBool,
}

impl Port {
    pub(crate) fn new(alarm: Arc<Alarm>) -> Self {
        Self { alarm, room: AtomicBool::new(false) }
    }

    fn tell_room(&self) {
        self.room.store(true, Ordering::Release);
        self.alarm.ring();
    }

    /// Whether there is room where there was none.
    pub(crate) fn take_room(&self) -> bool {
        self.room.load(Ordering::Relaxed) && self.room.swap(false, Ordering::AcqRel)
    }
}

/// A message that was not taken, and why.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum SendError<M> {
    /// The inbox has no room at present.
    Full(M),
    /// The loop is gone, or has stopped.
    Closed(M),
}

impl<M> SendError<M> {
    /// The message.
    pub fn into_message(self) -> M {
        match self {
            Self::Full(message) | Self::Closed(message) => message,
        }
    }
}

impl<M> fmt::Debug for SendError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full(..)",
            Self::Closed(_) => "Closed(..)",
        })
    }
}

impl<M> fmt::Display for SendError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "the inbox is full",
            Self::Closed(_) => "the loop has stopped",
        })
    }
}

impl<M> std::error::Error for SendError<M> {}

struct Channel<M> {
    state: Mutex<State<M>>,
    /// Signalled when there is room, and when the inbox closes.
    room: Condvar,
    capacity: usize,
    /// The loop that the inbox belongs to, once it does.
    alarm: OnceLock<Arc<Alarm>>,
}

struct State<M> {
    /// Invariant: at most `capacity`.
    queue: VecDeque<M>,
    closed: bool,
    /// [`Handle::stop`] was called before there was a loop to stop.
    stop: bool,
    blocked: usize,
    waiting: Vec<Arc<Port>>,
}

impl<M> Channel<M> {
    fn lock(&self) -> MutexGuard<'_, State<M>> {
        // Nothing that can panic runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring(&self) {
        if let Some(alarm) = self.alarm.get() {
            alarm.ring();
        }
    }

    fn push(&self, state: &mut State<M>, message: M) -> Result<(), SendError<M>> {
        if state.closed {
            return Err(SendError::Closed(message));
        }
        if state.queue.len() >= self.capacity {
            return Err(SendError::Full(message));
        }
        state.queue.push_back(message);
        Ok(())
    }
}

/// Speaks to one service of one loop, from any thread; clones speak to the same.
///
/// # Guarantees
/// - **Bounded**: the inbox holds as many messages as it was made for, and no more.
/// - Messages of one sender arrive in order, each once, unless the loop ends first.
/// - However many messages are sent while the loop sleeps, it is woken once.
///
/// # Not guaranteed
/// A message that was taken is delivered only if the loop goes on running.
///
/// ```
/// use reactor::{ConnContext, Context, Handler, Reactor, ReadBuffer, SendError};
///
/// struct Sum(u32);
/// impl Handler for Sum {
///     type Session = ();
///     type Message = u32;
///     fn on_open(&mut self, _: &mut ConnContext<'_>) {}
///     fn on_data(&mut self, _: &mut (), _: &mut ReadBuffer, _: &mut ConnContext<'_>) {}
///     fn on_message(&mut self, number: u32, cx: &mut Context<'_>) {
///         self.0 += number;
///         if self.0 == 6 {
///             cx.stop();
///         }
///     }
/// }
///
/// let mut reactor = Reactor::new()?;
/// let sum = reactor.add(Sum(0));
/// let handle = reactor.handle(&sum);
/// let thread = std::thread::spawn(move || (1..=3).try_for_each(|number| handle.send(number)));
/// reactor.run()?;
/// assert!(matches!(thread.join(), Ok(Ok(()))));
/// assert_eq!(reactor.get(&sum).0, 6);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Handle<M>(Arc<Channel<M>>);

impl<M> Handle<M> {
    /// Sends without waiting.
    ///
    /// # Errors
    /// [`SendError::Full`] or [`SendError::Closed`], with the message.
    pub fn send(&self, message: M) -> Result<(), SendError<M>> {
        self.0.push(&mut self.0.lock(), message)?;
        self.0.ring();
        Ok(())
    }

    /// Sends, and waits as long as the inbox is full.
    ///
    /// It is for threads of their own. **On a loop's thread it would make the loop wait**, for itself if
    /// it is its own inbox: use [`Context::send_message`](crate::Context::send_message) there.
    ///
    /// # Errors
    /// [`SendError::Closed`], with the message.
    pub fn send_blocking(&self, mut message: M) -> Result<(), SendError<M>> {
        let mut state = self.0.lock();
        loop {
            message = match self.0.push(&mut state, message) {
                Err(SendError::Full(message)) => message,
                Ok(()) => break,
                closed => return closed,
            };
            state.blocked += 1;
            state = self.0.room.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.blocked -= 1;
        }
        drop(state);
        self.0.ring();
        Ok(())
    }

    /// Sends, or else has `port` told when there is room.
    pub(crate) fn send_or_wait(&self, message: M, port: &Arc<Port>) -> Result<(), SendError<M>> {
        let mut state = self.0.lock();
        let sent = self.0.push(&mut state, message);
        if matches!(sent, Err(SendError::Full(_)))
            && !state.waiting.iter().any(|other| Arc::ptr_eq(other, port))
        {
            state.waiting.push(Arc::clone(port));
        }
        drop(state);
        if sent.is_ok() {
            self.0.ring();
        }
        sent
    }

    /// Asks the loop to stop, as [`Reactor::shutdown`](crate::Reactor::shutdown) does, with the grace
    /// of its [`Config`](crate::Config). Asked before there is a loop, it stops as soon as it runs.
    pub fn stop(&self) {
        let mut state = self.0.lock();
        match self.0.alarm.get() {
            Some(alarm) => alarm.ask_to_stop(),
            None => state.stop = true,
        }
    }
}

impl<M> Clone for Handle<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M> fmt::Debug for Handle<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handle({} of {} messages)", self.0.lock().queue.len(), self.0.capacity)
    }
}

/// The receiving end of a [`Handle`]: give it to a service, by
/// [`ServiceConfig::inbox`](crate::ServiceConfig::inbox).
pub struct Inbox<M>(Arc<Channel<M>>);

/// An inbox for `capacity` messages (at least 1), and the handle that speaks to it.
///
/// They are made before the loop, so that loops can know each other's handles before they run; what is
/// sent meanwhile waits. [`Reactor::handle`](crate::Reactor::handle) is simpler where one loop is all.
///
/// ```
/// let (handle, _inbox) = reactor::inbox(1);
/// assert_eq!(handle.send('a'), Ok(()));
/// assert_eq!(handle.send('b'), Err(reactor::SendError::Full('b')));
/// ```
pub fn inbox<M>(capacity: usize) -> (Handle<M>, Inbox<M>) {
    let state = State {
        queue: VecDeque::new(),
        closed: false,
        stop: false,
        blocked: 0,
        waiting: Vec::new(),
    };
    let channel = Arc::new(Channel {
        state: Mutex::new(state),
        room: Condvar::new(),
        capacity: capacity.max(1),
        alarm: OnceLock::new(),
    });
    (Handle(Arc::clone(&channel)), Inbox(channel))
}

impl<M> Inbox<M> {
    pub(crate) fn handle(&self) -> Handle<M> {
        Handle(Arc::clone(&self.0))
    }

    #[cfg(feature = "sim")]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.lock().queue.is_empty()
    }

    /// From now on it belongs to the loop that `alarm` wakes.
    pub(crate) fn attach(&self, alarm: &Arc<Alarm>) {
        let state = self.0.lock();
        if self.0.alarm.set(Arc::clone(alarm)).is_ok() {
            if state.stop {
                alarm.ask_to_stop();
            } else if !state.queue.is_empty() {
                alarm.ring();
            }
        }
    }

    /// Moves up to `count` messages into `messages`, and tells who waits for room.
    /// Whether there are more.
    pub(crate) fn take(&self, count: usize, messages: &mut VecDeque<M>) -> bool {
        let mut state = self.0.lock();
        let count = count.min(state.queue.len());
        messages.extend(state.queue.drain(..count));
        let more = !state.queue.is_empty();
        let waiting = if count > 0 { std::mem::take(&mut state.waiting) } else { Vec::new() };
        let blocked = count > 0 && state.blocked > 0;
        drop(state);
        if blocked {
            self.0.room.notify_all();
        }
        waiting.iter().for_each(|port| port.tell_room());
        more
    }
}

impl<M> Inbox<M> {
    /// Nobody will look into it any more: senders are told so.
    pub(crate) fn close(&self) {
        let mut state = self.0.lock();
        state.closed = true;
        let queue = std::mem::take(&mut state.queue);
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        self.0.room.notify_all();
        waiting.iter().for_each(|port| port.tell_room());
        drop(queue); // messages may do anything when they are dropped: not under the lock
    }
}

impl<M> Drop for Inbox<M> {
    fn drop(&mut self) {
        self.close();
    }
}

impl<M> fmt::Debug for Inbox<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Inbox({} of {} messages)", self.0.lock().queue.len(), self.0.capacity)
    }
}

#[cfg(test)]
#[cfg(loom)]
mod interleavings;

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;
    use std::thread;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn alarm() -> (Arc<Count>, Arc<Alarm>) {
        let count = Arc::new(Count::default());
        (Arc::clone(&count), Arc::new(Alarm::new(count.into())))
    }

    #[test]
    fn many_messages_are_one_wake() {
        let (count, alarm) = alarm();
        let (handle, inbox) = inbox(1000);
        inbox.attach(&alarm);
        for number in 0..500 {
            handle.send(number).unwrap();
        }
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        assert!(alarm.answer() && !alarm.answer());
        handle.send(500).unwrap();
        assert_eq!(count.0.load(Ordering::SeqCst), 2);
        let mut messages = VecDeque::new();
        assert!(inbox.take(400, &mut messages));
        assert!(!inbox.take(400, &mut messages));
        assert!(messages.into_iter().eq(0..=500));
    }

    #[test]
    fn what_was_said_before_the_loop_rings_when_it_is_there() {
        for stop in [false, true] {
            let (count, alarm) = alarm();
            let (handle, inbox) = inbox(4);
            if stop {
                handle.stop();
            } else {
                handle.send(()).unwrap();
            }
            inbox.attach(&alarm);
            assert_eq!((count.0.load(Ordering::SeqCst), alarm.take_stop()), (1, stop));
        }
    }

    #[test]
    fn a_blocked_sender_goes_on_when_there_is_room_and_ends_when_the_loop_does() {
        let (handle, inbox) = inbox(1);
        handle.send(0).unwrap();
        let sender = {
            let handle = handle.clone();
            thread::spawn(move || {
                (1..100).map(|number| handle.send_blocking(number)).collect::<Vec<_>>()
            })
        };
        let mut messages = VecDeque::new();
        while messages.len() < 50 {
            inbox.take(1, &mut messages);
            thread::yield_now();
        }
        drop(inbox);
        let results = sender.join().unwrap();
        assert!(messages.iter().copied().eq(0..messages.len()));
        assert_eq!(results[48], Ok(()));
        assert_eq!(results[98], Err(SendError::Closed(99)));
        assert_eq!(handle.send(1), Err(SendError::Closed(1)));
    }

    #[test]
    fn who_met_full_is_told_once() {
        let (count, alarm) = alarm();
        let port = Arc::new(Port::new(alarm));
        let (handle, inbox) = inbox(1);
        assert_eq!(handle.send_or_wait(1, &port), Ok(()));
        assert_eq!(handle.send_or_wait(2, &port), Err(SendError::Full(2)));
        assert_eq!(handle.send_or_wait(2, &port), Err(SendError::Full(2)));
        assert!(!port.take_room());
        inbox.take(1, &mut VecDeque::new());
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        assert!(port.take_room() && !port.take_room());
    }
}
