//! Readiness, and nothing else: which of many descriptors can be read or written now.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Poll, Registry, Token};

use crate::readiness::Readiness;

/// What one wants to know of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Whether it can be read.
    Read,
    /// Whether it can be written.
    Write,
    /// Both.
    ReadWrite,
}

impl From<Interest> for mio::Interest {
    fn from(interest: Interest) -> Self {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let readable = Self::READABLE | Self::PRIORITY;
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        let readable = Self::READABLE;
        match interest {
            Interest::Read => readable,
            Interest::Write => Self::WRITABLE,
            Interest::ReadWrite => readable | Self::WRITABLE,
        }
    }
}

/// Many descriptors, one wait: Python's `selectors.DefaultSelector`, but edge-triggered.
///
/// A source is whatever has a descriptor, as `std::net`'s sockets have; it must be non-blocking. It is
/// registered under a key of your choice, which comes back with its events.
///
/// | Python | here |
/// |---|---|
/// | `register(fileobj, events, data)` | [`register`](Self::register)`(&source, key, interest)` |
/// | `modify(fileobj, events, data)` | [`modify`](Self::modify)`(&source, key, interest)` |
/// | `unregister(fileobj)` | [`unregister`](Self::unregister)`(&source)` |
/// | `select(timeout)` | [`select`](Self::select)`(timeout)` |
///
/// # Guarantees
/// - What was ready when it was registered or modified is told, once.
/// - A signal that interrupts the wait makes it end early, without an error.
///
/// # Not guaranteed
/// - **Edge-triggered**: after an event, go on until `WouldBlock`. What is left in the socket makes no
///   second event by itself, where Python's (level-triggered) selector would tell of it again.
/// - An event may be spurious, or belong to a source that has been unregistered since.
///
/// ```
/// use std::io::{self, Read, Write};
/// use std::net::{TcpListener, TcpStream};
/// use reactor::{Interest, Selector};
///
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// listener.set_nonblocking(true)?;
/// let mut selector = Selector::new()?;
/// selector.register(&listener, 7, Interest::Read)?;
///
/// let _client = TcpStream::connect(listener.local_addr()?)?;
/// let ready: Vec<_> = selector.select(None)?.collect();
/// assert_eq!(ready[0].0, 7);
/// assert!(ready[0].1.readable && listener.accept().is_ok());
/// # Ok::<(), io::Error>(())
/// ```
#[derive(Debug)]
pub struct Selector {
    poll: Poll,
    events: Events,
}

/// Events that one wait can bring; more than these wait for the next.
const EVENTS_MAX: usize = 1024;

impl Selector {
    /// A selector that watches nothing yet.
    ///
    /// # Errors
    /// No descriptor is left for it.
    pub fn new() -> io::Result<Self> {
        Ok(Self { poll: Poll::new()?, events: Events::with_capacity(EVENTS_MAX) })
    }

    /// Watches `source`; its events come with `key`.
    ///
    /// # Errors
    /// `AlreadyExists` if it is watched already; what else epoll_ctl(2) says.
    pub fn register(&self, source: &impl AsFd, key: usize, interest: Interest) -> io::Result<()> {
        let fd = source.as_fd().as_raw_fd();
        self.registry().register(&mut SourceFd(&fd), Token(key), interest.into())
    }

    /// Changes key and interest, and tells again what is ready.
    ///
    /// # Errors
    /// `NotFound` if it is not watched; what else epoll_ctl(2) says.
    pub fn modify(&self, source: &impl AsFd, key: usize, interest: Interest) -> io::Result<()> {
        let fd = source.as_fd().as_raw_fd();
        self.registry().reregister(&mut SourceFd(&fd), Token(key), interest.into())
    }

    /// Watches it no longer. Closing the source's last descriptor does the same.
    ///
    /// # Errors
    /// `NotFound` if it is not watched.
    pub fn unregister(&self, source: &impl AsFd) -> io::Result<()> {
        self.registry().deregister(&mut SourceFd(&source.as_fd().as_raw_fd()))
    }

    /// Waits until something is ready, at most for `timeout` (`None`: for ever; rounded up to whole
    /// milliseconds), and tells what.
    ///
    /// # Errors
    /// What epoll_wait(2) says, but for `Interrupted`.
    pub fn select(
        &mut self,
        timeout: Option<Duration>,
    ) -> io::Result<impl Iterator<Item = (usize, Readiness)>> {
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.events.clear(),
            done => done?,
        }
        Ok(self.events.iter().map(|event| {
            let readiness = Readiness {
                readable: event.is_readable() || event.is_read_closed() || event.is_error(),
                writable: event.is_writable() || event.is_write_closed() || event.is_error(),
                hang_up: event.is_read_closed(),
                error: event.is_error(),
                urgent: event.is_priority(),
            };
            (event.token().0, readiness)
        }))
    }

    /// A waker that makes [`select`](Self::select) return, from any thread, with an event under `key`.
    /// One selector can have one; it wakes as long as a clone of it is kept.
    ///
    /// # Errors
    /// No descriptor is left for it.
    pub fn waker(&self, key: usize) -> io::Result<Waker> {
        struct Poke(mio::Waker);
        impl Wake for Poke {
            fn wake(self: Arc<Self>) {
                self.wake_by_ref();
            }
            fn wake_by_ref(self: &Arc<Self>) {
                // It fails only if the selector is gone, and then there is nothing to wake.
                if let Err(error) = self.0.wake() {
                    log::debug!("cannot wake a selector: {error}");
                }
            }
        }
        Ok(Arc::new(Poke(mio::Waker::new(self.registry(), Token(key))?)).into())
    }

    pub(crate) fn registry(&self) -> &Registry {
        self.poll.registry()
    }
}

impl AsFd for Selector {
    /// Readable when [`select`](Self::select) has something to tell: a selector can be watched itself.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.registry().as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    fn keys(selector: &mut Selector, timeout: Duration) -> Vec<usize> {
        selector.select(Some(timeout)).unwrap().map(|(key, _)| key).collect()
    }

    #[test]
    fn an_edge_is_told_once_and_again_after_modify() {
        let (mut near, far) = UnixStream::pair().unwrap();
        far.set_nonblocking(true).unwrap();
        let mut selector = Selector::new().unwrap();
        selector.register(&far, 1, Interest::Read).unwrap();
        assert_eq!(keys(&mut selector, Duration::ZERO), [0; 0]);
        near.write_all(b"x").unwrap();
        assert_eq!(keys(&mut selector, Duration::from_secs(5)), [1]);
        assert_eq!(
            keys(&mut selector, Duration::ZERO),
            [0; 0],
            "no second event for the same byte"
        );
        selector.modify(&far, 2, Interest::ReadWrite).unwrap();
        assert_eq!(keys(&mut selector, Duration::from_secs(5)), [2]);
        assert_eq!((&far).read(&mut [0; 8]).unwrap(), 1);
        selector.unregister(&far).unwrap();
        near.write_all(b"x").unwrap();
        assert_eq!(keys(&mut selector, Duration::ZERO), [0; 0]);
        assert!(selector.unregister(&far).is_err());
    }

    #[test]
    fn a_waker_wakes_from_another_thread_and_a_long_timeout_is_no_special_case() {
        let mut selector = Selector::new().unwrap();
        let waker = selector.waker(9).unwrap();
        let clone = waker.clone();
        let thread = std::thread::spawn(move || clone.wake());
        assert_eq!(keys(&mut selector, Duration::MAX), [9]);
        thread.join().unwrap();
    }
}
