//! `--trace FILE`: where the traces of all loops go, and when.
//!
//! ```text
//!   a loop: SIGUSR1, or a stalled turn --> request --> a thread of its own, one at a time --> FILE
//!   main, when all loops have stopped  ------------------------------- finish -------------->
//! ```

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use reactor::{Recorder, StallHook, Trace, TraceFormat, describe};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::failure::Failure;

/// Records that are kept of each loop, 2 MiB of them.
pub(crate) const RECORDS: usize = 65_536;

/// How long after a trace is written nobody writes one for the sake of a stall: a loop that stalls all the
/// time is not helped by a thread that writes all the time.
const REST: Duration = Duration::from_secs(1);

/// How long whoever reads a pipe may read nothing of it. The program does not end before.
const PATIENCE: Duration = Duration::from_secs(2);

/// The file, and who writes it.
pub(crate) struct TraceFile {
    /// As it was given, for the log.
    path: PathBuf,
    format: TraceFormat,
    place: Place,
    /// Those of all loops, once they run.
    recorders: OnceLock<Vec<Recorder>>,
    writer: Mutex<Writer>,
    /// It has something to do before its rest is over.
    roused: Condvar,
}

enum Place {
    /// A file, which is replaced as a whole: nobody reads a half of it.
    File(PathBuf),
    /// A pipe or a device, into which one trace goes after the other.
    Stream(File),
}

/// What is asked of the thread that writes.
#[derive(Default)]
struct Writer {
    thread: Option<JoinHandle<()>>,
    /// Invariant: whether that thread will look once more at what follows.
    is_busy: bool,
    /// SIGUSR1 has come since it began to write.
    is_asked: bool,
    /// A turn has stalled since it began to write.
    has_stalled: bool,
    /// The last trace is to be written, by another.
    is_over: bool,
}

/// Why a trace is written while the loops run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Occasion {
    Signal,
    Stall,
}

impl TraceFile {
    /// Makes sure that there is a file to write to.
    pub(crate) fn open(path: &Path) -> Result<Arc<Self>, Failure> {
        let format = TraceFormat::of(path).ok_or_else(|| {
            let path = path.display();
            Failure::usage(format!("the trace file {path} must end in .json, .jsonl or .txt"))
        })?;
        let place = Place::open(path).map_err(|error| Failure::run(cannot_write(path, &error)))?;
        Ok(Arc::new(Self {
            path: path.to_owned(),
            format,
            place,
            recorders: OnceLock::new(),
            writer: Mutex::default(),
            roused: Condvar::new(),
        }))
    }

    /// The loops run: from now on there is something to write.
    pub(crate) fn attach(&self, recorders: Vec<Recorder>) {
        let _ = self.recorders.set(recorders); // a program starts its loops once
    }

    /// What a loop does after a turn that stalled.
    pub(crate) fn hook(self: &Arc<Self>) -> StallHook {
        let file = Arc::clone(self);
        StallHook::new(move |_| file.request(Occasion::Stall))
    }

    /// Writes the trace, in a thread of its own: the loop goes on. For what happens while it is written, it
    /// is written once more: for a signal at once, for a stall after a rest.
    pub(crate) fn request(self: &Arc<Self>, occasion: Occasion) {
        let mut writer = self.writer();
        if self.recorders.get().is_none() {
            return;
        }
        if writer.is_busy {
            match occasion {
                Occasion::Signal => {
                    writer.is_asked = true;
                    self.roused.notify_one();
                }
                Occasion::Stall => writer.has_stalled = true,
            }
            return;
        }
        let file = Arc::clone(self);
        let thread = thread::Builder::new().name("trace writer".to_owned());
        match thread.spawn(move || file.write_as_asked(occasion)) {
            Ok(thread) => {
                writer.thread = Some(thread);
                writer.is_busy = true;
            }
            Err(error) => log::error!("{}", cannot_write(&self.path, &error)),
        }
    }

    fn write_as_asked(&self, mut occasion: Occasion) {
        loop {
            let path = self.path.display();
            match (self.write(), occasion) {
                (Ok(()), Occasion::Signal) => log::info!("SIGUSR1: the trace is written to {path}"),
                (Ok(()), Occasion::Stall) => log::info!("the trace is written to {path}"),
                (Err(error), _) => log::error!("{}", cannot_write(&self.path, &error)),
            }
            match self.next_occasion() {
                Some(next) => occasion = next,
                None => return,
            }
        }
    }

    /// Rests, and finds out whether there is something to write after it.
    fn next_occasion(&self) -> Option<Occasion> {
        let rests = |writer: &mut Writer| !writer.is_asked && !writer.is_over;
        let rest = self.roused.wait_timeout_while(self.writer(), REST, rests);
        let (mut writer, _) = rest.unwrap_or_else(PoisonError::into_inner);
        let is_asked = std::mem::take(&mut writer.is_asked);
        let has_stalled = std::mem::take(&mut writer.has_stalled);
        let next = match (is_asked, has_stalled) {
            (true, _) => Some(Occasion::Signal),
            (false, true) if !writer.is_over => Some(Occasion::Stall),
            (false, _) => None,
        };
        writer.is_busy = next.is_some();
        next
    }

