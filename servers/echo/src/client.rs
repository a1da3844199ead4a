//! The client: stdin to the server, and what comes back to stdout.
//!
//! ```text
//!  stdin --Input--> on_message --> queue --> server
//!                  (asked for only while little is queued)
//!  stdout <--Output-- on_data <-- (paused while stdout does not keep up) <-- server
//! ```

use std::time::{Duration, Instant};

use reactor::{
    Bytes, CloseReason, ConnContext, ConnId, Connect, ConnectError, Context, Deadline, Handler,
    Limits, ReadBuffer, Target, TimerId,
};
use servers_common::{
    Backoff, Failure, Input, InputEvent, Output, OutputEvent, explain_close, explain_connect,
};

use crate::protocol::Exchange;

/// Bytes that may wait for the server before stdin is read no more.
const INPUT_MAX: usize = 256 * 1024;
/// Bytes that may wait for stdout before the server is read no more.
const OUTPUT_MAX: usize = 256 * 1024;
/// How long the server may be silent when all has come back, before its FIN is not waited for any more.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How long the end of stdin is waited for when the server has finished and owes nothing: they may have
/// come at the same time.
const LAST_INPUT: Duration = Duration::from_millis(200);

/// What the threads tell the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientMessage {
    /// Of stdin.
    Input(InputEvent),
    /// Of stdout.
    Output(OutputEvent),
}

/// Where a client goes, and how patient it is.
#[derive(Clone, Debug)]
pub struct ClientPlan {
    /// The connection as it is wished for.
    pub connect: Connect,
    /// Where that leads, as errors are to call it.
    pub address: Target,
    /// How long bytes that are due may take; [`Duration::MAX`]: for ever.
    pub timeout: Duration,
    /// How often to try again if there is no connection.
    pub retries: u32,
}

/// Sends its input to an echo server, and writes what comes back to its output.
///
/// It [starts](Self::start) when it is told to, and stops its loop when it is done; the
/// [`outcome`](Self::outcome) says how that went.
#[derive(Debug)]
pub struct EchoClient {
    plan: ClientPlan,
    backoff: Backoff,
    input: Input,
    output: Output,
    exchange: Exchange,
    connection: Option<ConnId>,
    /// The server has finished; it owed nothing then.
    peer_has_finished: bool,
    /// Input was asked for, and has not come.
    is_asked: bool,
    /// Since when it has listened to a server that owes nothing, and for how long before. Waiting for
    /// stdout does not count.
    listens_since: Option<Instant>,
    listened: Duration,
    /// How it went, once that is settled; what is still to be written is written before the end.
    outcome: Option<Result<(), Failure>>,
}

impl EchoClient {
    /// A client of these two.
    pub fn new(plan: ClientPlan, input: Input, output: Output) -> Self {
        Self {
            plan,
            backoff: Backoff::default(),
            input,
            output,
            exchange: Exchange::default(),
            connection: None,
            peer_has_finished: false,
            is_asked: false,
            listens_since: None,
            listened: Duration::ZERO,
            outcome: None,
        }
    }

    /// What it is to be added with.
    ///
    /// It reads what comes back although its own queue is full: an echo server takes no more before its
    /// answers are taken, and both would wait for ever.
    pub fn limits() -> Limits {
        Limits {
            queue_high: INPUT_MAX,
            queue_low: INPUT_MAX / 4,
            queue_max: 0,
            reads_when_full: true,
            handshake_timeout: Duration::ZERO, // --timeout is the bound
            ..Limits::default()
        }
    }

    /// Begins to connect.
    pub fn start(&mut self, cx: &mut Context<'_>) {
        self.connection = Some(cx.connect(self.plan.connect.clone()));
    }

    /// How it went.
    ///
    /// # Errors
    /// Why not all came back; also if it is not settled yet.
    pub fn outcome(&self) -> Result<(), Failure> {
        self.outcome.clone().unwrap_or_else(|| Err(Failure::run("interrupted")))
    }

    /// The first word is the last: what follows from the end is not its reason.
    fn settle(&mut self, outcome: Result<(), Failure>, cx: &mut Context<'_>) {
        self.outcome.get_or_insert(outcome);
        if let Some(mut connection) = self.connection.and_then(|id| cx.at(id)) {
            connection.close();
        }
        self.stop_if_written(cx);
    }

    fn fail(&mut self, why: impl std::fmt::Display, cx: &mut Context<'_>) {
        self.settle(Err(Failure::run(why)), cx);
    }

    fn fail_at_peer(&mut self, why: &str, cx: &mut Context<'_>) {
        let Self { plan, exchange, .. } = self;
        let text = match exchange.due() {
            0 => format!("{}: {why}", plan.address),
            due => format!("{}: {why}: {due} bytes did not come back", plan.address),
        };
        self.fail(text, cx);
    }

    fn stop_if_written(&mut self, cx: &mut Context<'_>) {
        if self.outcome.is_some() && self.output.waiting() == 0 {
            cx.shutdown(Duration::ZERO);
        }
    }

    /// Asks for more input if there is room for it.
    fn ask(&mut self, cx: &mut ConnContext<'_>) {
        if !self.is_asked && cx.can_send() && !cx.is_full() {
            self.is_asked = true;
            self.input.ask();
        }
    }

