//! The loop in simulated worlds; and the worlds themselves, which must see what is wrong.

#![cfg(feature = "sim")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "a test panics where something is not as it should be"
)]

use std::convert::Infallible;
use std::time::Duration;

use reactor::sim::{Chatter, Client, Ending, Faults, Operator, Promise, Violation, World};
use reactor::{
    CloseReason, Config, ConnContext, ConnId, Connect, ConnectError, Context, Deadline, Handler,
    Limits, ReadBuffer, ServiceConfig, Signal,
};

const HERE: &str = "10.0.0.1:7";

/// What the handler under test does, right or wrong.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Manner {
    Echo,
    /// It loses a byte now and then.
    Careless,
    /// It answers something else.
    Confused,
    /// It does not close when the peer has finished.
    Clinging,
    /// It panics by itself.
    Clumsy,
    /// It does nothing but ask for another look at it.
    Restless,
}

struct Subject(Manner);

impl Handler for Subject {
    type Session = ();
    type Message = u64;

    fn on_open(&mut self, _: &mut ConnContext<'_>) {}

    fn on_data(&mut self, _: &mut (), input: &mut ReadBuffer, cx: &mut ConnContext<'_>) {
        match self.0 {
            Manner::Careless if input.len() > 1 => input.consume(1),
            Manner::Confused => {
                cx.send(&vec![b'?'; input.len()]);
                input.take();
                return;
            }
            Manner::Clumsy => std::panic::resume_unwind(Box::new("for a test")),
            _ => {}
        }
        cx.forward(input);
    }

    fn on_eof(&mut self, _: &mut (), _: &mut ReadBuffer, cx: &mut ConnContext<'_>) {
        if self.0 != Manner::Clinging {
            cx.close();
        }
    }

    fn on_timer(&mut self, timer: reactor::TimerId, cx: &mut Context<'_>) {
        cx.rearm_timer(timer, Duration::ZERO);
    }

    fn on_deadline(&mut self, _: &mut (), which: Deadline, cx: &mut ConnContext<'_>) {
        assert_eq!(which, Deadline::Idle);
        cx.close();
    }
}

fn pattern(count: usize) -> Vec<u8> {
    (0..count).map(|index| (index * 7 + index / 256) as u8).collect()
}

/// A world of one loop, and of clients with all endings.
fn furnished(mut world: World, manner: Manner, trace_records: usize) -> World {
    let server = world.add_loop(Config { trace_records, ..Config::default() });
    world.serve(server, Subject(manner), ServiceConfig::new(), HERE).unwrap();
    let mut random = world.random();
    for _ in 0..20 {
        let says = pattern(random.size(1..3000));
        let endings = [Ending::Finish, Ending::Close, Ending::Leave, Ending::Reset, Ending::Stay];
        let pause = Duration::ZERO..Duration::from_millis(random.below(20));
        let client = Client::new(HERE, &says, &says)
            .ending(*random.pick(&endings).unwrap())
            .writing(1..500, pause.clone())
            .reading(1..500, pause);
        world.add_peer_after(random.time(&(Duration::ZERO..Duration::from_secs(1))), client);
    }
    world
}

/// The first violation within some seeds.
fn first_violation(manner: Manner) -> Option<Violation> {
    (1..=20).find_map(|seed| {
        let world = World::with_faults(
            seed,
            Faults { panic: 0.0, ..Faults::drawn(&mut World::new(seed).random()) },
        );
        furnished(world, manner, 0).run().err()
    })
}

#[test]
fn a_sound_handler_keeps_all_promises_whatever_goes_wrong() {
    for seed in 1..=100 {
        let tally = furnished(World::new(seed), Manner::Echo, 0).run().unwrap();
        assert!(tally.events > 0 && tally.turns > 0 && tally.calls > 0, "seed {seed}: {tally:?}");
    }
}

#[test]
fn the_same_seed_is_the_same_run_and_another_seed_another() {
    let hash = |seed| {
        let mut world = furnished(World::new(seed), Manner::Echo, 1);
        let tally = world.run().unwrap();
        (world.recorders()[0].hash(), tally, world.now())
    };
    let all: Vec<_> = (1..=10).map(hash).collect();
    assert_eq!(all, (1..=10).map(hash).collect::<Vec<_>>());
    let mut hashes: Vec<u64> = all.iter().map(|(hash, ..)| *hash).collect();
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), 10);
}

