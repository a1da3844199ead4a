//! `Pipes`: a plain forwarder, on real sockets and on a stage. `Broadcast`: its properties.

#![allow(
    clippy::unwrap_used,
    clippy::field_reassign_with_default,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test panics where something is not as it should be"
)]

mod support;

use std::collections::HashMap;
use std::convert::Infallible;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use proptest::prelude::*;
use reactor::{
    Broadcast, Carried, CloseReason, Config, ConnContext, ConnId, Connect, ConnectError, Context,
    Handler, Limits, Origin, Pipes, Reactor, ReadBuffer, ServiceConfig, Stage,
};
use support::{PATIENCE, pattern, propagating, turn_until};

/// Forwards every client to one upstream.
struct Forwarder {
    upstream: Connect,
    pipes: Pipes,
    carried: Vec<Carried>,
    ended: usize,
}

impl Forwarder {
    fn to(upstream: impl Into<Connect>) -> Self {
        Self { upstream: upstream.into(), pipes: Pipes::new(), carried: Vec::new(), ended: 0 }
    }

    fn end(&mut self, id: ConnId, cx: &mut Context<'_>) {
        self.ended += 1;
        self.carried.extend(self.pipes.on_end(id, cx));
    }
}

impl Handler for Forwarder {
    type Session = ();
    type Message = Infallible;

    fn on_open(&mut self, cx: &mut ConnContext<'_>) {
        if matches!(cx.origin(), Origin::Accepted(_)) {
            let upstream = cx.connect(self.upstream.clone());
            assert!(self.pipes.join(cx.id(), upstream, cx));
        }
    }

    fn on_data(&mut self, _: &mut (), input: &mut ReadBuffer, cx: &mut ConnContext<'_>) {
        assert!(self.pipes.on_data(input, cx));
    }

    fn on_eof(&mut self, _: &mut (), input: &mut ReadBuffer, cx: &mut ConnContext<'_>) {
        assert!(self.pipes.on_eof(input, cx));
    }

    fn on_drained(&mut self, _: &mut (), cx: &mut ConnContext<'_>) {
        self.pipes.on_drained(cx);
    }

    fn on_close(&mut self, _: (), _: &CloseReason, cx: &mut ConnContext<'_>) {
        self.end(cx.id(), cx);
    }

    fn on_connect_failed(&mut self, id: ConnId, _: ConnectError, cx: &mut Context<'_>) {
        self.end(id, cx);
    }
}

fn forwarder(forwarder: Forwarder) -> (Reactor, reactor::Service<Forwarder>, TcpStream) {
    let mut reactor = Reactor::with_config(propagating()).unwrap();
    let service = reactor.add(forwarder);
    let address = reactor.listen(&service, "127.0.0.1:0").unwrap().address;
    let client = TcpStream::connect(address.socket_address().unwrap()).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    (reactor, service, client)
}

#[test]
fn both_directions_at_once_with_a_half_close_of_each() {
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let (mut reactor, service, mut client) =
        forwarder(Forwarder::to(upstream.local_addr().unwrap()));
    let there = thread::spawn(move || {
        let (mut stream, _) = upstream.accept().unwrap();
        let mut request = Vec::new();
        stream.read_to_end(&mut request).unwrap(); // the client's half-close arrives
        stream.write_all(&request).unwrap(); // and the other direction goes on
    });
    let here = thread::spawn(move || {
        client.write_all(&pattern(3 << 20)).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).unwrap();
        answer
    });
    turn_until(&mut reactor, &service, |forwarder| forwarder.ended == 2);
    there.join().unwrap();
    assert!(here.join().unwrap() == pattern(3 << 20));
    let all = Carried { forward: 3 << 20, backward: 3 << 20 };
    assert_eq!(reactor.get(&service).carried, [all]);
    assert!(reactor.get(&service).pipes.is_empty());
    assert_eq!(reactor.counters().read().open, 0);
}

