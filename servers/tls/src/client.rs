//! The client: stdin to the server, and what the server says to stdout.
//!
//! ```text
//!  stdin --Input--> on_message --> queue --> server
//!                  (asked for only while little is queued)
//!  stdout <--Output-- on_data <-- (paused while stdout does not keep up) <-- server
//! ```

use std::time::Duration;

use reactor::{
    Bytes, CloseReason, ConnContext, ConnId, Connect, ConnectError, Context, Deadline, Handler,
    Limits, ReadBuffer, Target, TimerId,
};
use servers_common::{
    Backoff, Failure, Input, InputEvent, Output, OutputEvent, explain_close, explain_connect,
    print_error_line,
};

use crate::protocol::describe_session;

/// Bytes that may wait for the server before stdin is read no more.
const INPUT_MAX: usize = 256 * 1024;
/// Bytes that may wait for stdout before the server is read no more.
const OUTPUT_MAX: usize = 256 * 1024;
/// How long a server that has said its last word may take to take ours, and to hang up.
const FAREWELL: Duration = Duration::from_secs(1);

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
    /// How long the server may be silent once stdin has ended; [`Duration::MAX`]: for ever.
    pub timeout: Duration,
    /// How often to try again if there is no connection.
    pub retries: u32,
}

/// Sends its input, finishes when that ends, and writes what comes until the server finishes.
///
/// It [starts](Self::start) when it is told to, and stops its loop when it is done; the
/// [`outcome`](Self::outcome) says how that went.
#[derive(Debug)]
pub struct TlsClient {
    plan: ClientPlan,
    backoff: Backoff,
    input: Input,
    output: Output,
    connection: Option<ConnId>,
    /// Input was asked for, and has not come.
    is_asked: bool,
    input_has_ended: bool,
    /// How much was queued when the wait for the server began.
    queued: usize,
    /// There is no connection any more.
    is_closed: bool,
    /// How it went, once that is settled; what is still to be written is written before the end.
    outcome: Option<Result<(), Failure>>,
}

impl TlsClient {
    /// A client of these two.
    pub fn new(plan: ClientPlan, input: Input, output: Output) -> Self {
        Self {
            plan,
            backoff: Backoff::default(),
            input,
            output,
            connection: None,
            is_asked: false,
            input_has_ended: false,
            queued: 0,
            is_closed: false,
            outcome: None,
        }
    }

