//! The loop's end of a recorder. While nothing is recorded, a step costs one look at a flag; without the
//! feature `trace`, nothing.

use std::time::{Duration, Instant};

use super::event::{Callback, Event, Source, Verb};
use super::stall::LongestCallback;
use super::stopwatch::Stopwatch;
use super::{Record, Recorder};
use crate::timers::Nanos;

pub(crate) struct Tap {
    is_on: bool,
    /// The phase that the turn is in; between turns, none.
    verb: Option<Verb>,
    /// The phase whose beginning is recorded, and its end is not. Invariant: none between turns.
    open: Option<Verb>,
    stopwatch: Stopwatch,
    /// What the loop's clock showed when the turn began, and again after its wait.
    now: Nanos,
    /// When the last thing that is recorded was over: times do not go back.
    last: Nanos,
    /// How many connections were ready in this turn.
    ready: u32,
    /// The longest callback so far, and its turn.
    longest: Option<(u64, LongestCallback)>,
    recorder: Recorder,
}

impl Tap {
    pub(crate) fn new(
        loop_number: u16,
        origin: Instant,
        capacity: usize,
        stopwatch: Stopwatch,
    ) -> Self {
        Self {
            is_on: capacity > 0,
            verb: None,
            open: None,
            stopwatch,
            now: 0,
            last: 0,
            ready: 0,
            longest: None,
            recorder: Recorder::new(loop_number, origin, capacity),
        }
    }

    pub(crate) fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// Whether anything is recorded.
    #[inline(always)]
    pub(crate) fn is_on(&self) -> bool {
        cfg!(feature = "trace") && self.is_on
    }

    /// Records a step.
    #[inline(always)]
    pub(crate) fn note(&mut self, event: impl FnOnce() -> Event) {
        if self.is_on() {
            self.record(event());
        }
    }

    /// Makes a system call; `event` is told what it came to, and how long it took.
    #[inline(always)]
    pub(crate) fn call<T>(
        &mut self,
        act: impl FnOnce() -> T,
        event: impl FnOnce(&T, u32) -> Event,
    ) -> T {
        if self.is_on() { self.record_call(act, event) } else { act() }
    }

    /// The turn goes on to its next phase, or is at its end. A phase is recorded with the first thing that
    /// happens in it.
    #[inline(always)]
    pub(crate) fn verb(&mut self, verb: impl Into<Option<Verb>>) {
        if cfg!(feature = "trace") {
            self.verb = verb.into();
        }
    }

    /// A turn begins, by waiting.
    #[inline(always)]
    pub(crate) fn turn_began(&mut self, now: Nanos, turn: impl FnOnce() -> u64) {
        if self.is_on() {
            self.begin_turn(now, turn());
        }
    }

    /// The wait is over, and so many connections are ready.
    #[inline(always)]
    pub(crate) fn waited(&mut self, now: Nanos, ready: impl FnOnce() -> usize) {
        if self.is_on() {
            self.end_wait(now, ready());
        }
    }

    /// The loop does something between turns.
    pub(crate) fn set_now(&mut self, now: Nanos) {
        self.now = now;
    }

    /// The turn ends, with so many bytes queued.
    #[cold]
    #[inline(never)]
    pub(crate) fn end_turn(&mut self, queued: u64) {
        if self.is_on() {
            let now = self.stamp();
            self.close_verb();
            self.push(now, Event::TurnEnded { ready: self.ready, queued });
        }
    }

    /// A callback begins: when.
    #[cold]
    #[inline(never)]
    pub(crate) fn callback_began(&mut self, callback: Callback, about: Source) -> Nanos {
        let began = self.stamp();
        if self.is_on() {
            self.record_at(began, Event::CallbackBegan { callback, about });
        }
        began
    }

    /// It has ended: how long it took.
    #[cold]
    #[inline(never)]
    pub(crate) fn callback_ended(
        &mut self,
        (callback, about): (Callback, Source),
        began: Nanos,
        panicked: bool,
        turn: u64,
    ) -> Nanos {
        let ended = self.stamp();
        let nanoseconds = ended.saturating_sub(began);
        let took = Duration::from_nanos(nanoseconds);
        if self.longest.as_ref().is_none_or(|(of, longest)| *of != turn || longest.took < took) {
            self.longest = Some((turn, LongestCallback { callback, about, took }));
        }
        if self.is_on() {
            let took = saturated(nanoseconds);
            self.record_at(ended, Event::CallbackEnded { callback, about, took, panicked });
        }
        nanoseconds
    }

    /// The callback of this turn that took the longest, if callbacks are timed.
    pub(crate) fn longest(&self, turn: u64) -> Option<LongestCallback> {
        self.longest.filter(|(of, _)| *of == turn).map(|(_, longest)| longest)
    }

    fn stamp(&self) -> Nanos {
        self.stopwatch.read(self.now).max(self.last)
    }

    #[cold]
    #[inline(never)]
    fn begin_turn(&mut self, now: Nanos, turn: u64) {
        (self.now, self.verb, self.open, self.ready) = (now, Some(Verb::Wait), None, 0);
        let began = self.stamp();
        self.push(began, Event::TurnBegan { turn });
        self.open_verb(began); // to wait is its work
    }

    #[cold]
    #[inline(never)]
    fn end_wait(&mut self, now: Nanos, ready: usize) {
        self.now = now;
        self.ready = u32::try_from(ready).unwrap_or(u32::MAX);
        self.last = self.stamp();
        self.close_verb();
    }

    #[cold]
    #[inline(never)]
    fn record_call<T>(
        &mut self,
        act: impl FnOnce() -> T,
        event: impl FnOnce(&T, u32) -> Event,
    ) -> T {
        let began = self.stamp();
        let result = act();
        let ended = self.stamp();
        self.record_at(began, event(&result, saturated(ended.saturating_sub(began))));
        self.last = ended;
        result
    }

    #[cold]
    #[inline(never)]
    fn record(&mut self, event: Event) {
        self.record_at(self.stamp(), event);
    }

    fn record_at(&mut self, at: Nanos, event: Event) {
        self.open_verb(at);
        self.push(at, event);
    }

    fn open_verb(&mut self, at: Nanos) {
        if self.open == self.verb {
            return;
        }
        self.close_verb();
        if let Some(verb) = self.verb {
            self.open = Some(verb);
            self.push(at, Event::VerbBegan(verb));
        }
    }

    /// A phase is over with the last thing that happened in it.
    fn close_verb(&mut self) {
        if let Some(verb) = self.open.take() {
            self.push(self.last, Event::VerbEnded(verb));
        }
    }

    fn push(&mut self, at: Nanos, event: Event) {
        self.last = at;
        self.recorder.push(Record { at, event });
    }
}

/// A number as records have room for it.
pub(crate) fn saturated(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
