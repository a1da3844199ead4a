//! The echo service.

use std::convert::Infallible;

use reactor::framing::{Line, LineFraming, TooLong};
use reactor::{Address, CloseReason, ConnContext, Context, Handler, ReadBuffer, SocketId};

use crate::protocol::{Modes, Verdict};

/// Sends back what comes: byte for byte, or by line if a mode of [`Modes`] says so.
///
/// It reads no more than it can answer: while a peer does not take its answers, it is not read, and what
/// waits for it is bounded by [`Limits::queue_high`](reactor::Limits::queue_high) and one answer.
#[derive(Debug)]
pub struct Echo {
    modes: Modes,
    /// The answer that is being made, kept for its memory.
    answer: Vec<u8>,
}

/// How much memory is kept for the next answer.
const ANSWER_KEPT: usize = 64 * 1024;

/// What becomes of a connection after a line.
enum Next {
    Line,
    Close,
}

impl Echo {
    /// An echo that works in these modes.
    pub fn new(modes: Modes) -> Self {
        Self { modes, answer: Vec::new() }
    }

    // Apart, so that it costs nothing to echo bytes that there are lines.
    #[inline(never)]
    fn answer_lines(
        &mut self,
        framing: &mut LineFraming,
        input: &mut ReadBuffer,
        cx: &mut ConnContext<'_>,
    ) {
        // What is left in a full queue's input is offered again when the queue has drained.
        while !cx.is_full()
            && let Some(line) = framing.next(input).transpose()
            && let Next::Line = self.answer(line, cx)
        {}
    }

    fn answer(&mut self, line: Result<Line<'_>, TooLong>, cx: &mut ConnContext<'_>) -> Next {
        self.answer.clear();
        self.answer.shrink_to(ANSWER_KEPT);
        let verdict = match line {
            Ok(line) => self.modes.answer(&line, &mut self.answer),
            Err(error) => {
                log::debug!("{} sent {error}", cx.peer());
                Verdict::Bye
            }
        };
        match verdict {
            Verdict::Answered if cx.send(&self.answer) => Next::Line,
            Verdict::Answered | Verdict::Bye => {
                cx.close();
                Next::Close
            }
        }
    }
}

impl Handler for Echo {
    type Session = LineFraming;
    type Message = Infallible;

    fn on_open(&mut self, cx: &mut ConnContext<'_>) -> LineFraming {
        log::debug!("{} is here", cx.peer());
        LineFraming::new(self.modes.max_line())
    }

    fn on_data(
        &mut self,
        framing: &mut LineFraming,
        input: &mut ReadBuffer,
        cx: &mut ConnContext<'_>,
    ) {
        if self.modes.has_lines() {
            self.answer_lines(framing, input, cx);
        } else {
            cx.forward(input);
        }
    }

    fn on_eof(
        &mut self,
        framing: &mut LineFraming,
        input: &mut ReadBuffer,
        cx: &mut ConnContext<'_>,
    ) {
        while self.modes.has_lines() {
            // No line waits for a queue to drain here: the end is told only when there was room for all.
            let line = match framing.next(input).transpose() {
                Some(line) => Some(line),
                None => framing.last(input).transpose(),
            };
            match line.map(|line| self.answer(line, cx)) {
                Some(Next::Line) => {}
                Some(Next::Close) | None => break,
            }
        }
        cx.close();
    }

    fn on_close(&mut self, _: LineFraming, reason: &CloseReason, cx: &mut ConnContext<'_>) {
        log::debug!("{} is gone: {reason}", cx.peer());
    }