/// A client that writes everything before it reads, through a forwarder to an echo that stops reading
/// while its answers are not taken: each direction must go on by itself.
#[test]
fn a_full_queue_one_way_does_not_stop_the_other() {
    let mut upstream = Reactor::with_config(propagating()).unwrap();
    let echo = upstream.add(support::Probe::default());
    let address = upstream.listen(&echo, "127.0.0.1:0").unwrap().address;
    let (mut reactor, service, client) = forwarder(Forwarder::to(address));
    let len = 24 << 20;
    let mut writer = client.try_clone().unwrap();
    let writing = thread::spawn(move || writer.write_all(&pattern(len)).unwrap());
    let reading = thread::spawn(move || {
        let mut client = client;
        thread::sleep(Duration::from_millis(500)); // until all queues on the way are full
        let mut back = vec![0; len];
        client.read_exact(&mut back).unwrap();
        back
    });
    let until = std::time::Instant::now() + PATIENCE;
    while reactor.get(&service).ended < 2 && !reading.is_finished() {
        assert!(std::time::Instant::now() < until, "it has stopped");
        reactor.turn(Some(Duration::from_millis(1))).unwrap();
        upstream.turn(Some(Duration::from_millis(1))).unwrap();
    }
    writing.join().unwrap();
    assert!(reading.join().unwrap() == pattern(len));
}

#[test]
fn a_refused_upstream_leaves_no_half() {
    let nowhere = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (mut reactor, service, mut client) = forwarder(Forwarder::to(nowhere));
    client.write_all(b"anybody there?").unwrap();
    turn_until(&mut reactor, &service, |forwarder| forwarder.ended == 1);
    let reading = thread::spawn(move || client.read_to_end(&mut Vec::new()).map(drop));
    turn_until(&mut reactor, &service, |forwarder| forwarder.ended == 2);
    reading.join().unwrap().unwrap();
    assert!(reactor.get(&service).pipes.is_empty());
    assert_eq!(reactor.counters().read().open, 0);
}

/// A forwarder on a stage: the client and the upstream.
fn staged(limits: Limits) -> (Stage<Forwarder>, ConnId, ConnId) {
    let config = Config { limits, ..propagating() };
    let mut stage = Stage::with_config(Forwarder::to("up:1"), config, ServiceConfig::new());
    let client = stage.open();
    let (upstream, _) = stage.connects()[0];
    (stage, client, upstream)
}

#[test]
fn a_stalled_side_costs_no_more_than_its_marks_and_goes_on() {
    let limits = Limits { queue_high: 1000, queue_low: 100, ..Limits::default() };
    let (mut stage, client, upstream) = staged(limits);
    stage.deliver(client, &pattern(600)); // before the upstream stands: it waits
    stage.accept(upstream);
    assert!(stage.sent(upstream) == pattern(600));
    for (from, to) in [(client, upstream), (upstream, client)] {
        stage.stall(to, 0);
        stage.deliver(from, &pattern(200_000));
        let queued = stage.reactor().counters().read().queued_bytes;
        assert!((1000..2000 + 64 * 1024).contains(&queued), "{queued}");
        stage.finish(from); // behind all of it
        assert!(!stage.has_finished(to));
        stage.stall(to, usize::MAX);
        assert!(stage.sent(to) == pattern(200_000));
        assert!(stage.has_finished(to));
    }
    assert_eq!(stage.handler().carried, [Carried { forward: 200_600, backward: 200_000 }]);
}

#[test]
fn an_end_that_is_gone_takes_the_other_with_it_after_what_is_queued() {
    for first_to_go in [0, 1] {
        let (mut stage, client, upstream) = staged(Limits::default());
        stage.accept(upstream);
        let ends = [client, upstream];
        let (goes, stays) = (ends[first_to_go], ends[1 - first_to_go]);
        stage.stall(stays, 0);
        stage.deliver(goes, b"last words");
        stage.reset(goes);
        assert!(!stage.has_finished(stays));
        stage.stall(stays, usize::MAX);
        assert_eq!(stage.sent(stays), b"last words");
        assert!(stage.has_finished(stays));
        stage.finish(stays);
        assert!(!stage.is_open(client) && !stage.is_open(upstream));
        assert!(stage.handler().pipes.is_empty());
    }
}

#[test]
fn an_upstream_that_times_out_closes_the_client() {
    let (mut stage, client, _) = staged(Limits::default());
    stage.finish(client);
    stage.pass(Duration::from_secs(10));
    assert!(!stage.is_open(client));
    assert_eq!(stage.handler().ended, 2);
}

#[test]
fn to_join_what_is_gone_closes_the_other() {
    let (mut stage, client, upstream) = staged(Limits::default());
    stage.refuse(upstream, ErrorKind::ConnectionRefused);
    stage.finish(client);
    let other = stage.open();
    assert!(!stage.with(|forwarder, cx| forwarder.pipes.join(other, client, cx)));
    assert!(stage.has_finished(other));
    assert!(!stage.with(|forwarder, cx| forwarder.pipes.join(other, other, cx)));
}

