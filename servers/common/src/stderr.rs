//! Stderr that never blocks: what finds no room is lost, and counted.
//!
//! A pipe or a terminal that nobody reads fills, and the next write would stop the loop. To make it
//! non-blocking would do so for every program that shares it. So we ask a pipe for room before each write,
//! which it promises for a whole line; a terminal promises less, and we open it anew for ourselves.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{LazyLock, Mutex, PoisonError};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, open};

/// A pipe that polls writable takes this much at once: `PIPE_BUF`, see pipe(7). A longer line is cut.
const LINE_MAX: usize = 4096;

/// All that the program has to say on stderr, from whichever thread.
static OUTLET: Mutex<Outlet> = Mutex::new(Outlet::new());
static STANDARD_ERROR: LazyLock<StandardError> = LazyLock::new(StandardError::new);

/// Writes one line, if there is room for it.
pub fn print_error_line(line: &str) {
    write_line(format!("{line}\n").as_bytes());
}

/// What a logger writes to: each write is a record.
pub(crate) struct Stderr;

impl Write for Stderr {
    /// It has always succeeded: who logs could do nothing about it.
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        write_line(record);
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_line(line: &[u8]) {
    OUTLET.lock().unwrap_or_else(PoisonError::into_inner).line(&*STANDARD_ERROR, line);
}

/// Where lines go.
trait Sink {
    /// Whether a write of at most [`LINE_MAX`] bytes will not block.
    fn has_room(&self) -> bool;
    fn write(&self, bytes: &[u8]) -> io::Result<usize>;
}

struct StandardError {
    /// Stderr once more, non-blocking, if it is a terminal, and one that we may open.
    terminal: Option<File>,
}

impl StandardError {
    fn new() -> Self {
        let terminal = io::stderr().is_terminal().then(|| open_without_blocking("/dev/fd/2"));
        Self { terminal: terminal.flatten() }
    }
}

fn open_without_blocking(path: &str) -> Option<File> {
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    open(path, flags, Mode::empty()).ok().map(File::from)
}

impl Sink for StandardError {
    fn has_room(&self) -> bool {
        match &self.terminal {
            Some(terminal) => has_room(terminal.as_fd()),
            None => has_room(io::stderr().as_fd()),
        }
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match &self.terminal {
            Some(terminal) => (&*terminal).write(bytes),
            None => io::stderr().write(bytes),
        }
    }
}

/// A regular file always has room.
fn has_room(descriptor: BorrowedFd<'_>) -> bool {
    let mut polled = [PollFd::from_borrowed_fd(descriptor, PollFlags::OUT)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut polled, Some(&now)).is_ok()
        && polled.iter().all(|polled| polled.revents().contains(PollFlags::OUT))
}

/// Counts what was lost, and tells it when there is room again.
struct Outlet {
    lost: u64,
    /// Whether a line has begun and could not be ended.
    is_torn: bool,
}

impl Outlet {
    const fn new() -> Self {
        Self { lost: 0, is_torn: false }
    }

    fn line(&mut self, sink: &impl Sink, line: &[u8]) {
        if self.lost > 0 && sink.has_room() {
            let begin = if self.is_torn { "\n" } else { "" };
            let (lines, were) = if self.lost == 1 { ("line", "was") } else { ("lines", "were") };
            let lost = self.lost;
            let notice = format!("{begin}{lost} log {lines} {were} lost: nobody read them\n");
            (self.lost, self.is_torn) = (0, false);
            if !self.write(sink, notice.as_bytes()) {
                self.lost += lost;
            }
        }
        if self.lost > 0 || !self.write(sink, &cut(line)) {
            self.lost += 1;
        }
    }

    /// Whether there was room for it all. What fails otherwise is nothing that a log could tell.
    fn write(&mut self, sink: &impl Sink, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            if !sink.has_room() {
                return false;
            }
            match sink.write(bytes) {
                // A terminal; or whoever shares the pipe has made it non-blocking.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(_) | Ok(0) => return true,
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            }
            self.is_torn = !bytes.is_empty();
        }
        true
    }
}

