//! What connections do with what they are given back: one scheme for each kind of load.

use std::time::{Duration, Instant};

use fastrand::Rng;

use super::client::{Client, State};
use super::outcome::Tally;

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Stay,
    /// FIN, and wait for the server's.
    Finish,
    /// FIN, without waiting.
    Close,
    /// RST.
    Reset,
}

pub(super) trait Scheme {
    /// Whether a connection that has ended is replaced.
    const REPLACES: bool = false;

    /// A connection stands: what it sends before all others stand too.
    fn opened(&mut self, client: &mut Client, now: Instant);

    /// All stand, and have been answered.
    fn begin(&mut self, _: &mut Client, _: Instant) {}

    /// More has come back. What was not sent yet may be sent only while it is `running`.
    fn advance(
        &mut self,
        client: &mut Client,
        now: Instant,
        running: bool,
        tally: &mut Tally,
    ) -> Next;

    /// The server has ended one that waited for it.
    fn ended(&mut self, _: &Client, _: Instant, _: &mut Tally) {}

    /// Adds the numbers of connections that have a message more to send, and says when the next one has.
    fn due(&mut self, _: Instant, _: &mut Vec<usize>) -> Option<Instant> {
        None
    }

    /// A connection of those has this much more to send.
    fn message(&self) -> usize {
        0
    }

    /// Nothing new is sent any more.
    fn stop(&mut self, _: &mut Client) {}

    /// It has ended, and what is on its way will not come back.
    fn unanswered(&self, client: &Client, now: Instant, tally: &mut Tally) {
        for due in &client.due {
            tally.unanswered(*due, now);
        }
    }
}

/// Counts the messages of a connection that have come back whole; `due` has one entry for each on its way.
fn complete(client: &mut Client, size: usize, now: Instant, tally: &mut Tally) -> usize {
    let complete = client.received / size - client.answered;
    client.answered += complete;
    for due in client.due.drain(..complete.min(client.due.len())) {
        tally.operation(due, now);
    }
    complete
}

fn send(client: &mut Client, messages: usize, size: usize, now: Instant) {
    client.allowed = client.allowed.saturating_add(messages * size);
    client.due.extend(std::iter::repeat_n(now, messages));
}

/// So many messages in flight; the next one is due when one comes back.
pub(super) struct ClosedLoop {
    pub(super) size: usize,
    pub(super) in_flight: usize,
}

impl Scheme for ClosedLoop {
    fn opened(&mut self, client: &mut Client, now: Instant) {
        send(client, 1, self.size, now);
    }

    fn begin(&mut self, client: &mut Client, now: Instant) {
        let missing = self.in_flight.saturating_sub(client.due.len());
        send(client, missing, self.size, now);
    }

    fn advance(
        &mut self,
        client: &mut Client,
        now: Instant,
        running: bool,
        tally: &mut Tally,
    ) -> Next {
        let complete = complete(client, self.size, now, tally);
        if running {
            send(client, complete, self.size, now);
        }
        Next::Stay
    }
}

/// Messages are due at even distances, over all connections in turn, whatever comes back.
pub(super) struct OpenLoop {
    size: usize,
    rate: f64,
    connections: usize,
    begin: Option<Instant>,
    /// The number of the next message.
    next: usize,
}

/// So many messages are handed out before sockets are looked at again.
const DUE_MAX: usize = 4096;

impl OpenLoop {
    pub(super) fn new(size: usize, rate: f64, connections: usize) -> Self {
        Self { size, rate, connections: connections.max(1), begin: None, next: 0 }
    }

    fn intended(&self, begin: Instant, message: usize) -> Instant {
        begin + Duration::try_from_secs_f64(message as f64 / self.rate).unwrap_or(Duration::MAX / 4)
    }

    /// When a connection's message was due; its first one was the greeting before all began.
    fn due_of(&self, client: &Client, message: usize) -> Option<Instant> {
        let turn = message.checked_sub(1)?;
        Some(self.intended(self.begin?, turn * self.connections + client.number))
    }
}

