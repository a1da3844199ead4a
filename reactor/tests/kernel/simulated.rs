//! Simulated sockets. One seed is one ground.

use std::io::{ErrorKind, IoSlice};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use reactor::sim::{Faults, Random, SimDriver, SimNetwork, SimStream};
use reactor::{Address, Bind, Connect, Driver, Listen, Readiness, Stream, Target, Token};

use crate::compare::differences;
use crate::ground::{Ground, Hope, Watcher};
use crate::language::Kind;
use crate::play::play;
use crate::script::{Place, Scenario};

/// Longer than anything is on its way; a connect that found a full queue is tried again later.
const REST: Duration = Duration::from_millis(100);

/// Longer than it takes until such a one is tried again.
const PATIENCE: Duration = Duration::from_secs(4);

/// Seeds for each scenario and kind: several times as many as show everything.
const SEEDS: u64 = 100;

/// The same where much depends on chance.
const ROUGH_SEEDS: u64 = 500;

struct SimGround {
    network: SimNetwork,
    driver: SimDriver,
    random: Random,
    files: u32,
}

impl SimGround {
    fn new(seed: u64, scenario: &Scenario, kind: Kind) -> Self {
        let mut random = Random::new(seed);
        let slowest = Duration::from_micros([0, 2, 100, 1000][random.size(0..4)]);
        let mut faults = Faults { latency: Duration::ZERO..slowest, ..Faults::none() };
        if scenario.rough {
            (faults.datagram_loss, faults.datagram_duplicate) = (0.3, 0.5);
        } else if kind == Kind::Udp {
            faults.latency.start = slowest; // none overtakes another
        }
        let mut network = SimNetwork::new(random.number(), faults);
        network.set_name("localhost", [IpAddr::from(Ipv4Addr::LOCALHOST)]);
        Self { driver: network.driver(), network, random, files: 0 }
    }

    fn wait(&mut self, watcher: &mut dyn Watcher) {
        let on_event = |token, readiness| watcher.event(token, readiness);
        self.driver.wait(Some(Duration::ZERO), on_event).unwrap();
    }

    fn path(&mut self) -> PathBuf {
        self.files += 1;
        format!("/run/{}", self.files).into()
    }

    fn target(&mut self, kind: Kind) -> Target {
        match kind {
            Kind::Tcp | Kind::Udp => SocketAddr::from(([10, 0, 0, 1], 0)).into(),
            Kind::Unix | Kind::Datagram => Target::Unix(self.path()),
            Kind::Names => panic!("names have no sockets"),
        }
    }
}

impl Ground for SimGround {
    type Driver = SimDriver;

    fn driver(&mut self) -> &mut SimDriver {
        &mut self.driver
    }

    /// However long it takes until somebody has looked, on a machine that may be busy.
    fn pass(&mut self) {
        let most = [0, 0, 1000][self.random.size(0..3)];
        let time = self.random.time(&(Duration::ZERO..Duration::from_micros(most)));
        self.network.pass(time);
    }

    /// Waits often at first, and then ever less so.
    fn settle(&mut self, watcher: &mut dyn Watcher) {
        if self.random.chance(0.5) {
            self.wait(watcher);
        }
        let mut pause = Duration::from_nanos(self.random.below_range(1000..200_000));
        let mut passed = Duration::ZERO;
        while passed < REST || watcher.hope() == Hope::Missing && passed < PATIENCE {
            self.network.pass(pause);
            self.wait(watcher);
            passed += pause;
            pause *= 2;
        }
    }

    fn listen(&mut self, kind: Kind) -> Listen {
        Listen::at(self.target(kind))
    }

    fn bind(&mut self, kind: Kind) -> Bind {
        Bind::at(self.target(kind))
    }

    fn empty(&mut self, kind: Kind, place: Place) -> Address {
        assert_ne!(place, Place::Former);
        match kind {
            Kind::Tcp | Kind::Udp => Address::Ip(SocketAddr::from(([10, 0, 0, 2], 9))),
            _ => {
                let path = self.path();
                if place == Place::Deserted {
                    self.network.leave_file(&path);
                }
                Address::Unix(Some(path.into()))
            }
        }
    }

    /// It is one or the other from the beginning.
    fn set_rough(&mut self, _: bool) {}

