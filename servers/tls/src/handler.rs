//! The services: one that greets, and one that takes TLS off.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use reactor::{
    CloseReason, ConnContext, ConnId, Connect, ConnectError, Context, Handler, Origin, Pipes,
    ReadBuffer,
};

use crate::protocol::{ProxyVersion, proxy_header};

/// Answers the first bytes of each client with a greeting, and closes.
#[derive(Clone, Debug)]
pub struct Greeter {
    greeting: String,
}

impl Greeter {
    /// One that says this, and a newline.
    pub fn new(greeting: &str) -> Self {
        Self { greeting: format!("{greeting}\n") }
    }
}

impl Handler for Greeter {
    type Session = ();
    type Message = Infallible;

    fn on_open(&mut self, cx: &mut ConnContext<'_>) {
        log::debug!("{} is here", cx.peer());
    }

    fn on_data(&mut self, (): &mut (), input: &mut ReadBuffer, cx: &mut ConnContext<'_>) {
        input.take();
        cx.send(self.greeting.as_bytes());
        cx.close();
    }

    fn on_close(&mut self, (): (), reason: &CloseReason, cx: &mut ConnContext<'_>) {
        log::debug!("{} is gone: {reason}", cx.peer());
    }
}

/// How often failures of the upstream are told, when there are many.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(1);

/// Joins each client to a connection of its own to one upstream.
///
/// # Not guaranteed
/// An upstream that is reset looks to its client like one that has finished: what it sent before is delivered, and then the
/// connection closes, with close_notify.
#[derive(Debug)]
pub struct Forwarder {
    upstream: Connect,
    /// As errors are to call it.
    name: String,
    proxy: Option<ProxyVersion>,
    pipes: Pipes,
    complaints: Complaints,
}

impl Forwarder {
    /// One to this upstream, which is told who its clients are if there is a version to tell it in.
    pub fn new(upstream: Connect, name: &str, proxy: Option<ProxyVersion>) -> Self {
        Self {
            upstream,
            name: name.to_owned(),
            proxy,
            pipes: Pipes::new(),
            complaints: Complaints::default(),
        }
    }

    fn complain(&mut self, why: &dyn std::fmt::Display, cx: &Context<'_>) {
        if let Some(missed) = self.complaints.note(cx.now()) {
            let more = match missed {
                0 => String::new(),
                missed => format!(" ({missed} more since the last of these lines)"),
            };
            log::warn!("upstream {}: {why}{more}", self.name);
        }
    }
}

impl Handler for Forwarder {
    type Session = ();
    type Message = Infallible;

    fn on_open(&mut self, cx: &mut ConnContext<'_>) {
        let Origin::Accepted(listener) = cx.origin() else { return };
        log::debug!("{} is here", cx.peer());
        let upstream = cx.connect(self.upstream.clone());
        if let Some(version) = self.proxy {
            let header = proxy_header(version, &cx.peer(), cx.listener_address(listener));
            cx.send_to(upstream, &header);
        }
        self.pipes.join(cx.id(), upstream, cx);
    }

    fn on_data(&mut self, (): &mut (), input: &mut ReadBuffer, cx: &mut ConnContext<'_>) {
        self.pipes.on_data(input, cx);
    }

    fn on_eof(&mut self, (): &mut (), input: &mut ReadBuffer, cx: &mut ConnContext<'_>) {
        self.pipes.on_eof(input, cx);
    }

    fn on_drained(&mut self, (): &mut (), cx: &mut ConnContext<'_>) {
        self.pipes.on_drained(cx);
    }

    fn on_close(&mut self, (): (), reason: &CloseReason, cx: &mut ConnContext<'_>) {
        let id = cx.id();
        match (cx.origin(), reason) {
            (Origin::Connected, CloseReason::Io(_)) => self.complain(reason, cx),
            (Origin::Accepted(_), _) => log::debug!("{} is gone: {reason}", cx.peer()),
            (Origin::Connected, _) => {}
        }
        self.pipes.on_end(id, cx);
    }

