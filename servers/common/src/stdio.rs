//! Standard streams: threads that block on them for the loop, and never hold more than it can bear.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use reactor::{Bytes, Handle, describe};

/// Prints one line on stdout, now. A closed stdout stops nothing.
pub fn print_line(line: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Stdout as a file: what is written to it is not gathered into lines first.
///
/// # Errors
/// No descriptor is left for it.
pub fn stdout_file() -> io::Result<File> {
    io::stdout().as_fd().try_clone_to_owned().map(File::from)
}

/// What one answer of an [`Input`] holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// What one read yields: at least one byte, and at most so many.
    Chunk(usize),
    /// One line with its ending; one of more than so many bytes comes in pieces.
    Line(usize),
}

/// What an [`Input`] answers when it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InputEvent {
    /// The next bytes.
    Bytes(Vec<u8>),
    /// There are no more.
    End,
    /// They cannot be read, and why.
    Failed(String),
}

/// Stdin, or another source that blocks, as messages to a loop.
///
/// A thread reads it, one unit each time it is [asked](Self::ask) and not before: what is not asked for
/// stays with whoever writes it, so memory is bounded by what the handler has asked for.
///
/// The thread ends after [`InputEvent::End`] or [`InputEvent::Failed`], when the loop has stopped, or
/// when the `Input` is dropped; one that is reading meanwhile ends with the program.
///
/// ```
/// use reactor::{ConnContext, Context, Handler, ReadBuffer, Reactor, ServiceConfig, inbox};
/// use servers_common::{Input, InputEvent, Unit};
///
/// struct Count(Input, usize);
/// impl Handler for Count {
///     type Session = ();
///     type Message = InputEvent;
///     fn on_open(&mut self, _: &mut ConnContext<'_>) {}
///     fn on_data(&mut self, _: &mut (), _: &mut ReadBuffer, _: &mut ConnContext<'_>) {}
///     fn on_message(&mut self, event: InputEvent, cx: &mut Context<'_>) {
///         match event {
///             InputEvent::Bytes(line) => {
///                 self.1 += line.len();
///                 self.0.ask();
///             }
///             InputEvent::End | InputEvent::Failed(_) => cx.stop(),
///         }
///     }
/// }
///
/// let (handle, messages) = inbox(1);
/// let input = Input::start(&b"one\ntwo\n"[..], Unit::Line(1024), handle, |event| event)?;
/// input.ask();
/// let mut reactor = Reactor::new()?;
/// let count = reactor.add_with(Count(input, 0), ServiceConfig::new().inbox(messages));
/// reactor.run()?;
/// assert_eq!(reactor.get(&count).1, 8);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Input {
    requests: Sender<()>,
}

impl Input {
    /// Starts the thread. What it reads goes to `handle`, as the messages that `wrap` makes of it.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn start<M: Send + 'static>(
        source: impl Read + Send + 'static,
        unit: Unit,
        handle: Handle<M>,
        wrap: impl Fn(InputEvent) -> M + Send + 'static,
    ) -> io::Result<Self> {
        let (requests, asked) = channel();
        thread::Builder::new().name("input".to_owned()).spawn(move || {
            let mut source = BufReader::new(source);
            while asked.recv().is_ok() {
                let event = read_unit(&mut source, unit);
                let is_last = !matches!(event, InputEvent::Bytes(_));
                if handle.send_blocking(wrap(event)).is_err() || is_last {
                    break;
                }
            }
        })?;
        Ok(Self { requests })
    }

    /// Asks for the next unit. After the last, nothing answers.
    pub fn ask(&self) {
        let _ = self.requests.send(());
    }
}

fn read_unit(source: &mut BufReader<impl Read>, unit: Unit) -> InputEvent {
    let mut bytes = Vec::new();
    let read = match unit {
        Unit::Chunk(size) => read_some(source, size, &mut bytes),
        Unit::Line(max) => {
            let max = u64::try_from(max.max(1)).unwrap_or(u64::MAX);
            source.take(max).read_until(b'\n', &mut bytes).map(drop)
        }
    };
    match read {
        Ok(()) if bytes.is_empty() => InputEvent::End,
        Ok(()) => InputEvent::Bytes(bytes),
        Err(error) => InputEvent::Failed(describe(&error)),
    }
}

fn read_some(source: &mut impl Read, size: usize, bytes: &mut Vec<u8>) -> io::Result<()> {
    bytes.resize(size.max(1), 0);
    let count = loop {
        match source.read(bytes) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => break result,
        }
    };
    bytes.truncate(*count.as_ref().unwrap_or(&0));
    count.map(drop)
}

/// What an [`Output`] tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutputEvent {
    /// So many bytes more are written.
    Wrote(usize),
    /// They cannot be written, and why. Nothing more will be.
    Failed(String),
}

/// Stdout, or another sink that blocks, behind a thread: whoever reads it slowly does not stop the loop.
///
/// It takes all it is given. What bounds it is the handler, which pauses its peer while
/// [`waiting`](Self::waiting) says that there is enough.
#[derive(Debug)]
pub struct Output {
    pieces: Sender<Bytes>,
    waiting: usize,
}