impl Scheme for OpenLoop {
    fn opened(&mut self, client: &mut Client, _: Instant) {
        client.allowed = self.size;
    }

    fn begin(&mut self, _: &mut Client, now: Instant) {
        self.begin.get_or_insert(now);
    }

    fn advance(&mut self, client: &mut Client, now: Instant, _: bool, tally: &mut Tally) -> Next {
        let complete = client.received / self.size;
        for message in client.answered..complete {
            tally.operation(self.due_of(client, message).unwrap_or(client.since), now);
        }
        client.answered = complete;
        Next::Stay
    }

    fn due(&mut self, now: Instant, numbers: &mut Vec<usize>) -> Option<Instant> {
        let begin = self.begin?;
        loop {
            let due = self.intended(begin, self.next);
            if due > now || numbers.len() >= DUE_MAX {
                return Some(due);
            }
            numbers.push(self.next % self.connections);
            self.next += 1;
        }
    }

    fn message(&self) -> usize {
        self.size
    }

    fn unanswered(&self, client: &Client, now: Instant, tally: &mut Tally) {
        for message in client.answered..client.allowed / self.size {
            if let Some(due) = self.due_of(client, message) {
                tally.unanswered(due, now);
            }
        }
    }
}

/// Connect, a byte, close.
pub(super) struct Accept;

impl Scheme for Accept {
    const REPLACES: bool = true;

    fn opened(&mut self, client: &mut Client, _: Instant) {
        send(client, 1, 1, client.since);
    }

    fn advance(&mut self, client: &mut Client, now: Instant, _: bool, tally: &mut Tally) -> Next {
        complete(client, 1, now, tally);
        Next::Close
    }
}

/// Connections that come, say a little, and go in one way or another.
pub(super) struct Churn {
    size: usize,
    messages: usize,
    random: Rng,
}

impl Churn {
    pub(super) fn new(size: usize, messages: usize, seed: u64) -> Self {
        Self { size, messages: messages.max(1), random: Rng::with_seed(seed) }
    }
}

impl Scheme for Churn {
    const REPLACES: bool = true;

    fn opened(&mut self, client: &mut Client, _: Instant) {
        client.lifetime = self.random.usize(1..=self.messages);
        client.allowed = self.size;
    }

    fn advance(
        &mut self,
        client: &mut Client,
        now: Instant,
        running: bool,
        tally: &mut Tally,
    ) -> Next {
        client.answered = client.received / self.size;
        if client.received < client.allowed {
            return Next::Stay;
        }
        if client.answered < client.lifetime && running {
            client.allowed += self.size;
            return Next::Stay;
        }
        tally.operation(client.since, now);
        match self.random.u8(..3) {
            0 => Next::Finish,
            1 => Next::Close,
            _ => Next::Reset,
        }
    }
}

/// One byte, and then nothing.
pub(super) struct Idle;

impl Scheme for Idle {
    fn opened(&mut self, client: &mut Client, _: Instant) {
        send(client, 1, 1, client.since);
    }

    fn advance(&mut self, client: &mut Client, now: Instant, _: bool, tally: &mut Tally) -> Next {
        complete(client, 1, now, tally);
        Next::Stay
    }
}

/// One byte, and then the server's end.
pub(super) struct Expire;

impl Scheme for Expire {
    fn opened(&mut self, client: &mut Client, _: Instant) {
        client.allowed = 1;
    }

    fn advance(&mut self, client: &mut Client, _: Instant, _: bool, _: &mut Tally) -> Next {
        client.state = State::Finishing;
        Next::Stay
    }

    fn ended(&mut self, client: &Client, now: Instant, tally: &mut Tally) {
        tally.operation(client.since, now);
    }
}

/// As much as goes.
pub(super) struct Bulk;

impl Scheme for Bulk {
    fn opened(&mut self, client: &mut Client, _: Instant) {
        client.allowed = 1;
    }

    fn begin(&mut self, client: &mut Client, _: Instant) {
        client.allowed = usize::MAX;
    }

