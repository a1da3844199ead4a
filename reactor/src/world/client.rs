//! Peers that most worlds want: clients who say something and expect an answer, and threads that talk.

use std::io::ErrorKind;
use std::ops::Range;
use std::time::Duration;

use super::LoopNumber;
use super::peer::{Peer, PeerAddress, PeerContext, PeerStream};
use crate::driver::sim::random::Random;
use crate::handle::{Handle, SendError};
use crate::readiness::Signal;

/// How a [`Client`] ends its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It finishes sending, and reads until the other end has finished too.
    Finish,
    /// It reads until it has all that it expects, and then closes.
    Close,
    /// It says what it has to say, and closes at once, whatever may still come.
    Leave,
    /// It says what it has to say, and resets the connection.
    Reset,
    /// It stays, and says and reads nothing more until the world is calm; then it closes.
    Stay,
}

/// A client: it connects, says something in pieces, reads what comes in pieces, and ends.
///
/// One that ends by [`Finish`](Ending::Finish) or [`Close`](Ending::Close) is honest: it complains if what
/// comes is not, byte for byte, what it expects, or if its connection ends too early, unless a fault of the
/// network or a panic was to blame.
///
/// ```
/// use reactor::sim::{Client, Ending};
/// use std::time::Duration;
///
/// let slow = Client::new("10.0.0.1:7", b"ping", b"ping")
///     .reading(1..2, Duration::ZERO..Duration::from_millis(5))
///     .ending(Ending::Close);
/// ```
pub struct Client {
    to: PeerAddress,
    says: Vec<u8>,
    hears: Vec<u8>,
    hears_anything: bool,
    ending: Ending,
    writes: Pace,
    reads: Pace,
    lenient: bool,
    waits_for_calm: bool,
    stream: Option<PeerStream>,
    sent: usize,
    heard: usize,
    finished: bool,
    outcome: Option<Result<(), String>>,
}

/// So much at a time, and then a pause.
struct Pace {
    size: Range<usize>,
    pause: Range<Duration>,
    next: Duration,
}

impl Pace {
    fn unhurried() -> Self {
        Self { size: 1..usize::MAX, pause: Duration::ZERO..Duration::ZERO, next: Duration::ZERO }
    }

    /// How much may be done now; 0 if it is not time yet, and then it will be.
    fn allows(&mut self, cx: &mut PeerContext<'_>) -> usize {
        let now = cx.now();
        if cx.is_calm() || now >= self.next {
            return cx.random().size(self.size.clone()).max(1);
        }
        cx.wake_after(self.next - now);
        0
    }

    fn rest(&mut self, cx: &mut PeerContext<'_>) {
        let pause = cx.random().time(&self.pause);
        self.next = cx.now() + pause;
    }
}

impl Client {
    /// It says `says`, expects `hears`, as fast as it can, and finishes.
    pub fn new(to: impl Into<PeerAddress>, says: &[u8], hears: &[u8]) -> Self {
        Self {
            to: to.into(),
            says: says.to_vec(),
            hears: hears.to_vec(),
            hears_anything: false,
            ending: Ending::Finish,
            writes: Pace::unhurried(),
            reads: Pace::unhurried(),
            lenient: false,
            waits_for_calm: false,
            stream: None,
            sent: 0,
            heard: 0,
            finished: false,
            outcome: None,
        }
    }

    /// How it ends.
    pub fn ending(mut self, ending: Ending) -> Self {
        self.ending = ending;
        self
    }

    /// How many bytes it writes at a time, and how long it pauses then. Once the world is calm it does
    /// not pause.
    pub fn writing(mut self, size: Range<usize>, pause: Range<Duration>) -> Self {
        (self.writes.size, self.writes.pause) = (size, pause);
        self
    }

    /// How many bytes it reads at a time, and how long it pauses then.
    pub fn reading(mut self, size: Range<usize>, pause: Range<Duration>) -> Self {
        (self.reads.size, self.reads.pause) = (size, pause);
        self
    }

    /// It does not complain of a connection that ends too early: the server may have its reasons. What
    /// comes must still be what it expects, as far as it goes.
    pub fn lenient(mut self) -> Self {
        self.lenient = true;
        self
    }

    /// It comes when nothing goes wrong any more: what it wants depends on more than its own connection.
    pub fn when_calm(mut self) -> Self {
        self.waits_for_calm = true;
        self
    }

    /// Whatever comes is fine. It is lenient, too.
    pub fn hearing_anything(mut self) -> Self {
        self.hears_anything = true;
        self.lenient()
    }

    fn is_honest(&self) -> bool {
        !self.lenient && matches!(self.ending, Ending::Finish | Ending::Close)
    }

    fn end(&mut self, outcome: Result<(), String>, cx: &mut PeerContext<'_>) {
        if let Some(stream) = self.stream {
            let harmed = cx.is_harmed(stream);
            let outcome = if harmed || !self.is_honest() { Ok(()) } else { outcome };
            self.outcome.get_or_insert(outcome);
            match self.ending {
                Ending::Reset => cx.reset(stream),
                _ => cx.close(stream),
            }
        }
    }

