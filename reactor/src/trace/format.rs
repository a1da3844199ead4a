//! The three ways out.

use std::ffi::OsStr;
use std::fmt;
use std::io::{self, Write};
use std::path::Path;

use super::{Trace, aligned, chrome, explain, json};

/// How traces are written.
///
/// Times are nanoseconds (Chrome: microseconds) since the first of the loops was made, so what several
/// loops did at the same time has the same time.
///
/// ```
/// use reactor::{Config, Reactor, TraceFormat};
/// use std::path::Path;
///
/// let reactor = Reactor::with_config(Config { trace_records: 1000, ..Config::default() })?;
/// let format = TraceFormat::of(Path::new("trace.json"));
/// assert_eq!(format, Some(TraceFormat::Chrome));
/// let mut file = Vec::new();
/// format.unwrap().write(&[reactor.recorder().trace()], &mut file)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceFormat {
    /// `.txt`: a sentence a step, what lies in something else under it and indented. Records before the
    /// first whole turn are left out, if older ones are overwritten.
    Sentences,
    /// `.jsonl`: a record a line. `at` is when it was; `took` is how long. If records are overwritten, the
    /// first line of the loop says how many.
    JsonLines,
    /// `.json`: the trace event format of Chrome, which <https://ui.perfetto.dev> opens. A track a loop, on
    /// which turns, their phases, callbacks and system calls nest; counters for ready connections and
    /// queued bytes. It begins with the first whole turn, as sentences do. A turn that goes on when the
    /// trace is taken ends with its last record.
    Chrome,
}

impl TraceFormat {
    /// By the ending of a file's name; `None` if it is none of the three.
    pub fn of(path: &Path) -> Option<Self> {
        match path.extension().and_then(OsStr::to_str) {
            Some("txt") => Some(Self::Sentences),
            Some("jsonl") => Some(Self::JsonLines),
            Some("json") => Some(Self::Chrome),
            _ => None,
        }
    }

    /// Writes the traces of one or more loops. The same records give the same bytes. It makes many small
    /// writes: give it a buffer.
    ///
    /// # Errors
    /// What `out` says.
    pub fn write(self, traces: &[Trace], out: &mut impl Write) -> io::Result<()> {
        let traces = &aligned(traces);
        match self {
            Self::Sentences => explain::write(traces, out),
            Self::JsonLines => json::write_lines(traces, out),
            Self::Chrome => chrome::write(traces, out),
        }
    }
}

impl fmt::Display for Trace {
    /// As [sentences](TraceFormat::Sentences).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::new();
        TraceFormat::Sentences
            .write(std::slice::from_ref(self), &mut text)
            .map_err(|_| fmt::Error)?;
        f.write_str(&String::from_utf8_lossy(&text))
    }
}