/// Everybody is in one room, unless it is told to leave.
#[derive(Default)]
struct Party {
    room: Broadcast,
}

impl Handler for Party {
    type Session = ();
    type Message = Infallible;

    fn on_open(&mut self, cx: &mut ConnContext<'_>) {
        self.room.join(cx.id());
    }

    fn on_data(&mut self, _: &mut (), input: &mut ReadBuffer, cx: &mut ConnContext<'_>) {
        self.room.say(Some(cx.id()), &[input.take()], cx);
    }

    fn on_close(&mut self, _: (), _: &CloseReason, cx: &mut ConnContext<'_>) {
        self.room.leave(cx.id(), cx);
    }

    fn on_turn_end(&mut self, cx: &mut Context<'_>) {
        self.room.flush(cx);
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Say(usize, usize),
    SayAll(usize),
    Direct(usize, usize),
    Leave(usize),
    Join(usize),
    EndTurn,
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0usize..4;
    prop_oneof![
        4 => (who.clone(), 1usize..600).prop_map(|(who, size)| Step::Say(who, size)),
        1 => (1usize..600).prop_map(Step::SayAll),
        1 => (who.clone(), 1usize..50).prop_map(|(who, size)| Step::Direct(who, size)),
        1 => who.clone().prop_map(Step::Leave),
        1 => who.prop_map(Step::Join),
        2 => Just(Step::EndTurn),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Each member hears all that the others say while it is in, in order, once; and what is sent to it
    /// alone in its place.
    #[test]
    fn a_room_against_a_list_for_each_member(steps in prop::collection::vec(step(), 1..80)) {
        let mut stage = Stage::new(Party::default());
        let ids: Vec<ConnId> = (0..4).map(|_| stage.open()).collect();
        let mut expected: HashMap<usize, Vec<u8>> = HashMap::new();
        let mut inside = [true; 4];
        let mut steps = steps.into_iter().enumerate().peekable();
        while steps.peek().is_some() {
            // One act is one turn.
            let turn: Vec<_> = steps.by_ref().take_while(|(_, step)| !matches!(step, Step::EndTurn)).collect();
            stage.with(|party, cx| for (number, step) in turn {
                let text = |size: usize| vec![number as u8; size];
                match step {
                    Step::Say(who, size) => {
                        let from = inside[who].then_some(ids[who]);
                        party.room.say(from, &[&text(size)[..size / 2], &text(size - size / 2)], cx);
                        for other in (0..4).filter(|&other| inside[other] && Some(ids[other]) != from) {
                            expected.entry(other).or_default().extend(text(size));
                        }
                    }
                    Step::SayAll(size) => {
                        party.room.say(None, &[&text(size)], cx);
                        for other in (0..4).filter(|&other| inside[other]) {
                            expected.entry(other).or_default().extend(text(size));
                        }
                    }
                    Step::Direct(who, size) => {
                        party.room.send_to(ids[who], &text(size), cx);
                        expected.entry(who).or_default().extend(text(size));
                    }
                    Step::Leave(who) => {
                        assert_eq!(party.room.leave(ids[who], cx), inside[who]);
                        inside[who] = false;
                    }
                    Step::Join(who) => {
                        assert_eq!(party.room.join(ids[who]), !inside[who]);
                        inside[who] = true;
                    }
                    Step::EndTurn => unreachable!(),
                }
            });
            prop_assert_eq!(stage.handler().room.len(), inside.iter().filter(|&&is| is).count());
        }
        for (who, id) in ids.iter().enumerate() {
            let sent = stage.sent(*id);
            prop_assert!(sent == expected.remove(&who).unwrap_or_default(), "member {}", who);
        }
    }
}

#[test]
fn what_is_said_stands_once_however_many_listen() {
    let limits = Limits { queue_max: 0, queue_high: usize::MAX, ..Limits::default() };
    let config = Config { limits, ..propagating() };
    let mut stage = Stage::with_config(Party::default(), config, ServiceConfig::new());
    let ids: Vec<_> = (0..100).map(|_| stage.open()).collect();
    ids.iter().for_each(|&id| stage.stall(id, 0));
    stage.deliver(ids[0], &pattern(60_000));
    stage.deliver(ids[1], &pattern(60_000));
    let waiting = stage.reactor().counters().read().queued_bytes;
    assert_eq!(waiting, 2 * 99 * 60_000);
    let owned = stage.reactor().memory().queues;
    assert!(owned < 100 * 1024, "{owned} bytes are not shared");
}
