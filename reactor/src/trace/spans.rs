//! Which record ends what another began: turns, their phases, and callbacks in them.

use super::event::{Callback, Event, Source, Verb};
use super::{Record, Trace};
use crate::timers::Nanos;

/// A record, and its place among the others.
pub(super) struct Span<'a> {
    pub(super) record: &'a Record,
    /// In how many others it lies.
    pub(super) depth: usize,
    /// When what it began was over; of a system call, when it returned.
    pub(super) end: Option<Nanos>,
    /// It began something that goes on at the end of the trace, which is its end here.
    pub(super) goes_on: bool,
}

#[derive(PartialEq)]
enum Kind {
    Turn,
    Verb(Verb),
    Callback(Callback, Source),
}

/// The records of a trace, from its first whole turn on if older ones are overwritten. Each lies wholly
/// within those that it lies in.
pub(super) fn spans(trace: &Trace) -> Vec<Span<'_>> {
    let began = |record: &Record| matches!(record.event, Event::TurnBegan { .. });
    let first = match trace.records.iter().position(began) {
        Some(first) if trace.overwritten > 0 => first,
        _ => 0, // a ring that is smaller than a turn has none that is whole
    };
    let records = trace.records.get(first..).unwrap_or_default();
    let mut nest = Nest { spans: Vec::with_capacity(records.len()), open: Vec::new() };
    records.iter().for_each(|record| nest.add(record));
    let last = nest.spans.iter().map(|span| span.end.unwrap_or(span.record.at)).max();
    while let Some((_, index)) = nest.open.pop() {
        if let Some(span) = nest.spans.get_mut(index) {
            (span.end, span.goes_on) = (last, true);
        }
    }
    nest.spans
}

struct Nest<'a> {
    spans: Vec<Span<'a>>,
    /// What has begun and has not ended, and where its span is. Invariant: each lies in the one before.
    open: Vec<(Kind, usize)>,
}

impl<'a> Nest<'a> {
    fn add(&mut self, record: &'a Record) {
        let at = record.at;
        match &record.event {
            Event::TurnBegan { .. } => {
                self.end_all(at);
                self.begin(Kind::Turn, record);
            }
            Event::VerbBegan(verb) => self.begin(Kind::Verb(*verb), record),
            Event::CallbackBegan { callback, about } => {
                self.begin(Kind::Callback(*callback, *about), record);
            }
            Event::VerbEnded(verb) => self.end(&Kind::Verb(*verb), record),
            Event::CallbackEnded { callback, about, .. } => {
                self.end(&Kind::Callback(*callback, *about), record);
            }
            Event::TurnEnded { .. } => self.end(&Kind::Turn, record),
            event => {
                let end = event.call().map(|call| at.saturating_add(call.took.into()));
                self.push(record, end);
            }
        }
    }

    fn push(&mut self, record: &'a Record, end: Option<Nanos>) {
        self.spans.push(Span { record, depth: self.open.len(), end, goes_on: false });
    }

    fn begin(&mut self, kind: Kind, record: &'a Record) {
        self.push(record, None);
        self.open.push((kind, self.spans.len() - 1));
    }

    /// The end lies in what it ends, too. Nothing is ended by an end whose beginning is overwritten.
    fn end(&mut self, kind: &Kind, record: &'a Record) {
        let place = self.open.iter().rposition(|(open, _)| open == kind);
        while place.is_some_and(|place| self.open.len() > place + 1) {
            self.end_last(record.at);
        }
        self.push(record, None);
        if place.is_some() {
            self.end_last(record.at);
        }
    }

    fn end_all(&mut self, at: Nanos) {
        while !self.open.is_empty() {
            self.end_last(at);
        }
    }