    fn say(&mut self, stream: PeerStream, cx: &mut PeerContext<'_>) {
        while self.outcome.is_none() && self.sent < self.says.len() {
            let most = self.writes.allows(cx);
            if most == 0 {
                return;
            }
            let end = self.says.len().min(self.sent.saturating_add(most));
            match cx.write(stream, self.says.get(self.sent..end).unwrap_or_default()) {
                Ok(count) => {
                    self.sent += count;
                    self.writes.rest(cx);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => return self.end(self.too_early(&error.to_string()), cx),
            }
        }
        if self.outcome.is_none() && self.sent == self.says.len() && !self.finished {
            self.said_all(stream, cx);
        }
    }

    fn said_all(&mut self, stream: PeerStream, cx: &mut PeerContext<'_>) {
        match self.ending {
            // If it does not stand yet, or not any more, a read will tell.
            Ending::Finish => self.finished = cx.finish(stream).is_ok(),
            Ending::Close => self.finished = true,
            Ending::Leave | Ending::Reset => self.end(Ok(()), cx),
            Ending::Stay if cx.is_calm() => self.end(Ok(()), cx),
            Ending::Stay => {}
        }
    }

    fn hear(&mut self, stream: PeerStream, cx: &mut PeerContext<'_>) {
        let mut room = [0; 2048];
        while self.outcome.is_none() {
            if self.ending == Ending::Close && self.has_heard_all() {
                return self.end(Ok(()), cx);
            }
            if self.ending == Ending::Stay && self.sent == self.says.len() && !cx.is_calm() {
                return;
            }
            let most = self.reads.allows(cx).min(room.len());
            if most == 0 {
                return;
            }
            match cx.read(stream, room.get_mut(..most).unwrap_or_default()) {
                Ok(0) => return self.ended(cx),
                Ok(count) => self.heard(room.get(..count).unwrap_or_default(), cx),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => return self.end(self.too_early(&error.to_string()), cx),
            }
            self.reads.rest(cx);
        }
    }

    fn heard(&mut self, bytes: &[u8], cx: &mut PeerContext<'_>) {
        let end = self.heard + bytes.len();
        let is_expected = self.hears_anything || self.hears.get(self.heard..end) == Some(bytes);
        self.heard = end;
        if !is_expected {
            let text = format!("a client heard something else than it should, before byte {end}");
            self.outcome = Some(Err(text)); // of which no fault is an excuse
            self.end(Ok(()), cx);
        }
    }

    /// Nothing that it waits for is still to come.
    fn has_heard_all(&self) -> bool {
        match self.hears.len() {
            0 => self.finished,
            expected => self.heard == expected,
        }
    }

    fn ended(&mut self, cx: &mut PeerContext<'_>) {
        let said_all = self.sent == self.says.len() || self.ending == Ending::Close;
        let complete = self.heard == self.hears.len() && said_all;
        let outcome = if complete { Ok(()) } else { self.too_early("the end") };
        self.end(outcome, cx);
    }

    fn too_early(&self, what: &str) -> Result<(), String> {
        let Self { sent, says, heard, hears, ending, .. } = self;
        let (says, hears) = (says.len(), hears.len());
        Err(format!(
            "a client ({ending:?}) said {sent} of {says} and heard {heard} of {hears} bytes: {what}"
        ))
    }
}

impl Peer for Client {
    fn act(&mut self, cx: &mut PeerContext<'_>) {
        if self.outcome.is_some() || self.waits_for_calm && !cx.is_calm() {
            return;
        }
        let stream = match self.stream {
            Some(stream) => stream,
            None => *self.stream.insert(cx.connect(self.to.clone())),
        };
        self.say(stream, cx);
        self.hear(stream, cx);
    }

    fn is_done(&self) -> bool {
        self.outcome.is_some()
    }

    fn verdict(&self) -> Result<(), String> {
        match &self.outcome {
            Some(outcome) => outcome.clone(),
            None => self.too_early("it still waits"),
        }
    }
}

/// Who runs the loops, and stops them: SIGTERM at all of them, when it begins to act.
pub struct Operator {
    loops: Vec<LoopNumber>,
    done: bool,
}

impl Operator {
    /// It stops these.
    pub fn new(loops: impl IntoIterator<Item = LoopNumber>) -> Self {
        Self { loops: loops.into_iter().collect(), done: false }
    }
}

impl Peer for Operator {
    fn act(&mut self, cx: &mut PeerContext<'_>) {
        if !std::mem::replace(&mut self.done, true) {
            self.loops.iter().for_each(|&number| cx.signal(number, Signal::Terminate));
        }
    }

    fn is_done(&self) -> bool {
        self.done
    }
}

/// A thread does not say things faster than this.
const RETRY: Duration = Duration::from_micros(20);

/// A thread that says so many things to a service, at its own pace; a full inbox makes it try again.
pub struct Chatter<M> {
    handle: Handle<M>,
    make: Box<dyn FnMut(&mut Random) -> M>,
    /// What it could not say yet.
    unsaid: Option<M>,
    left: usize,
    pause: Range<Duration>,
}

impl<M> Chatter<M> {
    /// It says `count` things that `make` makes, one after each pause.
    pub fn new(
        handle: Handle<M>,
        count: usize,
        pause: Range<Duration>,
        make: impl FnMut(&mut Random) -> M + 'static,
    ) -> Self {
        Self { handle, make: Box::new(make), unsaid: None, left: count, pause }
    }
}

impl<M> Peer for Chatter<M> {
    fn act(&mut self, cx: &mut PeerContext<'_>) {
        if self.left == 0 {
            return;
        }
        let message = self.unsaid.take().unwrap_or_else(|| (self.make)(cx.random()));
        match self.handle.send(message) {
            Ok(()) => self.left -= 1,
            Err(SendError::Full(message)) => self.unsaid = Some(message),
            Err(SendError::Closed(_)) => self.left = 0,
        }
        let pause = cx.random().time(&self.pause).max(RETRY);
        cx.wake_after(pause);
    }

    fn is_done(&self) -> bool {
        self.left == 0
    }

    fn verdict(&self) -> Result<(), String> {
        match self.left {
            0 => Ok(()),
            left => Err(format!("a thread could not say {left} things")),
        }
    }
}