    fn advance(&mut self, _: &mut Client, _: Instant, _: bool, _: &mut Tally) -> Next {
        Next::Stay
    }

    fn stop(&mut self, client: &mut Client) {
        client.allowed = client.sent;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::socket::Stream;
    use mio::net::UnixStream;

    const MS: Duration = Duration::from_millis(1);

    fn client(number: usize, now: Instant) -> Client {
        let (stream, _) = UnixStream::pair().unwrap();
        Client::new(Stream::Unix(stream), number, 0, now)
    }

    #[test]
    fn a_closed_loop_keeps_as_many_in_flight_as_were_asked_for() {
        let (now, mut tally) = (Instant::now(), Tally::new());
        let mut scheme = ClosedLoop { size: 10, in_flight: 4 };
        let mut client = client(0, now);
        scheme.opened(&mut client, now);
        assert_eq!(client.allowed, 10);
        client.received = 10;
        scheme.advance(&mut client, now, false, &mut tally);
        scheme.begin(&mut client, now);
        assert_eq!((client.allowed, client.due.len()), (50, 4));
        client.received = 39; // two messages, and most of a third
        scheme.advance(&mut client, now, true, &mut tally);
        assert_eq!((client.allowed, client.due.len(), tally.operations_in_all), (70, 4, 3));
    }

    #[test]
    fn an_open_loop_does_not_wait_for_answers() {
        let (start, mut tally) = (Instant::now(), Tally::new());
        let mut scheme = OpenLoop::new(10, 1000.0, 2);
        let mut client = client(1, start);
        scheme.opened(&mut client, start);
        client.received = 10; // the greeting
        scheme.advance(&mut client, start, false, &mut tally);
        scheme.begin(&mut client, start);
        tally.measure(start);
        let mut numbers = Vec::new();
        let next = scheme.due(start + 5 * MS, &mut numbers).unwrap();
        assert_eq!(numbers, [0, 1, 0, 1, 0, 1]);
        assert!(next.duration_since(start + 6 * MS) < MS / 100);
        // Nothing came back until 100 ms after the start: each message is as late as it is.
        client.allowed += 3 * scheme.message();
        client.received = 40;
        scheme.advance(&mut client, start + 100 * MS, true, &mut tally);
        let latency = tally.latencies().unwrap();
        let is_about = |ns: u64, ms: u64| ns.abs_diff(ms * 1_000_000) < ms * 2_000;
        assert!(latency.count == 3 && is_about(latency.max_ns, 99), "{latency:?}");
        assert!(is_about(latency.p50_ns, 97), "{latency:?}");
    }

    #[test]
    fn what_an_open_loop_sent_in_vain_counts_as_late() {
        let (start, mut tally) = (Instant::now(), Tally::new());
        let mut scheme = OpenLoop::new(1, 1000.0, 1);
        let mut client = client(0, start);
        scheme.begin(&mut client, start);
        (client.allowed, client.received, client.answered) = (3, 1, 1);
        tally.measure(start);
        scheme.unanswered(&client, start + 1000 * MS, &mut tally);
        assert_eq!(tally.errors.get("unanswered"), Some(&2));
        assert!(tally.latencies().unwrap().max_ns >= 999_000_000);
    }

    #[test]
    fn churning_connections_live_and_end_in_all_ways() {
        let (now, mut tally) = (Instant::now(), Tally::new());
        let mut scheme = Churn::new(5, 3, 1);
        let mut seen = Vec::new();
        for _ in 0..100 {
            let mut client = client(0, now);
            scheme.opened(&mut client, now);
            let next = loop {
                client.received = client.allowed;
                match scheme.advance(&mut client, now, true, &mut tally) {
                    Next::Stay => {}
                    next => break next,
                }
            };
            assert!((1..=3).contains(&client.answered));
            if !seen.contains(&next) {
                seen.push(next);
            }
        }
        assert_eq!((seen.len(), tally.operations_in_all), (3, 100));
    }
}