    fn on_datagram(
        &mut self,
        socket: SocketId,
        from: &Address,
        datagram: &[u8],
        cx: &mut Context<'_>,
    ) {
        self.answer.clear();
        if let Verdict::Answered = self.modes.answer_datagram(datagram, &mut self.answer)
            && !cx.send_datagram(socket, from, &self.answer)
        {
            log::debug!("no room for an answer to {from}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use reactor::{Config, ConnId, Limits, ServiceConfig, Stage};

    const HIGH: usize = 1000;

    fn stage(modes: Modes) -> Stage<Echo> {
        let limits = Limits {
            queue_high: HIGH,
            queue_low: HIGH / 2,
            queue_max: 0,
            input_max: 0,
            ..Limits::default()
        };
        let service = ServiceConfig::new().limits(limits);
        Stage::with_config(Echo::new(modes), Config::default(), service)
    }

    fn lines() -> Modes {
        Modes { prefix: Some("> ".to_owned()), bye: true, max_line: 8, ..Modes::default() }
    }

    fn queued(stage: &mut Stage<Echo>, peer: ConnId) -> usize {
        stage.with(|_, cx| cx.at(peer).map_or(0, |cx| cx.queued()))
    }

    #[test]
    fn bytes_come_back_whatever_they_are_and_fin_after_them() {
        let mut stage = stage(Modes::default());
        let peer = stage.open();
        stage.deliver(peer, b"bye\n\xff\0");
        assert_eq!(stage.sent(peer), b"bye\n\xff\0");
        assert!(!stage.has_finished(peer));
        stage.finish(peer);
        assert!(stage.has_finished(peer) && stage.sent(peer).is_empty());
    }

    #[test]
    fn the_last_line_needs_no_ending() {
        let mut stage = stage(lines());
        let peer = stage.open();
        stage.deliver(peer, b"one\r\ntw");
        assert_eq!(stage.sent(peer), b"> one\r\n");
        stage.deliver(peer, b"o");
        stage.finish(peer);
        assert_eq!(stage.sent(peer), b"> two");
        assert!(stage.has_finished(peer));
    }

    #[test]
    fn nothing_is_answered_after_bye_or_after_a_line_that_is_too_long() {
        for (bytes, answer) in [
            (&b"a\nbye\nb\n"[..], &b"> a\n"[..]),
            (b"a\n123456789\nb\n", b"> a\n"),
            (b"12345678\n123456789", b"> 12345678\n"),
        ] {
            let mut stage = stage(lines());
            let peer = stage.open();
            stage.deliver(peer, bytes);
            assert_eq!(stage.sent(peer), answer);
            assert!(stage.has_finished(peer), "FIN, though the peer has not finished");
            stage.deliver(peer, b"more\n");
            assert!(stage.sent(peer).is_empty());
        }
    }

    #[test]
    fn a_last_line_that_is_bye_or_too_long_is_not_answered() {
        for bytes in [&b"bye"[..], b"12345678\r"] {
            let mut stage = stage(lines());
            let peer = stage.open();
            stage.deliver(peer, bytes);
            assert!(!stage.has_finished(peer));
            stage.finish(peer);
            assert!(stage.has_finished(peer) && stage.sent(peer).is_empty());
        }
    }

    #[test]
    fn a_peer_that_takes_nothing_has_a_bounded_queue_and_misses_nothing() {
        for (modes, line) in [(Modes::default(), "1234567\n"), (lines(), "> 1234567\n")] {
            let mut stage = stage(modes);
            let peer = stage.open();
            stage.stall(peer, 0);
            stage.deliver(peer, "1234567\n".repeat(10_000).as_bytes());
            stage.finish(peer);
            let most = HIGH + line.len();
            assert!((HIGH..=most).contains(&queued(&mut stage, peer)));
            let mut answers = Vec::new();
            while !stage.has_finished(peer) {
                stage.stall(peer, 700);
                answers.extend(stage.sent(peer));
                assert!(queued(&mut stage, peer) <= most);
            }
            assert!(answers == line.repeat(10_000).as_bytes());
        }
    }

    #[test]
    fn datagrams_are_answered_to_who_sent_them() {
        let mut stage = stage(lines());
        let socket = stage.bind();
        let from = |port| Address::Ip(([127, 0, 0, 1], port).into());
        stage.datagram(socket, &from(1), b"one\n");
        stage.datagram(socket, &from(2), b"bye\n");
        stage.datagram(socket, &from(3), b"");
        let answers = [(b"> one\n".to_vec(), from(1)), (b"> ".to_vec(), from(3))];
        assert_eq!(stage.sent_datagrams(socket), answers);
    }

    proptest! {
        #[test]
        fn answers_do_not_depend_on_how_the_stream_is_cut(
            text in "[a\r\n]{0,60}", piece in 1usize..20
        ) {
            let answers = |piece: usize| {
                let mut stage = stage(Modes { upper: true, max_line: 0, ..lines() });
                let peer = stage.open();
                text.as_bytes().chunks(piece).for_each(|bytes| stage.deliver(peer, bytes));
                stage.finish(peer);
                stage.sent(peer)
            };
            prop_assert_eq!(answers(piece), answers(1000));
        }
    }
}
