//! The client on a stage: what it waits for, and for how long.

use super::*;
use reactor::{Config, ServiceConfig, Stage};
use std::io;

/// A client whose input and output are played by the test: the real ones have nothing to say.
fn stage(retries: u32) -> (Stage<EchoClient>, ConnId) {
    let (handle, _) = reactor::inbox(1);
    let chunks = servers_common::Unit::Chunk(1);
    let input = Input::start(io::empty(), chunks, handle.clone(), ClientMessage::Input);
    let output = Output::start(io::sink(), handle, ClientMessage::Output);
    let address = Target::from("192.0.2.1:9002");
    let plan = ClientPlan {
        connect: Connect::to(address.clone()),
        address,
        timeout: Duration::from_secs(10),
        retries,
    };
    let client = EchoClient::new(plan, input.unwrap(), output.unwrap());
    let config = ServiceConfig::new().limits(EchoClient::limits());
    let mut stage = Stage::with_config(client, Config::default(), config);
    stage.with(|client, cx| client.start(cx));
    let id = stage.connects()[0].0;
    (stage, id)
}

fn connected() -> (Stage<EchoClient>, ConnId) {
    let (mut stage, id) = stage(0);
    stage.accept(id);
    (stage, id)
}

fn input(stage: &mut Stage<EchoClient>, bytes: &[u8]) {
    stage.message(ClientMessage::Input(InputEvent::Bytes(bytes.to_vec())));
}

fn end(stage: &mut Stage<EchoClient>) {
    stage.message(ClientMessage::Input(InputEvent::End));
}

fn wrote(stage: &mut Stage<EchoClient>, count: usize) {
    stage.message(ClientMessage::Output(OutputEvent::Wrote(count)));
}

fn failure(stage: &Stage<EchoClient>) -> String {
    stage.handler().outcome().unwrap_err().to_string()
}

#[test]
fn it_is_done_when_all_is_back_and_printed_and_the_server_has_finished() {
    let (mut stage, id) = connected();
    input(&mut stage, b"hello");
    assert_eq!(stage.sent(id), b"hello");
    end(&mut stage);
    assert!(stage.has_finished(id), "stdin has ended: FIN");
    stage.deliver(id, b"hello");
    stage.finish(id);
    assert!(!stage.reactor().is_stopping(), "it is not printed yet");
    wrote(&mut stage, 5);
    assert!(stage.reactor().is_stopping());
    assert_eq!(stage.handler().outcome(), Ok(()));
}

/// The answers of a line mode are longer than the lines, and may come slowly.
#[test]
fn the_last_words_end_with_a_second_of_silence() {
    let (mut stage, id) = connected();
    input(&mut stage, b"hello");
    end(&mut stage);
    stage.deliver(id, b"> hello");
    for _ in 0..5 {
        stage.pass(Duration::from_millis(900));
        stage.deliver(id, b", and more");
    }
    wrote(&mut stage, 57);
    stage.pass(Duration::from_millis(999));
    assert!(!stage.reactor().is_stopping());
    stage.pass(Duration::from_millis(1));
    assert!(stage.reactor().is_stopping());
    assert_eq!(stage.handler().outcome(), Ok(()));
}

#[test]
fn nobody_listens_for_ever_to_one_who_says_more_than_was_asked() {
    let (mut stage, id) = connected();
    input(&mut stage, b"hello");
    end(&mut stage);
    stage.deliver(id, b"hello");
    let mut said = 5;
    for _ in 0..9 {
        stage.pass(Duration::from_millis(500));
        stage.deliver(id, &[b'z'; 1000]);
        said += 1000;
    }
    // Stdout does not keep up for a while: that is not the server's time.
    stage.deliver(id, &vec![b'z'; OUTPUT_MAX]);
    stage.pass(Duration::from_secs(100));
    wrote(&mut stage, said + OUTPUT_MAX);
    for _ in 0..10 {
        assert!(stage.is_open(id));
        stage.pass(Duration::from_millis(500));
        stage.deliver(id, b"z");
    }
    stage.pass(Duration::from_millis(500));
    assert_eq!(stage.handler().outcome(), Ok(()));
}

#[test]
fn each_wait_for_bytes_that_are_due_has_its_time_and_no_other_wait_has() {
    let (mut stage, id) = connected();
    stage.pass(Duration::from_secs(1000)); // nothing is due
    input(&mut stage, b"hello");
    stage.pass(Duration::from_secs(9));
    stage.deliver(id, b"hel");
    wrote(&mut stage, 3);
    stage.pass(Duration::from_secs(9));
    stage.deliver(id, b"lo");
    wrote(&mut stage, 2);
    stage.pass(Duration::from_secs(1000));
    assert!(stage.is_open(id));
    input(&mut stage, b"again");
    stage.pass(Duration::from_secs(10));
    let text = "error: 192.0.2.1:9002: timed out: 5 bytes did not come back";
    assert_eq!(failure(&stage), text);
}