    /// The last trace, when the loops have stopped.
    pub(crate) fn finish(&self) -> Result<(), Failure> {
        let mut writer = self.writer();
        writer.is_over = true;
        self.roused.notify_one();
        let thread = writer.thread.take();
        drop(writer);
        if thread.is_some_and(|thread| thread.join().is_err()) {
            log::error!("the thread that writes the trace has panicked");
        }
        self.write().map_err(|error| Failure::run(cannot_write(&self.path, &error)))
    }

    fn write(&self) -> io::Result<()> {
        let recorders = self.recorders.get().map(Vec::as_slice).unwrap_or_default();
        let traces: Vec<Trace> = recorders.iter().map(Recorder::trace).collect();
        match &self.place {
            Place::Stream(stream) => self.write_into(&traces, Patient(stream)),
            Place::File(path) => self.replace(&traces, path),
        }
    }

    fn replace(&self, traces: &[Trace], path: &Path) -> io::Result<()> {
        let beside = beside(path);
        let file = match create_anew(&beside) {
            Ok(file) => file,
            // The folder is not ours, and the file is.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return self.write_into(traces, &File::create(path)?);
            }
            Err(error) => return Err(error),
        };
        keep_mode(path, &file);
        let written = self.write_into(traces, &file).and_then(|()| fs::rename(&beside, path));
        if written.is_err() {
            let _ = fs::remove_file(&beside); // what went wrong is told already
        }
        written
    }

    fn write_into(&self, traces: &[Trace], file: impl Write) -> io::Result<()> {
        let mut out = BufWriter::with_capacity(1 << 16, file);
        let written = self.format.write(traces, &mut out).and_then(|()| out.flush());
        let _ = out.into_parts(); // what could not be written is not tried once more
        written
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        // Nothing that can panic runs under the lock.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    fn open(path: &Path) -> io::Result<Self> {
        if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
            return Self::open_stream(path).map(Self::Stream);
        }
        // What it holds stays until there is something better.
        OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
        fs::canonicalize(path).map(Self::File)
    }

    /// It is open from the beginning: a reader of a pipe sees the end when the program ends.
    fn open_stream(path: &Path) -> io::Result<File> {
        // To open a pipe that nobody reads would block, and fails so.
        let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
        let flags = i32::try_from(flags.bits()).map_err(io::Error::other)?;
        match OpenOptions::new().write(true).custom_flags(flags).open(path) {
            Err(error) if Errno::from_io_error(&error) == Some(Errno::NXIO) => {
                Err(io::Error::other("nobody reads it"))
            }
            opened => opened,
        }
    }
}

/// Writes into what does not block, and waits for room, but not for ever.
struct Patient<'a>(&'a File);

