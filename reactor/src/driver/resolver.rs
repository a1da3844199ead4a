//! Names to addresses, off the loop's thread: getaddrinfo(3) blocks, and there is no other.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::task::Waker;
use std::thread;

use crate::id::Token;

/// Look-ups that may wait for the one under way.
const QUEUE_MAX: usize = 1024;

/// One thread, begun by the first look-up, that answers one question after the other. It ends when the
/// resolver is dropped and its last question is answered.
pub(super) struct Resolver {
    waker: Waker,
    thread: Option<Thread>,
    /// Invariant: how many questions have no answer taken yet.
    asked: usize,
}

struct Thread {
    questions: SyncSender<Question>,
    answers: Receiver<Answer>,
}

struct Question {
    host: String,
    port: u16,
    token: Token,
}

type Answer = (Token, io::Result<Vec<SocketAddr>>);

impl Resolver {
    pub(super) fn new(waker: Waker) -> Self {
        Self { waker, thread: None, asked: 0 }
    }

    pub(super) fn ask(&mut self, host: &str, port: u16, token: Token) -> io::Result<()> {
        let thread = match &self.thread {
            Some(thread) => thread,
            None => self.thread.insert(Thread::spawn(self.waker.clone())?),
        };
        let question = Question { host: host.to_owned(), port, token };
        match thread.questions.try_send(question) {
            Ok(()) => {
                self.asked += 1;
                Ok(())
            }
            Err(TrySendError::Full(_)) => Err(io::ErrorKind::QuotaExceeded.into()),
            Err(TrySendError::Disconnected(_)) => Err(io::Error::other("the resolver has ended")),
        }
    }

    pub(super) fn answer(&mut self) -> Option<Answer> {
        if self.asked == 0 {
            return None;
        }
        let answer = self.thread.as_ref()?.answers.try_recv().ok()?;
        self.asked -= 1;
        Some(answer)
    }
}

impl Thread {
    fn spawn(waker: Waker) -> io::Result<Self> {
        let (questions, asked) = sync_channel(QUEUE_MAX);
        let (answer, answers) = channel();
        thread::Builder::new()
            .name("resolver".to_owned())
            .spawn(move || answer_all(&asked, &answer, &waker))?;
        Ok(Self { questions, answers })
    }
}

fn answer_all(questions: &Receiver<Question>, answers: &Sender<Answer>, waker: &Waker) {
    for Question { host, port, token } in questions {
        let found = (host.as_str(), port).to_socket_addrs().map(Iterator::collect);
        // getaddrinfo's failures have no kind of their own; that the name is not known is the one
        // that a user can do something about.
        let found = match found {
            Ok(addresses) => Ok(addresses),
            Err(_) => Err(io::ErrorKind::NotFound.into()),
        };
        if answers.send((token, found)).is_err() {
            return;
        }
        waker.wake_by_ref();
    }
}