    fn on_connect_failed(&mut self, id: ConnId, error: ConnectError, cx: &mut Context<'_>) {
        // Who is cancelled has lost its client.
        if error != ConnectError::Cancelled {
            self.complain(&error, cx);
        }
        self.pipes.on_end(id, cx);
    }
}

/// When something was last complained of, and how often it was passed over since.
#[derive(Debug, Default)]
struct Complaints {
    last: Option<Instant>,
    missed: u64,
}

impl Complaints {
    /// Whether it is to be told, and then how many were not.
    fn note(&mut self, now: Instant) -> Option<u64> {
        let is_recent = |last: Instant| now.saturating_duration_since(last) < COMPLAINT_INTERVAL;
        if self.last.is_some_and(is_recent) {
            self.missed += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.missed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reactor::Stage;

    fn forwarder(proxy: Option<ProxyVersion>) -> Stage<Forwarder> {
        Stage::new(Forwarder::new(Connect::to("192.0.2.1:80"), "192.0.2.1:80", proxy))
    }

    /// A client, and the connection that was wished for because of it.
    fn client(stage: &mut Stage<Forwarder>) -> (ConnId, ConnId) {
        let client = stage.open();
        (client, stage.connects()[0].0)
    }

    #[test]
    fn the_first_bytes_are_greeted_once() {
        let mut stage = Stage::new(Greeter::new("hi"));
        let peer = stage.open();
        assert!(stage.sent(peer).is_empty() && !stage.has_finished(peer));
        stage.deliver(peer, b"\0");
        stage.deliver(peer, b"more");
        assert_eq!(stage.sent(peer), b"hi\n");
        assert!(stage.has_finished(peer));
    }

    #[test]
    fn a_client_that_only_finishes_is_not_greeted() {
        let mut stage = Stage::new(Greeter::new("hi"));
        let peer = stage.open();
        stage.finish(peer);
        assert!(stage.sent(peer).is_empty() && stage.has_finished(peer));
    }

    #[test]
    fn bytes_and_ends_go_through_in_both_directions() {
        let mut stage = forwarder(None);
        let (client, upstream) = client(&mut stage);
        stage.deliver(client, b"early");
        stage.accept(upstream);
        stage.deliver(client, b", late");
        assert_eq!(stage.sent(upstream), b"early, late");
        stage.finish(client);
        assert!(stage.has_finished(upstream) && !stage.has_finished(client));
        stage.deliver(upstream, b"answer");
        stage.finish(upstream);
        assert_eq!(stage.sent(client), b"answer");
        assert!(stage.has_finished(client));
        assert!(stage.handler().pipes.is_empty());
    }

    #[test]
    fn the_header_comes_before_all_else() {
        let mut stage = forwarder(Some(ProxyVersion::V1));
        let (client, upstream) = client(&mut stage);
        stage.deliver(client, b"hello");
        stage.accept(upstream);
        let sent = String::from_utf8(stage.sent(upstream)).unwrap();
        assert!(sent.starts_with("PROXY ") && sent.ends_with("\r\nhello"), "{sent:?}");
    }

    #[test]
    fn an_upstream_that_cannot_be_had_closes_the_client() {
        let mut stage = forwarder(None);
        let (client, upstream) = client(&mut stage);
        stage.deliver(client, b"hello");
        stage.refuse(upstream, std::io::ErrorKind::ConnectionRefused);
        assert!(stage.has_finished(client) && stage.sent(client).is_empty());
        assert!(stage.handler().pipes.is_empty());
    }

    #[test]
    fn failures_are_told_once_a_second_with_those_that_were_not() {
        let mut complaints = Complaints::default();
        let begin = Instant::now();
        let at = |milliseconds| begin + Duration::from_millis(milliseconds);
        assert_eq!(complaints.note(at(0)), Some(0));
        assert_eq!(complaints.note(at(1)), None);
        assert_eq!(complaints.note(at(999)), None);
        assert_eq!(complaints.note(at(1000)), Some(2));
        assert_eq!(complaints.note(at(2500)), Some(0));
    }
}
