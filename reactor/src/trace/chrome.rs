//! The trace event format of Chrome, which Perfetto opens: a track a loop, slices that nest, counters.
//!
//! A slice stands before those that lie in it, also where all of them begin at the same time: whoever
//! reads it need not sort.

use std::fmt;
use std::io::{self, Write};

use super::Trace;
use super::event::Event;
use super::json::write_fields;
use super::spans::{Span, spans};
use crate::timers::Nanos;

/// All loops belong to one process; its number means nothing.
const PROCESS: u32 = 1;

pub(super) fn write(traces: &[Trace], out: &mut impl Write) -> io::Result<()> {
    write!(
        out,
        r#"{{"displayTimeUnit":"ns","traceEvents":[
{{"ph":"M","pid":{PROCESS},"tid":1,"name":"process_name","args":{{"name":"reactor"}}}}"#
    )?;
    for trace in traces {
        let track = Track { number: trace.loop_number };
        track.name(out)?;
        for span in spans(trace) {
            track.write(&span, out)?;
        }
    }
    out.write_all(b"\n]}\n")
}

struct Track {
    number: u16,
}

impl Track {
    /// Tracks count from 1: to some readers, 0 is no thread.
    fn thread(&self) -> u32 {
        u32::from(self.number) + 1
    }

    fn name(&self, out: &mut impl Write) -> io::Result<()> {
        let (thread, number) = (self.thread(), self.number);
        write!(
            out,
            ",\n{{\"ph\":\"M\",\"pid\":{PROCESS},\"tid\":{thread},\"name\":\"thread_name\",\
             \"args\":{{\"name\":\"loop {number}\"}}}}"
        )
    }

    fn write(&self, span: &Span<'_>, out: &mut impl Write) -> io::Result<()> {
        match &span.record.event {
            Event::VerbEnded(_) | Event::CallbackEnded { panicked: false, .. } => Ok(()),
            Event::TurnEnded { ready, queued } => {
                self.counter("ready connections", (*ready).into(), span, out)?;
                self.counter("queued bytes", *queued, span, out)
            }
            event => {
                self.head(span, &title(event), out)?;
                out.write_all(br#","args":{"#)?;
                write_fields(&event.step(), "", out)?;
                out.write_all(b"}}")
            }
        }
    }

    /// A slice, if it takes time; else an instant of the thread.
    fn head(&self, span: &Span<'_>, title: &str, out: &mut impl Write) -> io::Result<()> {
        let (thread, at) = (self.thread(), span.record.at);
        let ts = Microseconds(at);
        write!(out, ",\n{{\"pid\":{PROCESS},\"tid\":{thread},\"ts\":{ts},\"name\":\"{title}\"")?;
        match span.end {
            Some(end) => write!(out, r#","ph":"X","dur":{}"#, Microseconds(end.saturating_sub(at))),
            None => write!(out, r#","ph":"i","s":"t""#),
        }
    }

    fn counter(
        &self,
        name: &str,
        value: u64,
        span: &Span<'_>,
        out: &mut impl Write,
    ) -> io::Result<()> {
        let ts = Microseconds(span.record.at);
        let (thread, number) = (self.thread(), self.number);
        write!(
            out,
            ",\n{{\"ph\":\"C\",\"pid\":{PROCESS},\"tid\":{thread},\"ts\":{ts},\
             \"name\":\"loop {number}: {name}\",\"args\":{{\"{name}\":{value}}}}}"
        )
    }
}

/// What stands in the slice: words of our own, in which nothing is to be escaped.
fn title(event: &Event) -> String {
    match event {
        Event::TurnBegan { .. } => "turn".to_owned(),
        Event::VerbBegan(verb) => verb.name().to_owned(),
        Event::CallbackBegan { callback, .. } => callback.name().to_owned(),
        Event::CallbackEnded { .. } => "panicked".to_owned(),
        event => event.step().name.replace('_', " "),
    }
}

/// Nanoseconds, as microseconds with three decimals: the format's unit, and nothing is lost.
struct Microseconds(Nanos);

impl fmt::Display for Microseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1000, self.0 % 1000)
    }
}