/// At most [`LINE_MAX`] bytes, and still a line of whole characters.
fn cut(line: &[u8]) -> std::borrow::Cow<'_, [u8]> {
    if line.len() <= LINE_MAX {
        return line.into();
    }
    let mut kept: Vec<u8> = line.iter().copied().take(LINE_MAX).collect();
    // One byte for the line feed, and then the rest of a character that has lost its end.
    let mut is_continuation = true;
    while is_continuation {
        is_continuation = kept.pop().is_some_and(|byte| byte & 0xc0 == 0x80);
    }
    kept.push(b'\n');
    kept.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::{Cell, RefCell};

    /// Has room for so many writes, and takes at most a piece in each.
    struct Room {
        writes: Cell<usize>,
        piece: usize,
        written: RefCell<Vec<u8>>,
    }

    impl Room {
        fn new(piece: usize) -> Self {
            Self { writes: Cell::new(usize::MAX), piece, written: RefCell::default() }
        }

        fn taken(&self) -> String {
            String::from_utf8(self.written.take()).unwrap()
        }
    }

    impl Sink for Room {
        fn has_room(&self) -> bool {
            self.writes.get() > 0
        }

        fn write(&self, bytes: &[u8]) -> io::Result<usize> {
            self.writes.set(self.writes.get() - 1);
            let piece = &bytes[..bytes.len().min(self.piece)];
            self.written.borrow_mut().extend(piece);
            Ok(piece.len())
        }
    }

    #[test]
    fn lines_without_room_are_lost_and_counted() {
        let (mut outlet, room) = (Outlet::new(), Room::new(LINE_MAX));
        outlet.line(&room, b"one\n");
        room.writes.set(0);
        for _ in 0..12 {
            outlet.line(&room, b"lost\n");
        }
        room.writes.set(2);
        outlet.line(&room, b"two\n");
        outlet.line(&room, b"lost\n");
        room.writes.set(9);
        outlet.line(&room, b"three\n");
        outlet.line(&room, b"four\n");
        let text = "one\n12 log lines were lost: nobody read them\ntwo\n\
                    1 log line was lost: nobody read them\nthree\nfour\n";
        assert_eq!(room.taken(), text);
    }

    #[test]
    fn room_for_the_notice_alone_loses_the_line_behind_it() {
        let (mut outlet, room) = (Outlet::new(), Room::new(LINE_MAX));
        room.writes.set(0);
        outlet.line(&room, b"lost\n");
        room.writes.set(1);
        outlet.line(&room, b"lost\n");
        assert_eq!(room.taken(), "1 log line was lost: nobody read them\n");
        assert_eq!(outlet.lost, 1);
    }

    #[test]
    fn a_line_that_is_taken_in_part_is_ended_before_the_next() {
        let (mut outlet, room) = (Outlet::new(), Room::new(4));
        room.writes.set(1);
        outlet.line(&room, b"123456\n");
        assert_eq!((outlet.lost, outlet.is_torn), (1, true));
        room.writes.set(99);
        outlet.line(&room, b"789\n");
        assert_eq!(room.taken(), "1234\n1 log line was lost: nobody read them\n789\n");
    }

    #[test]
    fn a_long_line_is_cut_to_what_a_pipe_takes_at_once() {
        let line = format!("{}\n", "x".repeat(9000));
        assert_eq!(cut(line.as_bytes()), format!("{}\n", "x".repeat(4095)).as_bytes());
        let line = format!("x{}\n", "ö".repeat(9000));
        assert_eq!(cut(line.as_bytes()), format!("x{}\n", "ö".repeat(2047)).as_bytes());
        let line = format!("{}\n", "x".repeat(4095));
        assert_eq!(cut(line.as_bytes()), line.as_bytes());
    }

    #[test]
    fn an_error_of_the_sink_is_no_loss_unless_it_would_have_blocked() {
        struct Broken(io::ErrorKind);
        impl Sink for Broken {
            fn has_room(&self) -> bool {
                true
            }

            fn write(&self, _: &[u8]) -> io::Result<usize> {
                Err(self.0.into())
            }
        }
        let mut outlet = Outlet::new();
        outlet.line(&Broken(io::ErrorKind::BrokenPipe), b"x\n");
        assert_eq!(outlet.lost, 0);
        outlet.line(&Broken(io::ErrorKind::WouldBlock), b"x\n");
        outlet.line(&Broken(io::ErrorKind::WouldBlock), b"x\n");
        assert_eq!(outlet.lost, 2);
    }

    #[test]
    fn a_pipe_polls_writable_until_it_is_full_and_never_blocks() {
        let (reader, mut writer) = io::pipe().unwrap();
        let mut lines = 0;
        while has_room(writer.as_fd()) {
            assert_eq!(writer.write(&[b'x'; LINE_MAX]).unwrap(), LINE_MAX);
            lines += 1;
        }
        assert!(lines >= 1);
        drop(reader);
    }
}
