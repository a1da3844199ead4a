//! Deadlines and timers, with time by hand.

#![allow(
    clippy::unwrap_used,
    clippy::field_reassign_with_default,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test panics where something is not as it should be"
)]

mod support;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use reactor::{CloseReason, Config, ConnId, Deadline, Limits, ServiceConfig, Stage};
use support::{Heard, Probe, propagating};

const SECOND: Duration = Duration::from_secs(1);

fn stage_with(probe: Probe, limits: Limits) -> Stage<Probe> {
    Stage::with_config(probe, Config { limits, ..propagating() }, ServiceConfig::new())
}

fn idle_after(timeout: Duration) -> Limits {
    Limits { idle_timeout: timeout, ..Limits::default() }
}

#[test]
fn every_byte_in_either_direction_puts_the_idle_timeout_off() {
    let mut stage = stage_with(Probe::default(), idle_after(10 * SECOND));
    let id = stage.open();
    for _ in 0..5 {
        stage.pass(9 * SECOND);
        stage.deliver(id, b"x");
    }
    stage.stall(id, 0);
    stage.deliver(id, b"y");
    stage.pass(9 * SECOND);
    stage.stall(id, 1); // it reads the byte: that counts too
    stage.pass(10 * SECOND - Duration::from_nanos(1));
    assert!(stage.handler().reasons().is_empty());
    stage.pass(Duration::from_nanos(1));
    stage.finish(id);
    assert_eq!(stage.handler().reasons(), [CloseReason::Deadline(Deadline::Idle)]);
}

#[test]
fn who_does_not_close_at_an_idle_timeout_has_another_one() {
    let mut probe = Probe::default();
    probe.deadline = Box::new(|_| {});
    let mut stage = stage_with(probe, idle_after(SECOND));
    let id = stage.open();
    stage.pass(10 * SECOND);
    let idle = Heard::Deadline(id, Deadline::Idle);
    assert_eq!(stage.handler().heard[1..], vec![idle; 10]);
}

#[test]
fn a_deadline_fires_once_and_moves_both_ways() {
    let mut probe = Probe::default();
    probe.open = Box::new(|cx| cx.set_deadline(5 * SECOND));
    probe.deadline = Box::new(|_| {});
    let mut stage = Stage::new(probe);
    let id = stage.open();
    let set = |stage: &mut Stage<Probe>, delay| {
        stage.with(|_, cx| cx.at(id).unwrap().set_deadline(delay));
    };
    set(&mut stage, 20 * SECOND); // later: the entry for 5 s comes up early
    stage.pass(10 * SECOND);
    assert_eq!(stage.handler().heard.len(), 1);
    set(&mut stage, SECOND); // earlier
    stage.pass(SECOND);
    assert_eq!(stage.handler().heard[1..], [Heard::Deadline(id, Deadline::Set)]);
    stage.pass(100 * SECOND);
    assert_eq!(stage.handler().heard.len(), 2, "once");
    set(&mut stage, SECOND);
    stage.with(|_, cx| cx.at(id).unwrap().clear_deadline());
    stage.pass(100 * SECOND);
    assert_eq!(stage.handler().heard.len(), 2, "not at all");
}

#[test]
fn an_idle_timeout_can_be_made_shorter_and_switched_off() {
    let mut stage = stage_with(Probe::default(), idle_after(1000 * SECOND));
    let ids = [stage.open(), stage.open()];
    stage.with(|_, cx| {
        cx.at(ids[0]).unwrap().set_idle_timeout(SECOND);
        cx.at(ids[1]).unwrap().set_idle_timeout(Duration::ZERO);
    });
    stage.pass(SECOND);
    assert!(stage.has_finished(ids[0]));
    stage.pass(100_000 * SECOND);
    assert!(!stage.has_finished(ids[1]));
}

#[test]
fn timers_fire_in_order_can_be_cancelled_and_moved() {
    let mut stage = Stage::new(Probe::default());
    let (early, late, never) = stage.with(|_, cx| {
        let [late, moved, never] = [3, 9, 2].map(|seconds| cx.set_timer(seconds * SECOND));
        assert!(cx.rearm_timer(moved, SECOND));
        assert!(cx.cancel_timer(never) && !cx.cancel_timer(never));
        (moved, late, never)
    });
    stage.pass(10 * SECOND);
    assert_eq!(stage.handler().heard, [Heard::Timer(early), Heard::Timer(late)]);
    let gone = stage.with(|_, cx| [early, late, never].map(|timer| cx.rearm_timer(timer, SECOND)));
    assert_eq!(gone, [false; 3], "a timer that has passed is gone");
}

#[test]
fn a_timer_that_is_armed_anew_goes_on() {
    let mut probe = Probe::default();
    probe.timer = Box::new(|timer, cx| assert!(cx.rearm_timer(timer, SECOND)));
    let mut stage = Stage::new(probe);
    stage.with(|_, cx| cx.set_timer(SECOND));
    stage.pass(60 * SECOND);
    assert_eq!(stage.handler().heard.len(), 60);
}

#[test]
fn the_far_future_is_no_special_case() {
    let mut stage = Stage::new(Probe::default());
    let month = Duration::from_secs(30 * 24 * 3600); // more than 2^31 ms
    let id = stage.open();
    let timer = stage.with(|_, cx| {
        cx.set_timer(Duration::MAX);
        cx.at(id).unwrap().set_deadline(Duration::MAX);
        cx.at(id).unwrap().set_idle_timeout(Duration::MAX);
        cx.set_timer(month)
    });
    stage.pass(month - SECOND);
    assert_eq!(stage.handler().heard, [Heard::Open(id)]);
    stage.pass(SECOND);
    assert_eq!(stage.handler().heard, [Heard::Open(id), Heard::Timer(timer)]);
    stage.pass(12 * month);
    assert_eq!(stage.handler().heard.len(), 2);
}

#[test]
fn a_timer_for_zero_fires_once_a_turn_and_starves_nobody() {
    let peer = Rc::new(Cell::new(None::<ConnId>));
    let mut probe = Probe::default();
    probe.timer = Box::new(|timer, cx| {
        cx.rearm_timer(timer, Duration::ZERO);
    });
    let known = Rc::clone(&peer);
    probe.data = Box::new(move |input, cx| {
        known.set(Some(cx.id()));
        cx.forward(input);
    });
    let mut stage = Stage::new(probe);
    let timer = stage.with(|_, cx| cx.set_timer(Duration::ZERO));
    let turns = stage.reactor().counters().read().turns;
    let fired = stage.handler().heard.len();
    for _ in 0..100 {
        stage.reactor().turn(None).unwrap(); // it does not sleep
    }
    assert_eq!(stage.reactor().counters().read().turns, turns + 100);
    assert_eq!(stage.handler().heard.len(), fired + 100, "once a turn");
    let id = stage.open();
    stage.deliver(id, b"hello");
    assert_eq!((stage.sent(id), peer.get()), (b"hello".to_vec(), Some(id)));
    stage.with(|_, cx| assert!(cx.cancel_timer(timer)));
}