    fn end_last(&mut self, at: Nanos) {
        if let Some((_, index)) = self.open.pop()
            && let Some(span) = self.spans.get_mut(index)
        {
            span.end = Some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{Arena, ConnId};
    use crate::trace::event::Outcome;
    use std::time::Instant;

    /// Three turns, a nanosecond a record; what is done in the second panics, and it never ends.
    fn story() -> Vec<Record> {
        let connection = ConnId(Arena::new(0).insert(()).unwrap());
        let (callback, about) = (Callback::Data, Source::Connection(connection));
        let read = Event::Read { connection, outcome: Outcome::Done(1), took: 1 };
        let turn = |turn, ends: bool| {
            let ended = Event::CallbackEnded { callback, about, took: 2, panicked: !ends };
            let mut events = vec![
                Event::TurnBegan { turn },
                Event::VerbBegan(Verb::Wait),
                Event::VerbEnded(Verb::Wait),
                Event::VerbBegan(Verb::Receive),
                read.clone(),
                Event::CallbackBegan { callback, about },
                Event::Paused { connection },
                ended,
            ];
            if ends {
                events.push(Event::VerbEnded(Verb::Receive));
                events.push(Event::TurnEnded { ready: 1, queued: 0 });
            }
            events
        };
        let events = [turn(1, true), turn(2, false), turn(3, true)].concat();
        let record = |(at, event): (u64, Event)| Record { at: 2 * at, event };
        (0..).zip(events).map(record).collect()
    }

    fn trace(records: &[Record], overwritten: usize) -> Trace {
        Trace {
            loop_number: 0,
            origin: Instant::now(),
            overwritten: overwritten as u64,
            records: records.to_vec(),
        }
    }

    /// Whether each lies in the last one before it that is less deep.
    fn assert_nested(spans: &[Span<'_>]) {
        let mut within: Vec<(Nanos, Nanos)> = Vec::new();
        for span in spans {
            let at = span.record.at;
            let end = span.end.unwrap_or(at);
            within.truncate(span.depth);
            assert_eq!(within.len(), span.depth, "there is one at each depth");
            let outer = within.last().copied().unwrap_or((0, Nanos::MAX));
            assert!(outer.0 <= at && at <= end && end <= outer.1, "{:?}", span.record);
            within.push((at, end));
        }
    }

    #[test]
    fn wherever_a_trace_begins_and_ends_it_nests_from_its_first_turn_on() {
        let story = story();
        for begin in 0..story.len() {
            for end in begin..=story.len() {
                let trace = trace(&story[begin..end], begin);
                let spans = spans(&trace);
                assert_nested(&spans);
                let began = |record: &Record| matches!(record.event, Event::TurnBegan { .. });
                if begin > 0 && trace.records.iter().any(began) {
                    assert!(began(spans[0].record));
                }
            }
        }
    }

    #[test]
    fn a_span_lasts_to_its_end_and_one_without_to_the_next_turn_or_the_last_record() {
        let mut story = story();
        story.truncate(25);
        let trace = trace(&story, 0);
        let spans = spans(&trace);
        let turns: Vec<_> = spans
            .iter()
            .filter(|span| matches!(span.record.event, Event::TurnBegan { .. }))
            .map(|span| (span.record.at, span.end, span.depth, span.goes_on))
            .collect();
        assert_eq!(
            turns,
            [(0, Some(18), 0, false), (20, Some(36), 0, false), (36, Some(48), 0, true)]
        );
        let paused = &spans[6];
        assert_eq!((paused.depth, paused.end), (3, None));
        assert_eq!(spans[4].end, Some(9), "a call lasts as long as it took");
    }

    #[test]
    fn what_ends_takes_what_lies_in_it_along_and_an_end_without_a_beginning_ends_nothing() {
        let events = [
            Event::TurnBegan { turn: 1 },
            Event::VerbBegan(Verb::Receive),
            Event::CallbackBegan { callback: Callback::Data, about: Source::Nobody },
            Event::VerbEnded(Verb::Flush),
            Event::TurnEnded { ready: 0, queued: 0 },
            Event::Woken,
        ];
        let records: Vec<_> =
            (0..).zip(events).map(|(at, event): (u64, Event)| Record { at, event }).collect();
        let trace = trace(&records, 0);
        let found: Vec<_> = spans(&trace).iter().map(|span| (span.depth, span.end)).collect();
        let (open, over) = (Some(4), None);
        assert_eq!(found, [(0, open), (1, open), (2, open), (3, over), (1, over), (0, over)]);
    }
}
