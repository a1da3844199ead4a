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
    stopwatch: Stopwatch,
    /// What the loop's clock showed when the turn began, and again after its wait.
    now: Nanos,
    /// When the last record was made: times do not go back.
    last: Nanos,
    recorder: Recorder,
    /// The phase that the turn is in.
    verb: Option<Phase>,
    /// How many connections were ready in this turn.
    ready: u32,
    /// The longest callback so far, and its turn.
    longest: Option<(u64, LongestCallback)>,
}

struct Phase {
    verb: Verb,
    began: Nanos,
    /// It is recorded with the first thing that happens in it.
    is_recorded: bool,
}

/// When a system call was begun, if that is recorded.
#[derive(Clone, Copy)]
pub(crate) struct Began(Option<Nanos>);

impl Tap {
    pub(crate) fn new(
        loop_number: u16,
        origin: Instant,
        capacity: usize,
        stopwatch: Stopwatch,
    ) -> Self {
        Self {
            is_on: capacity > 0,
            stopwatch,
            now: 0,
            last: 0,
            recorder: Recorder::new(loop_number, origin, capacity),
            verb: None,
            ready: 0,
            longest: None,
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

    /// The loop has read its clock.
    #[inline(always)]
    pub(crate) fn set_now(&mut self, now: Nanos) {
        self.now = now;
    }

    /// Records a step.
    #[inline(always)]
    pub(crate) fn note(&mut self, event: impl FnOnce() -> Event) {
        if self.is_on() {
            self.record(event());
        }
    }

    /// A system call is about to be made.
    #[inline(always)]
    pub(crate) fn begin(&self) -> Began {
        Began(if self.is_on() { Some(self.stamp()) } else { None })
    }

    /// It has returned; `event` is told how long it took.
    #[inline(always)]
    pub(crate) fn called(&mut self, began: Began, event: impl FnOnce(u32) -> Event) {
        if cfg!(feature = "trace")
            && let Began(Some(began)) = began
        {
            let event = event(self.since(began));
            self.record_at(began, event);
        }
    }

    /// The turn goes on to its next phase.
    #[inline(always)]
    pub(crate) fn verb(&mut self, verb: Verb) {
        if self.is_on() {
            self.change_verb(Some(verb));
        }
    }

    /// The turn has come to `receive`, with so many connections.
    #[inline(always)]
    pub(crate) fn receiving(&mut self, ready: usize) {
        if self.is_on() {
            self.ready = u32::try_from(ready).unwrap_or(u32::MAX);
            self.change_verb(Some(Verb::Receive));
        }
    }

    /// A turn begins, by waiting.
    #[inline(always)]
    pub(crate) fn turn_began(&mut self, turn: u64) {
        if self.is_on() {
            self.begin_turn(turn);
        }
    }

    #[cold]
    #[inline(never)]
    fn begin_turn(&mut self, turn: u64) {
        self.ready = 0;
        self.verb = None;
        self.record(Event::TurnBegan { turn });
        self.change_verb(Some(Verb::Wait));
        self.open_verb(); // to wait is its work
    }

    /// The turn's last phase is over.
    #[inline(always)]
    pub(crate) fn verbs_ended(&mut self) {
        if self.is_on() {
            self.change_verb(None);
        }
    }

    /// The turn ends, with so many bytes queued.
    #[inline(always)]
    pub(crate) fn turn_ended(&mut self, queued: impl FnOnce() -> u64) {
        if self.is_on() {
            self.record(Event::TurnEnded { ready: self.ready, queued: queued() });
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
        let nanoseconds = ended - began;
        let took = Duration::from_nanos(nanoseconds);
        if self.longest.as_ref().is_none_or(|(of, longest)| *of != turn || longest.took < took) {
            self.longest = Some((turn, LongestCallback { callback, about, took }));
        }
        if self.is_on() {
            let took = u32::try_from(nanoseconds).unwrap_or(u32::MAX);
            self.record_at(ended, Event::CallbackEnded { callback, about, took, panicked });
        }
        nanoseconds
    }

    /// The callback of this turn that took the longest, if callbacks are timed.
    pub(crate) fn longest(&self, turn: u64) -> Option<LongestCallback> {
        self.longest.filter(|(of, _)| *of == turn).map(|(_, longest)| longest)
    }

    #[cold]
    #[inline(never)]
    fn stamp(&self) -> Nanos {
        self.stopwatch.read(self.now).max(self.last)
    }

    #[cold]
    #[inline(never)]
    fn since(&self, began: Nanos) -> u32 {
        u32::try_from(self.stamp() - began).unwrap_or(u32::MAX)
    }

    #[cold]
    #[inline(never)]
    fn change_verb(&mut self, next: Option<Verb>) {
        let now = self.stamp();
        if let Some(Phase { verb, is_recorded: true, .. }) = self.verb.take() {
            self.push(now, Event::VerbEnded(verb));
        }
        self.verb = next.map(|verb| Phase { verb, began: now, is_recorded: false });
    }

    fn open_verb(&mut self) {
        if let Some(phase) = &mut self.verb
            && !std::mem::replace(&mut phase.is_recorded, true)
        {
            let (began, event) = (phase.began, Event::VerbBegan(phase.verb));
            self.push(began, event);
        }
    }

    #[cold]
    #[inline(never)]
    fn record(&mut self, event: Event) {
        self.record_at(self.stamp(), event);
    }

    #[cold]
    #[inline(never)]
    fn record_at(&mut self, at: Nanos, event: Event) {
        self.open_verb();
        self.push(at, event);
    }

    fn push(&mut self, at: Nanos, event: Event) {
        self.last = at;
        self.recorder.push(Record { at, event });
    }
}