    fn exhaust(&mut self, exhaust: bool) {
        self.network.set_descriptors(!exhaust);
    }
}

#[test]
fn the_simulator_does_all_that_is_written_and_nothing_else() {
    let found = crate::play_all(crate::by_kind(), 4, |scenario, kind| {
        let play = |seed| play(scenario, kind, &mut SimGround::new(seed, scenario, kind));
        let seeds = if scenario.rough { ROUGH_SEEDS } else { SEEDS };
        let runs: Vec<_> = (1..=seeds).map(play).collect();
        differences(scenario, kind, &runs)
    });
    assert!(found.is_empty(), "{} differences:\n{}", found.len(), found.join("\n"));
}

/// The hardest way to read and to write: nothing is tried but after an edge that told of it.
struct Patient {
    stream: SimStream,
    readable: bool,
    writable: bool,
    has_ended: bool,
}

impl Patient {
    fn new(stream: SimStream) -> Self {
        Self { stream, readable: false, writable: false, has_ended: false }
    }

    fn note(&mut self, readiness: Readiness) {
        self.readable |= readiness.readable;
        self.writable |= readiness.writable;
        self.has_ended |= readiness.hang_up;
    }

    fn write(&mut self, piece: &[u8]) -> usize {
        if !self.writable {
            return 0;
        }
        let result = self.stream.write(&[IoSlice::new(piece)]);
        self.writable = !is_later(&result);
        result.unwrap_or(0)
    }

    /// Whether that was the end.
    fn read(&mut self, got: &mut Vec<u8>) -> bool {
        let mut room = [0; 300];
        while self.readable {
            let result = self.stream.read(&mut room);
            assert!(!(self.has_ended && is_later(&result)), "what was told to be all is not there");
            let count = *result.as_ref().unwrap_or(&0);
            let is_short = result.is_ok() && count < room.len() && self.stream.short_read_empties();
            self.readable = self.has_ended || !is_short && !is_later(&result);
            got.extend(&room[..count]);
            if matches!(result, Ok(0)) {
                return true;
            }
        }
        false
    }
}

fn is_later(result: &std::io::Result<usize>) -> bool {
    result.as_ref().is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

#[test]
fn what_a_call_leaves_is_followed_by_an_edge() {
    let faults = Faults {
        short_read: 0.3,
        short_write: 0.3,
        would_block: 0.3,
        interrupted: 0.2,
        segmented: 0.3,
        ..Faults::none()
    };
    for seed in 0..100 {
        for at in ["10.0.0.1:7", "unix:/run/x"] {
            let mut network = SimNetwork::new(seed, faults.clone());
            send_and_read(&mut network, at);
        }
    }
}

fn send_and_read(network: &mut SimNetwork, at: &str) {
    let (client, server) = (Token::from_number(1), Token::from_number(2));
    let mut driver = network.driver();
    let listen = Listen::at(at).receive_buffer(1000).send_buffer(1000);
    let (mut listener, address) = driver.listen(listen, Token::from_number(3)).unwrap();
    let connect = Connect::to(&address).receive_buffer(1000).send_buffer(1000);
    let mut sender = Patient::new(driver.connect(&address, &connect, client).unwrap());
    network.pass(Duration::from_millis(1));
    let accepted = std::iter::from_fn(|| Some(driver.accept(&mut listener)));
    let mut receiver = Patient::new(accepted.flatten().next().unwrap().0);
    driver.register(&mut receiver.stream, server).unwrap();

    let piece: Vec<u8> = (0..20_000_usize).map(|place| (place * 31 / 7) as u8).collect();
    let (mut sent, mut got, mut finished) = (0, Vec::new(), false);
    for _ in 0..100_000 {
        let on_event = |token, readiness| match token {
            token if token == client => sender.note(readiness),
            token if token == server => receiver.note(readiness),
            _ => {}
        };
        driver.wait(Some(Duration::ZERO), on_event).unwrap();
        sent += sender.write(&piece[sent..]);
        if sent == piece.len() && !std::mem::replace(&mut finished, true) {
            sender.stream.finish().unwrap();
        }
        if receiver.read(&mut got) {
            assert_eq!(got, piece);
            return;
        }
        network.pass(Duration::from_micros(20));
    }
    panic!("{at}: {} of {sent} bytes were read, and no edge tells of the rest", got.len());
}
