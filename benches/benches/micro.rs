//! Instructions of the library's small works, in a world without a system: `cargo bench -p benches --bench micro`.
//!
//! What is set up is not counted, nor is what is dropped. `instructions` compares the figures with those that are
//! committed.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on fails")]
#![allow(unused_qualifications, reason = "the macros write paths in full")]

use std::hint::black_box;
use std::time::Duration;

use benches::memory::{Memory, echo};
use gungraun::prelude::*;
use gungraun::{Callgrind, LibraryBenchmarkConfig};
use reactor_bare::framing::LineFraming;
use reactor_bare::{
    Config, ConnContext, Handler, Reactor, ReadBuffer, Service, TimerId, WriteQueue,
};

/// A loop on which so many connections are open, and have spoken and been answered a few times.
fn crowd(connections: usize) -> Reactor<Memory> {
    let mut reactor = echo(connections, 0).unwrap();
    for _ in 0..4 {
        turn(&mut reactor);
    }
    reactor
}

/// A loop that has so many clients waiting.
fn waiting(clients: usize) -> Reactor<Memory> {
    echo(clients, 0).unwrap()
}

fn turn(reactor: &mut Reactor<Memory>) {
    reactor.turn(Some(Duration::ZERO)).unwrap();
}

// One turn, in which every connection says something and is answered.
#[library_benchmark(setup = crowd)]
#[bench::of_1(1)]
#[bench::of_64(64)]
fn echo_turn(mut reactor: Reactor<Memory>) -> Reactor<Memory> {
    turn(&mut reactor);
    black_box(reactor)
}

// One turn, in which all clients are accepted. They say nothing before the next.
#[library_benchmark(setup = waiting)]
#[bench::of_1(1)]
#[bench::of_64(64)]
fn accept_turn(mut reactor: Reactor<Memory>) -> Reactor<Memory> {
    turn(&mut reactor);
    black_box(reactor)
}

// 1,000 times a small piece goes in, and in writes of at most 1,000 bytes all of it leaves.
#[library_benchmark]
fn write_queue() -> WriteQueue {
    let mut queue = WriteQueue::new();
    for _ in 0..1_000 {
        queue.push(black_box(&[b'x'; 64]));
    }
    while !queue.is_empty() {
        queue
            .write(|slices| Ok(slices.iter().map(|slice| slice.len()).sum::<usize>().min(1_000)))
            .unwrap();
    }
    queue
}

/// 1,000 lines of 64 bytes that came in reads of 1,000.
fn lines() -> Vec<u8> {
    let mut line = [b'x'; 64];
    line[63] = b'\n';
    line.repeat(1_000)
}

#[library_benchmark(setup = lines)]
fn line_framing(lines: Vec<u8>) -> (usize, Vec<u8>) {
    let mut framing = LineFraming::new(64 * 1024);
    let mut input = ReadBuffer::default();
    let mut count = 0;
    for read in lines.chunks(1_000) {
        input.append(read);
        while let Some(line) = framing.next(&mut input).unwrap() {
            count += usize::from(black_box(line).text.len() == 63);
        }
    }
    assert_eq!(count, 1_000);
    (count, lines)
}

/// A service that has timers and nothing else.
struct Clock(Vec<TimerId>);

impl Handler for Clock {
    type Session = ();
    type Message = std::convert::Infallible;

    fn on_open(&mut self, _: &mut ConnContext<'_>) {}

    fn on_data(&mut self, _: &mut (), _: &mut ReadBuffer, _: &mut ConnContext<'_>) {}
}

fn clock() -> (Reactor<Memory>, Service<Clock>) {
    let mut reactor = Reactor::with_driver(Config::default(), Memory::new(0));
    let clock = reactor.add(Clock(Vec::new()));
    reactor.with(&clock, |clock, cx| {
        clock.0 = (1..=1_000).map(|wait| cx.set_timer(Duration::from_secs(wait))).collect();
    });
    (reactor, clock)
}

// A thousand timers, each of which is armed anew a thousand times, for sooner or later than before.
#[library_benchmark(setup = clock)]
fn timers_armed_a_million_times(
    (mut reactor, clock): (Reactor<Memory>, Service<Clock>),
) -> Reactor<Memory> {
    reactor.with(&clock, |clock, cx| {
        for round in 0..1_000_u64 {
            for (timer, number) in clock.0.iter().zip(0..) {
                cx.rearm_timer(*timer, Duration::from_secs(1 + (round * 7 + number) % 1_000));
            }
        }
    });
    black_box(reactor)
}

library_benchmark_group!(
    name = micro,
    benchmarks = [echo_turn, accept_turn, write_queue, line_framing, timers_armed_a_million_times]
);

main!(
    config = LibraryBenchmarkConfig::default().tool(Callgrind::with_args(["--cache-sim=no"])),
    library_benchmark_groups = micro
);