#[test]
fn while_stdout_is_slow_the_server_is_not_read_and_nothing_times_out() {
    let (mut stage, id) = connected();
    input(&mut stage, &vec![b'x'; 2 * OUTPUT_MAX]);
    stage.deliver(id, &vec![b'x'; 2 * OUTPUT_MAX]);
    let waiting = stage.handler().output.waiting();
    assert!((OUTPUT_MAX..2 * OUTPUT_MAX).contains(&waiting), "{waiting}");
    stage.pass(Duration::from_secs(1000));
    assert!(stage.is_open(id));
    wrote(&mut stage, waiting);
    assert!(stage.handler().output.waiting() > 0, "the rest is read");
}

#[test]
fn input_is_asked_for_only_while_little_is_queued() {
    let (mut stage, id) = connected();
    stage.stall(id, 0);
    assert!(stage.handler().is_asked);
    input(&mut stage, &vec![b'x'; INPUT_MAX - 1]);
    assert!(stage.handler().is_asked);
    input(&mut stage, b"xx");
    assert!(!stage.handler().is_asked);
    stage.stall(id, 2);
    assert!(!stage.handler().is_asked, "it is still nearly full");
    stage.stall(id, usize::MAX);
    assert!(stage.handler().is_asked);
}

#[test]
fn a_server_that_finishes_or_goes_before_closed_early() {
    let ends: [fn(&mut Stage<EchoClient>, ConnId); 2] = [Stage::finish, Stage::reset];
    for end in ends {
        let (mut stage, id) = connected();
        input(&mut stage, b"hello");
        stage.deliver(id, b"hell");
        end(&mut stage, id);
        assert!(!stage.reactor().is_stopping(), "what came is printed first");
        wrote(&mut stage, 4);
        assert!(stage.reactor().is_stopping());
        let text = failure(&stage);
        assert!(text.contains("closed early") && text.contains("1 bytes"), "{text}");
    }
}

#[test]
fn a_server_that_finishes_and_owes_nothing_waits_for_the_end_of_stdin_alone() {
    let finished = || {
        let (mut stage, id) = connected();
        input(&mut stage, b"hello");
        stage.deliver(id, b"hello");
        wrote(&mut stage, 5);
        stage.finish(id);
        assert!(stage.handler().outcome.is_none());
        stage
    };
    let mut stage = finished();
    end(&mut stage);
    assert_eq!(stage.handler().outcome(), Ok(()));
    let mut stage = finished();
    input(&mut stage, b"more");
    assert!(failure(&stage).contains("closed early: 4 bytes"));
    let mut stage = finished();
    stage.pass(LAST_INPUT);
    assert_eq!(failure(&stage), "error: 192.0.2.1:9002: closed early");
}

#[test]
fn a_reset_after_everything_came_back_takes_nothing_away() {
    let (mut stage, id) = connected();
    input(&mut stage, b"hello");
    end(&mut stage);
    stage.deliver(id, b"hello");
    stage.reset(id);
    wrote(&mut stage, 5);
    assert_eq!(stage.handler().outcome(), Ok(()));
}

#[test]
fn what_could_not_be_printed_is_not_done() {
    let (mut stage, id) = connected();
    input(&mut stage, b"hello");
    end(&mut stage);
    stage.deliver(id, b"hello");
    stage.finish(id);
    let failed = OutputEvent::Failed("broken pipe".to_owned());
    stage.message(ClientMessage::Output(failed));
    assert!(stage.reactor().is_stopping());
    let text = "error: cannot write to stdout: broken pipe";
    assert_eq!(failure(&stage), text);
}

#[test]
fn it_tries_again_as_often_as_it_may() {
    let (mut stage, id) = stage(2);
    stage.refuse(id, io::ErrorKind::ConnectionRefused);
    for longest in [100, 200] {
        assert!(stage.connects().is_empty());
        stage.pass(Duration::from_millis(longest));
        let id = stage.connects()[0].0;
        stage.refuse(id, io::ErrorKind::ConnectionRefused);
    }
    assert!(stage.reactor().is_stopping());
    let text = "error: cannot connect to 192.0.2.1:9002: connection refused";
    assert_eq!(failure(&stage), text);
}