impl Write for Patient<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut file = self.0;
        loop {
            match file.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.await_room()?,
                written => return written,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Patient<'_> {
    fn await_room(&self) -> io::Result<()> {
        let mut room = [PollFd::from_borrowed_fd(self.0.as_fd(), PollFlags::OUT)];
        let patience = Timespec::try_from(PATIENCE).map_err(io::Error::other)?;
        match poll(&mut room, Some(&patience)) {
            Ok(0) => Err(io::Error::other(format!("nobody has read it for {PATIENCE:?}"))),
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// A hidden name in the same folder: to rename it is to replace the file at once.
fn beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.tmp", std::process::id()));
    path.with_file_name(name)
}

/// What has the name is a leftover, or somebody's trap.
fn create_anew(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    File::create_new(path)
}

/// Who may read the old file may read the new one, and nobody else.
fn keep_mode(old: &Path, new: &File) {
    if let Ok(found) = fs::metadata(old) {
        let _ = new.set_permissions(found.permissions()); // some file systems have none
    }
}

fn cannot_write(path: &Path, error: &io::Error) -> String {
    format!("cannot write the trace to {}: {}", path.display(), describe(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use reactor::{Config, Reactor};
    use std::io::Read;
    use std::os::fd::OwnedFd;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixStream;
    use std::time::Instant;

    /// A folder that goes with the test.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path =
                std::env::temp_dir().join(format!("trace-test-{}-{name}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn recorder() -> Recorder {
        let config = Config { trace_records: 100, ..Config::default() };
        let mut reactor = Reactor::with_config(config).unwrap();
        reactor.turn(Some(Duration::ZERO)).unwrap();
        reactor.recorder()
    }

    #[test]
    fn only_three_endings_are_known() {
        for name in ["trace", "trace.xml", "json", "trace.JSON", "t.json/"] {
            let found = TraceFile::open(Path::new("/nowhere").join(name).as_path());
            let is_known = name == "t.json/";
            assert_eq!(matches!(found, Err(Failure::Usage(_))), !is_known, "{name}");
        }
    }

    #[test]
    fn the_file_is_there_from_the_start_and_is_replaced_as_a_whole() {
        let folder = Folder::new("replaced");
        let path = folder.0.join("x.txt");
        fs::write(&path, "what was there before").unwrap();
        let trace = TraceFile::open(&path).unwrap();
        let old = File::open(&path).unwrap();
        trace.attach(vec![recorder()]);
        trace.finish().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("loop 0: ") && text.contains("turn 1, at "), "{text}");
        assert_eq!(io::read_to_string(old).unwrap(), "what was there before", "not written over");
        assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_link_stays_a_link() {
        let folder = Folder::new("link");
        let (path, target) = (folder.0.join("x.txt"), folder.0.join("real.txt"));
        std::os::unix::fs::symlink(&target, &path).unwrap();
        let trace = TraceFile::open(&path).unwrap();
        trace.attach(vec![recorder()]);
        trace.finish().unwrap();
        assert!(fs::symlink_metadata(&path).unwrap().is_symlink());
        assert!(fs::read_to_string(&target).unwrap().starts_with("loop 0"));
    }

    #[test]
    fn what_cannot_be_written_is_told_with_its_name() {
        let told = TraceFile::open(Path::new("/no/such/folder/x.json")).err().unwrap();
        let text = "cannot write the trace to /no/such/folder/x.json: no such file or directory";
        assert_eq!(told, Failure::run(text));
        let folder = Folder::new("folder.json");
        let told = TraceFile::open(&folder.0).err().unwrap().to_string();
        assert!(told.ends_with(": is a directory"), "{told}");
    }

    #[test]
    fn what_happens_during_a_write_is_written_for_a_signal_at_once_a_stall_after_a_rest() {
        let folder = Folder::new("asked");
        let trace = TraceFile::open(&folder.0.join("x.json")).unwrap();
        trace.request(Occasion::Signal);
        assert!(trace.writer().thread.is_none(), "there is nothing to write yet");
        trace.attach(vec![recorder()]);
        trace.writer().is_busy = true;
        trace.request(Occasion::Stall);
        trace.request(Occasion::Signal);
        assert!(trace.writer().thread.is_none(), "there is one at work");
        let began = Instant::now();
        assert_eq!(trace.next_occasion(), Some(Occasion::Signal));
        assert!(trace.writer().is_busy && !trace.writer().is_asked);
        trace.request(Occasion::Stall);
        assert_eq!(trace.next_occasion(), Some(Occasion::Stall));
        assert!(trace.writer().is_busy && began.elapsed() >= REST);
        assert_eq!(trace.next_occasion(), None, "one trace for all of it");
        assert!(!trace.writer().is_busy);
    }

    #[test]
    fn the_end_interrupts_a_rest() {
        let folder = Folder::new("end");
        let trace = TraceFile::open(&folder.0.join("x.json")).unwrap();
        trace.attach(vec![recorder()]);
        trace.request(Occasion::Stall);
        trace.request(Occasion::Stall);
        trace.finish().unwrap();
        assert!(!trace.writer().is_busy);
        trace.writer().is_busy = true;
        trace.request(Occasion::Stall);
        let began = Instant::now();
        assert_eq!(trace.next_occasion(), None, "the last trace tells of it");
        assert!(began.elapsed() < REST);
    }

    #[test]
    fn a_pipe_that_is_read_slowly_gets_all_and_one_that_is_not_read_an_error() {
        let pipe = || {
            let (near, far) = UnixStream::pair().unwrap();
            near.set_nonblocking(true).unwrap();
            (File::from(OwnedFd::from(near)), far)
        };
        let bytes: Vec<u8> = (0..5_000_000_u32).map(|number| number.to_le_bytes()[1]).collect();
        let (near, mut far) = pipe();
        let reader = thread::spawn(move || {
            let mut got = Vec::new();
            far.read_to_end(&mut got).unwrap();
            got
        });
        Patient(&near).write_all(&bytes).unwrap();
        drop(near);
        assert!(reader.join().unwrap() == bytes);
        let (near, _far) = pipe();
        let told = Patient(&near).write_all(&bytes).unwrap_err();
        assert_eq!(describe(&told), "nobody has read it for 2s");
    }

    #[test]
    fn whoever_might_not_read_the_file_still_may_not() {
        let folder = Folder::new("mode");
        let path = folder.0.join("x.txt");
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let trace = TraceFile::open(&path).unwrap();
        trace.attach(vec![recorder()]);
        trace.finish().unwrap();
        let found = fs::metadata(&path).unwrap();
        assert!(found.len() > 0);
        assert_eq!(found.permissions().mode() & 0o777, 0o600);
    }
}
