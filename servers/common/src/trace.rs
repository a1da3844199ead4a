//! `--trace FILE`: where the traces of all loops go, and when.
//!
//! ```text
//!   a loop: SIGUSR1, or a stalled turn --> request --> a thread of its own, one at a time --> FILE
//!   main, when all loops have stopped  ------------------------------- finish -------------->
//! ```

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};

use reactor::{Recorder, StallHook, Trace, TraceFormat, describe};
use rustix::fs::{OFlags, fcntl_setfl};

use crate::failure::Failure;

/// Records that are kept of each loop, 2 MiB of them.
pub(crate) const RECORDS: usize = 65_536;

/// The file, and who writes it.
pub(crate) struct TraceFile {
    /// As it was given, for the log.
    path: PathBuf,
    format: TraceFormat,
    place: Place,
    /// Those of all loops, once they run.
    recorders: OnceLock<Vec<Recorder>>,
    writer: Mutex<Writer>,
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
    /// Invariant: whether that thread will look at `is_asked` once more.
    is_busy: bool,
    /// SIGUSR1 has come since it began to write.
    is_asked: bool,
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
        let place = Place::open(path).map_err(|error| cannot_write(path, &error))?;
        Ok(Arc::new(Self {
            path: path.to_owned(),
            format,
            place,
            recorders: OnceLock::new(),
            writer: Mutex::default(),
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

    /// Writes the trace, in a thread of its own: the loop goes on. A stall while it is written is not
    /// written once more; a signal is.
    pub(crate) fn request(self: &Arc<Self>, occasion: Occasion) {
        let mut writer = self.writer();
        if self.recorders.get().is_none() {
            return;
        }
        if writer.is_busy {
            writer.is_asked |= occasion == Occasion::Signal;
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
            let mut writer = self.writer();
            if !std::mem::take(&mut writer.is_asked) {
                writer.is_busy = false;
                return;
            }
            occasion = Occasion::Signal;
        }
    }

    /// The last trace, when the loops have stopped.
    pub(crate) fn finish(&self) -> Result<(), Failure> {
        let thread = self.writer().thread.take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            log::error!("the thread that writes the trace has panicked");
        }
        self.write().map_err(|error| cannot_write(&self.path, &error))
    }

    fn write(&self) -> io::Result<()> {
        let recorders = self.recorders.get().map(Vec::as_slice).unwrap_or_default();
        let traces: Vec<Trace> = recorders.iter().map(Recorder::trace).collect();
        match &self.place {
            Place::Stream(stream) => self.write_into(&traces, stream),
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
        let written = self.write_into(traces, &file).and_then(|()| fs::rename(&beside, path));
        if written.is_err() {
            let _ = fs::remove_file(&beside); // what went wrong is told already
        }
        written
    }

    fn write_into(&self, traces: &[Trace], file: &File) -> io::Result<()> {
        let mut out = BufWriter::with_capacity(1 << 16, file);
        self.format.write(traces, &mut out)?;
        out.flush()
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
        let stream = OpenOptions::new().write(true).custom_flags(flags).open(path)?;
        fcntl_setfl(&stream, OFlags::empty())?;
        Ok(stream)
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

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::run(format!("cannot write the trace to {}: {}", path.display(), describe(error)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use reactor::{Config, Reactor};

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
        reactor.turn(Some(std::time::Duration::ZERO)).unwrap();
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
    fn a_signal_during_a_write_is_written_for_and_a_stall_is_not() {
        let folder = Folder::new("asked");
        let trace = TraceFile::open(&folder.0.join("x.json")).unwrap();
        trace.request(Occasion::Signal);
        assert!(trace.writer().thread.is_none(), "there is nothing to write yet");
        trace.attach(vec![recorder()]);
        trace.writer().is_busy = true;
        trace.request(Occasion::Stall);
        assert!(!trace.writer().is_asked);
        trace.request(Occasion::Signal);
        assert!(trace.writer().is_asked && trace.writer().thread.is_none());
        trace.write_as_asked(Occasion::Stall);
        assert!(!trace.writer().is_busy && !trace.writer().is_asked);
        trace.request(Occasion::Stall);
        trace.finish().unwrap();
        assert!(!trace.writer().is_busy);
    }
}