    /// What it is to be added with. It reads although its own queue is full: a server that answers takes no more
    /// before its answers are taken, and both would wait for ever.
    pub fn limits() -> Limits {
        Limits {
            queue_high: INPUT_MAX,
            queue_low: INPUT_MAX / 4,
            queue_max: 0,
            reads_when_full: true,
            drain_timeout: FAREWELL,
            linger_timeout: FAREWELL,
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
    /// Why not all was exchanged; also if it is not settled yet.
    pub fn outcome(&self) -> Result<(), Failure> {
        self.outcome.clone().unwrap_or_else(|| Err(Failure::run("interrupted")))
    }

    /// The first word is the last: what follows from the end is not its reason.
    fn settle(&mut self, outcome: Result<(), Failure>, cx: &mut Context<'_>) {
        self.outcome.get_or_insert(outcome);
        match self.connection.and_then(|id| cx.at(id)) {
            Some(mut connection) => connection.close(),
            None => self.is_closed = true,
        }
        self.stop_if_done(cx);
    }

    fn fail(&mut self, why: impl std::fmt::Display, cx: &mut Context<'_>) {
        self.settle(Err(Failure::run(why)), cx);
    }

    fn fail_at_peer(&mut self, reason: &CloseReason, cx: &mut Context<'_>) {
        self.fail(format!("{}: {}", self.plan.address, explain_close(reason)), cx);
    }

    /// A server that has finished is told that we have, too; one that has failed us is not.
    fn stop_if_done(&mut self, cx: &mut Context<'_>) {
        let is_over = match self.outcome {
            Some(Ok(())) => self.is_closed,
            Some(Err(_)) => true,
            None => false,
        };
        if is_over && self.output.waiting() == 0 {
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
        if self.output.waiting() >= OUTPUT_MAX {
            // It is stdout that is waited for now, and that may take as long as it takes.
            cx.pause();
            cx.clear_deadline();
        } else if self.input_has_ended {
            self.queued = cx.queued();
            cx.set_deadline(self.plan.timeout);
        }
    }

    fn on_input(&mut self, event: InputEvent, cx: &mut Context<'_>) {
        self.is_asked = false;
        let Some(mut cx) = self.connection.and_then(|id| cx.at(id)) else {
            return;
        };
        match event {
            InputEvent::Bytes(bytes) => {
                if cx.send_block(bytes) {
                    self.ask(&mut cx);
                }
            }
            InputEvent::End => {
                self.input_has_ended = true;
                cx.finish();
                self.watch(&mut cx);
            }
            InputEvent::Failed(why) => self.fail(format!("cannot read stdin: {why}"), &mut cx),
        }
    }

    fn on_output(&mut self, event: OutputEvent, cx: &mut Context<'_>) {
        match event {
            OutputEvent::Wrote(count) => {
                let was_full = self.output.waiting() >= OUTPUT_MAX;
                self.output.wrote(count);
                if was_full
                    && self.output.waiting() < OUTPUT_MAX
                    && let Some(mut connection) = self.connection.and_then(|id| cx.at(id))
                {
                    connection.resume();
                    self.watch(&mut connection);
                }
                self.stop_if_done(cx);
            }
            OutputEvent::Failed(why) => {
                self.output.wrote(self.output.waiting()); // nothing of it will be
                self.outcome.take_if(|outcome| outcome.is_ok());
                self.fail(format!("cannot write to stdout: {why}"), cx);
            }
        }
    }
}

impl Handler for TlsClient {
    type Session = ();
    type Message = ClientMessage;

    fn on_open(&mut self, cx: &mut ConnContext<'_>) {
        if let Some(session) = cx.tls() {
            print_error_line(&describe_session(session));
        }
        self.ask(cx);
    }

    fn on_data(&mut self, (): &mut (), input: &mut ReadBuffer, cx: &mut ConnContext<'_>) {
        let bytes = match input.detach() {
            Some(block) => Bytes::from(block),
            None => Bytes::copy_from_slice(input.take()),
        };
        self.output.write(bytes);
        self.watch(cx);
    }

    fn on_drained(&mut self, (): &mut (), cx: &mut ConnContext<'_>) {
        self.ask(cx);
    }

    fn on_eof(&mut self, (): &mut (), _: &mut ReadBuffer, cx: &mut ConnContext<'_>) {
        self.settle(Ok(()), cx);
    }

    fn on_deadline(&mut self, (): &mut (), which: Deadline, cx: &mut ConnContext<'_>) {
        if cx.queued() < self.queued {
            self.watch(cx); // it still takes what we have
        } else {
            self.fail_at_peer(&CloseReason::Deadline(which), cx);
        }
    }

    fn on_close(&mut self, (): (), reason: &CloseReason, cx: &mut ConnContext<'_>) {
        self.is_closed = true;
        match self.outcome {
            None => self.fail_at_peer(reason, cx),
            Some(_) => self.stop_if_done(cx),
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
mod tests {
    use super::*;
    use reactor::{Config, ServiceConfig, Stage};
    use servers_common::Unit;
    use std::io;

    /// A client whose input and output are played by the test: the real ones have nothing to say.
    fn connected() -> (Stage<TlsClient>, ConnId) {
        let (handle, _) = reactor::inbox(1);
        let chunks = Unit::Chunk(1);
        let input = Input::start(io::empty(), chunks, handle.clone(), ClientMessage::Input);
        let output = Output::start(io::sink(), handle, ClientMessage::Output);
        let address = Target::from("192.0.2.1:9443");
        let plan = ClientPlan {
            connect: Connect::to(address.clone()),
            address,
            timeout: Duration::from_secs(10),
            retries: 0,
        };
        let client = TlsClient::new(plan, input.unwrap(), output.unwrap());
        let config = ServiceConfig::new().limits(TlsClient::limits());
        let mut stage = Stage::with_config(client, Config::default(), config);
        stage.with(|client, cx| client.start(cx));
        let id = stage.connects()[0].0;
        stage.accept(id);
        (stage, id)
    }

    fn input(stage: &mut Stage<TlsClient>, bytes: &[u8]) {
        stage.message(ClientMessage::Input(InputEvent::Bytes(bytes.to_vec())));
    }

    fn end(stage: &mut Stage<TlsClient>) {
        stage.message(ClientMessage::Input(InputEvent::End));
    }

    fn wrote(stage: &mut Stage<TlsClient>, count: usize) {
        stage.message(ClientMessage::Output(OutputEvent::Wrote(count)));
    }

    #[test]
    fn it_ends_with_the_server_when_all_is_written_and_says_so_to_it() {
        let (mut stage, id) = connected();
        input(&mut stage, b"hello");
        assert_eq!(stage.sent(id), b"hello");
        stage.deliver(id, b"and good");
        stage.deliver(id, b"bye");
        stage.finish(id);
        assert!(stage.has_finished(id), "though stdin has not ended");
        assert!(!stage.reactor().is_stopping(), "it is not printed yet");
        wrote(&mut stage, 11);
        assert!(stage.reactor().is_stopping());
        assert_eq!(stage.handler().outcome(), Ok(()));
    }

    #[test]
    fn the_end_of_stdin_is_passed_on_and_the_answer_still_heard() {
        let (mut stage, id) = connected();
        input(&mut stage, b"question");
        end(&mut stage);
        assert!(stage.has_finished(id));
        stage.pass(Duration::from_secs(9));
        stage.deliver(id, b"answer");
        stage.pass(Duration::from_secs(9));
        stage.finish(id);
        wrote(&mut stage, 6);
        assert_eq!(stage.handler().outcome(), Ok(()));
    }

    #[test]
    fn silence_is_a_failure_after_the_end_of_stdin_and_not_before() {
        let (mut stage, id) = connected();
        stage.pass(Duration::from_secs(1000));
        assert!(stage.is_open(id));
        end(&mut stage);
        stage.pass(Duration::from_secs(10));
        let failure = stage.handler().outcome().unwrap_err();
        assert_eq!(failure.to_string(), "error: 192.0.2.1:9443: timed out");
        assert!(stage.reactor().is_stopping());
    }

    #[test]
    fn a_server_that_takes_what_there_is_may_take_its_time() {
        let (mut stage, id) = connected();
        stage.stall(id, 0);
        input(&mut stage, b"0123456789");
        end(&mut stage);
        for _ in 0..5 {
            stage.pass(Duration::from_secs(9));
            stage.stall(id, 1);
            stage.pass(Duration::from_secs(1));
            assert!(stage.is_open(id));
        }
        stage.pass(Duration::from_secs(20));
        assert!(stage.handler().outcome().unwrap_err().to_string().contains("timed out"));
    }

    #[test]
    fn a_reset_is_told_also_when_something_had_come_before() {
        let (mut stage, id) = connected();
        stage.deliver(id, b"half an ans");
        stage.reset(id);
        wrote(&mut stage, 11);
        let failure = stage.handler().outcome().unwrap_err().to_string();
        assert!(failure.contains("closed early: connection reset"), "{failure}");
    }

    #[test]
    fn while_stdout_is_slow_the_server_is_not_read_and_nothing_times_out() {
        let (mut stage, id) = connected();
        end(&mut stage);
        stage.deliver(id, &vec![b'x'; 2 * OUTPUT_MAX]);
        let waiting = stage.handler().output.waiting();
        assert!((OUTPUT_MAX..2 * OUTPUT_MAX).contains(&waiting), "{waiting}");
        stage.pass(Duration::from_secs(1000));
        assert!(stage.is_open(id));
        wrote(&mut stage, waiting);
        assert!(stage.handler().output.waiting() > 0, "the rest is read");
    }
}