#[test]
fn what_a_handler_does_wrong_is_seen() {
    assert_eq!(first_violation(Manner::Echo), None);
    assert_eq!(first_violation(Manner::Careless).unwrap().promise, Promise::Bytes);
    assert_eq!(first_violation(Manner::Confused).unwrap().promise, Promise::Bytes);
    assert_eq!(first_violation(Manner::Clumsy).unwrap().promise, Promise::Bytes);
    let clinging = first_violation(Manner::Clinging).unwrap();
    assert_eq!(clinging.promise, Promise::Liveness);
    assert!(clinging.to_string().starts_with("liveness violated at 3602s: "), "{clinging}");
}

#[test]
fn hours_of_silence_take_no_time() {
    let mut world = World::with_faults(1, Faults::none());
    let server = world.add_loop(Config::default());
    let limits = Limits { idle_timeout: Duration::from_secs(3 * 3600), ..Limits::default() };
    let service = ServiceConfig::new().limits(limits);
    world.serve(server, Subject(Manner::Echo), service, HERE).unwrap();
    world.add_peer(Client::new(HERE, b"x", b"x").ending(Ending::Stay));
    world.storm(Duration::from_secs(3 * 3600 - 1)).unwrap();
    assert_eq!(world.reactor(server).counters().read().open, 1);
    world.storm(Duration::from_secs(10)).unwrap();
    assert_eq!(world.reactor(server).counters().read().open, 0);
    assert!(world.tally().turns < 20, "{:?}", world.tally());
    world.settle().unwrap();
}

/// The signal came in the very turn in which the loop had stopped. It was told, and that the loop had
/// stopped was not: `next_deadline` promised nothing more, so an embedder would have waited for ever.
#[test]
fn a_signal_in_the_last_turn_hid_that_the_loop_had_stopped() {
    let mut world = World::with_faults(1, Faults::none());
    let server = world.add_loop(Config::default());
    world.serve(server, Subject(Manner::Echo), ServiceConfig::new(), HERE).unwrap();
    world.signal(server, Signal::Terminate);
    world.reactor(server).shutdown(Duration::ZERO);
    world.add_peer(Operator::new([server]));
    world.run().unwrap();
}

#[test]
fn several_loops_and_threads_that_talk_to_them() {
    for seed in 1..=30 {
        let mut world = World::new(seed);
        let mut servers = Vec::new();
        for number in 0..3 {
            let server = world.add_loop(Config { loop_number: number, ..Config::default() });
            let service = world.serve(server, Subject(Manner::Echo), ServiceConfig::new(), HERE);
            let handle = world.reactor(server).handle(&service.unwrap());
            let pause = Duration::ZERO..Duration::from_millis(1);
            world.add_peer(Chatter::new(handle, 50, pause, |random| random.number()));
            servers.push(server);
        }
        for _ in 0..30 {
            world.add_peer(Client::new(HERE, b"hello", b"hello"));
        }
        world.run().unwrap();
        for server in servers {
            assert_eq!(world.reactor(server).counters().read().messages, 50);
        }
    }
}

/// A handler that keeps the loop busy for nothing is its own fault: the loop takes turns, and time goes on.
#[test]
fn time_goes_on_over_a_restless_handler() {
    let mut world = World::with_faults(1, Faults::none());
    let server = world.add_loop(Config::default());
    let service =
        world.serve(server, Subject(Manner::Restless), ServiceConfig::new(), HERE).unwrap();
    world.reactor(server).with(&service, |_, cx| cx.set_timer(Duration::ZERO));
    world.add_peer(Client::new(HERE, b"hello", b"hello").ending(Ending::Stay));
    world.storm(Duration::from_millis(10)).unwrap();
    assert_eq!(world.now(), Duration::from_millis(10));
}