    /// After anything that changes what is waited for.
    fn watch(&mut self, cx: &mut ConnContext<'_>) {
        if self.peer_has_finished {
            cx.set_deadline(LAST_INPUT);
        } else if self.output.waiting() >= OUTPUT_MAX {
            // It is stdout that is waited for now, and that may take as long as it takes.
            cx.pause();
            cx.clear_deadline();
            let since = self.listens_since.take().unwrap_or(cx.now());
            self.listened += cx.now().saturating_duration_since(since);
        } else if self.exchange.is_complete() {
            // A line mode's answers are longer than the lines. But nobody listens for ever to one who
            // says more than was asked.
            let since = *self.listens_since.get_or_insert(cx.now());
            let listened = self.listened + cx.now().saturating_duration_since(since);
            cx.set_deadline(LAST_WORDS.min(self.plan.timeout.saturating_sub(listened)));
        } else if self.exchange.due() > 0 {
            cx.set_deadline(self.plan.timeout);
        } else {
            cx.clear_deadline();
        }
    }

    fn on_input(&mut self, event: InputEvent, cx: &mut Context<'_>) {
        self.is_asked = false;
        let Some(mut cx) = self.connection.and_then(|id| cx.at(id)) else {
            return;
        };
        match event {
            InputEvent::Bytes(bytes) => {
                let (count, was_due) = (bytes.len(), self.exchange.due() > 0);
                if cx.send_block(bytes) {
                    self.exchange.sent(count);
                    self.ask(&mut cx);
                }
                if self.peer_has_finished {
                    self.fail_at_peer(&explain_close(&CloseReason::Eof), &mut cx);
                } else if !was_due {
                    self.watch(&mut cx);
                }
            }
            InputEvent::End => {
                cx.finish();
                self.exchange.finish();
                if self.peer_has_finished {
                    self.settle(Ok(()), &mut cx);
                } else if self.exchange.is_complete() {
                    self.watch(&mut cx);
                }
            }
            InputEvent::Failed(why) => self.fail(format!("cannot read stdin: {why}"), &mut cx),
        }
    }

    fn on_output(&mut self, event: OutputEvent, cx: &mut Context<'_>) {
        match event {
            OutputEvent::Wrote(count) => {
                let was_full = self.output.waiting() >= OUTPUT_MAX;
                self.output.wrote(count);
                let is_full = self.output.waiting() >= OUTPUT_MAX;
                if was_full
                    && !is_full
                    && let Some(mut connection) = self.connection.and_then(|id| cx.at(id))
                {
                    connection.resume();
                    self.watch(&mut connection);
                }
                self.stop_if_written(cx);
            }
            OutputEvent::Failed(why) => {
                self.output.wrote(self.output.waiting()); // nothing of it will be
                // All may have come back: it was not printed, all the same.
                self.outcome.take_if(|outcome| outcome.is_ok());
                self.fail(format!("cannot write to stdout: {why}"), cx);
            }
        }
    }
}

impl Handler for EchoClient {
    type Session = ();
    type Message = ClientMessage;

    fn on_open(&mut self, cx: &mut ConnContext<'_>) {
        log::debug!("connected to {}", cx.peer());
        self.ask(cx);
    }

    fn on_data(&mut self, (): &mut (), input: &mut ReadBuffer, cx: &mut ConnContext<'_>) {
        let bytes = match input.detach() {
            Some(block) => Bytes::from(block),
            None => Bytes::copy_from_slice(input.take()),
        };
        self.exchange.received(bytes.len());
        self.output.write(bytes);
        self.watch(cx);
    }

    fn on_drained(&mut self, (): &mut (), cx: &mut ConnContext<'_>) {
        self.ask(cx);
    }

    fn on_eof(&mut self, (): &mut (), _: &mut ReadBuffer, cx: &mut ConnContext<'_>) {
        if self.exchange.is_complete() {
            self.settle(Ok(()), cx);
        } else if self.exchange.due() > 0 {
            self.fail_at_peer(&explain_close(&CloseReason::Eof), cx);
        } else {
            self.peer_has_finished = true;
            self.watch(cx);
        }
    }

    fn on_deadline(&mut self, (): &mut (), which: Deadline, cx: &mut ConnContext<'_>) {
        if self.exchange.is_complete() {
            return self.settle(Ok(()), cx);
        }
        let reason = match self.peer_has_finished {
            true => CloseReason::Eof,
            false => CloseReason::Deadline(which),
        };
        self.fail_at_peer(&explain_close(&reason), cx);
    }

    fn on_close(&mut self, (): (), reason: &CloseReason, cx: &mut ConnContext<'_>) {
        if self.outcome.is_some() {
            return;
        }
        if self.exchange.is_complete() {
            self.settle(Ok(()), cx);
        } else {
            self.fail_at_peer(&explain_close(reason), cx);
        }
    }

    fn on_connect_failed(&mut self, _: ConnId, error: ConnectError, cx: &mut Context<'_>) {
        let text = explain_connect(&self.plan.address, &error);
        match self.plan.retries.checked_sub(1) {
            Some(left) => {
                let wait = self.backoff.next_wait();
                log::info!("{text}; trying again in {wait:?}, at most {left} times more");
                self.plan.retries = left;
                cx.set_timer(wait);
            }
            None => self.fail(text, cx),
        }
    }

    /// The wait before the next attempt is over.
    fn on_timer(&mut self, _: TimerId, cx: &mut Context<'_>) {
        self.start(cx);
    }

    fn on_message(&mut self, message: ClientMessage, cx: &mut Context<'_>) {
        match message {
            ClientMessage::Input(event) => self.on_input(event, cx),
            ClientMessage::Output(event) => self.on_output(event, cx),
        }
    }
}

#[cfg(test)]
mod tests;