impl Output {
    /// Starts the thread. What becomes of the bytes is told to `handle`, as the messages that `wrap`
    /// makes of it.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn start<M: Send + 'static>(
        sink: impl Write + Send + 'static,
        handle: Handle<M>,
        wrap: impl Fn(OutputEvent) -> M + Send + 'static,
    ) -> io::Result<Self> {
        let (pieces, given) = channel();
        thread::Builder::new().name("output".to_owned()).spawn(move || {
            write_all(sink, &given, |event| handle.send_blocking(wrap(event)).is_ok());
        })?;
        Ok(Self { pieces, waiting: 0 })
    }

    /// Gives it bytes to write. Each time it answers with [`OutputEvent::Wrote`].
    pub fn write(&mut self, bytes: Bytes) {
        self.waiting += bytes.len();
        // A thread that has ended has told why.
        let _ = self.pieces.send(bytes);
    }

    /// It has told that so many bytes are written.
    pub fn wrote(&mut self, count: usize) {
        self.waiting = self.waiting.saturating_sub(count);
    }

    /// Bytes that it was given, and has not told of.
    pub fn waiting(&self) -> usize {
        self.waiting
    }
}

fn write_all(mut sink: impl Write, given: &Receiver<Bytes>, tell: impl Fn(OutputEvent) -> bool) {
    while let Ok(bytes) = given.recv() {
        let event = match sink.write_all(&bytes).and_then(|()| sink.flush()) {
            Ok(()) => OutputEvent::Wrote(bytes.len()),
            Err(error) => OutputEvent::Failed(describe(&error)),
        };
        let is_last = matches!(event, OutputEvent::Failed(_));
        if !tell(event) || is_last {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn units(source: &'static [u8], unit: Unit) -> Vec<InputEvent> {
        let mut source = BufReader::new(source);
        let mut events = Vec::new();
        loop {
            events.push(read_unit(&mut source, unit));
            if events.last() == Some(&InputEvent::End) {
                return events;
            }
        }
    }

    fn bytes(text: &str) -> InputEvent {
        InputEvent::Bytes(text.into())
    }

    #[test]
    fn input_comes_in_lines_or_in_chunks_that_are_bounded() {
        let source = b"one\r\n\nthree and more";
        assert_eq!(
            units(source, Unit::Line(8)),
            [bytes("one\r\n"), bytes("\n"), bytes("three an"), bytes("d more"), InputEvent::End]
        );
        assert_eq!(
            units(source, Unit::Chunk(16)),
            [bytes("one\r\n\nthree and "), bytes("more"), InputEvent::End]
        );
        assert_eq!(units(b"", Unit::Line(8)), [InputEvent::End]);
    }

    /// Counts its reads, and fails after them.
    struct Counting(Arc<AtomicUsize>);

    impl Read for Counting {
        fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
            match self.0.fetch_add(1, Ordering::SeqCst) {
                0 => Err(io::ErrorKind::Interrupted.into()),
                1 | 2 => {
                    room[0] = b'x';
                    Ok(1)
                }
                _ => Err(io::Error::from_raw_os_error(21)), // EISDIR
            }
        }
    }

    #[test]
    fn nothing_is_read_that_was_not_asked_for() {
        let reads = Arc::new(AtomicUsize::new(0));
        let (handle, _messages) = reactor::inbox(8); // nobody empties it: it holds what was told
        let (told, events) = channel();
        let source = Counting(Arc::clone(&reads));
        let input = Input::start(source, Unit::Chunk(64), handle, move |event| {
            told.send(event).unwrap();
        })
        .unwrap();
        let failed = InputEvent::Failed("is a directory".to_owned());
        for (event, reads_so_far) in [(bytes("x"), 2), (bytes("x"), 3), (failed, 4)] {
            input.ask();
            assert_eq!(events.recv(), Ok(event));
            assert_eq!(reads.load(Ordering::SeqCst), reads_so_far);
        }
        assert!(events.recv().is_err(), "the thread has ended");
        input.ask();
    }

    /// Takes one write, then has had enough.
    struct Narrow(usize);

    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 =
                self.0.checked_sub(bytes.len()).ok_or_else(|| io::Error::from_raw_os_error(32))?; // EPIPE
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn output_tells_what_is_written_and_why_it_stopped() {
        let (handle, _messages) = reactor::inbox(8);
        let (told, events) = channel();
        let mut output =
            Output::start(Narrow(5), handle, move |event| told.send(event).unwrap()).unwrap();
        output.write(Bytes::from_static(b"hello"));
        assert_eq!(output.waiting(), 5);
        assert_eq!(events.recv(), Ok(OutputEvent::Wrote(5)));
        output.wrote(5);
        assert_eq!(output.waiting(), 0);
        output.write(Bytes::from_static(b"!"));
        assert_eq!(events.recv(), Ok(OutputEvent::Failed("broken pipe".to_owned())));
        assert!(events.recv().is_err(), "the thread has ended");
        output.write(Bytes::from_static(b"?"));
    }
}