/// What has been read when a connection ends is consumed, or it is counted.
#[test]
fn bytes_that_nobody_consumed_are_counted() {
    struct Leaver;
    impl Handler for Leaver {
        type Session = ();
        type Message = Infallible;
        fn on_open(&mut self, _: &mut ConnContext<'_>) {}
        fn on_data(&mut self, _: &mut (), input: &mut ReadBuffer, cx: &mut ConnContext<'_>) {
            input.consume(1);
            match input.len() {
                0..100 => {}
                100..500 => cx.abort(),
                _ => cx.close(),
            }
        }
        fn on_close(&mut self, (): (), _: &CloseReason, _: &mut ConnContext<'_>) {}
    }
    for seed in 1..=50 {
        let mut world = World::new(seed);
        let server = world.add_loop(Config::default());
        world.serve(server, Leaver, ServiceConfig::new(), HERE).unwrap();
        for length in [1, 50, 300, 2000, 100_000] {
            let says = pattern(length);
            world.add_peer(Client::new(HERE, &says, b"").hearing_anything());
        }
        world.run().unwrap();
        let read = world.reactor(server).counters().read();
        assert!(read.bytes_in == 0 || read.bytes_discarded > 0, "seed {seed}: {read:?}");
    }
}

/// Each address of a name has its share of the time, so one that does not answer costs a part of it.
#[test]
fn a_silent_address_costs_its_share_of_the_time() {
    #[derive(Default)]
    struct Caller(Vec<String>);
    impl Handler for Caller {
        type Session = ();
        type Message = Infallible;
        fn on_open(&mut self, cx: &mut ConnContext<'_>) {
            self.0.push(cx.peer().to_string());
            cx.close();
        }
        fn on_data(&mut self, _: &mut (), _: &mut ReadBuffer, _: &mut ConnContext<'_>) {}
        fn on_connect_failed(&mut self, _: ConnId, error: ConnectError, _: &mut Context<'_>) {
            self.0.push(error.to_string());
        }
    }
    let mut world = World::with_faults(1, Faults::none());
    world.set_silent([10, 0, 0, 9].into());
    world.set_name("two.test", [[10, 0, 0, 9].into(), [10, 0, 0, 1].into()]);
    let (server, caller) = (world.add_loop(Config::default()), world.add_loop(Config::default()));
    world.serve(server, Subject(Manner::Echo), ServiceConfig::new(), HERE).unwrap();
    let calls = world.add(caller, Caller::default(), ServiceConfig::new());
    for to in ["two.test:7", "10.0.0.9:7"] {
        let to = Connect::to(to).timeout(Duration::from_secs(4));
        world.reactor(caller).connect(&calls, to);
    }
    world.add_peer(Client::new(HERE, b"hello", b"hello").when_calm());
    world.storm(Duration::from_secs(5)).unwrap();
    assert_eq!(world.reactor(caller).get(&calls).0, [HERE, "timed out"]);
    world.settle().unwrap();
}

/// The loop hears of a reset although the handler wants to hear of nothing.
#[test]
fn a_paused_connection_that_is_reset_ends() {
    struct Paused;
    impl Handler for Paused {
        type Session = ();
        type Message = Infallible;
        fn on_open(&mut self, cx: &mut ConnContext<'_>) {
            cx.pause();
        }
        fn on_data(&mut self, _: &mut (), _: &mut ReadBuffer, _: &mut ConnContext<'_>) {}
    }
    let mut world = World::with_faults(1, Faults::none());
    let server = world.add_loop(Config::default());
    world.serve(server, Paused, ServiceConfig::new(), HERE).unwrap();
    world.add_peer(Client::new(HERE, b"x", b"").ending(Ending::Reset));
    world.storm(Duration::from_secs(1)).unwrap();
    world.settle().unwrap();
}
