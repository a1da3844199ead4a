//! The closed language of a scenario: who acts, on which kind of socket, and what can be seen.

use std::fmt;
use std::io::{Error, ErrorKind};

use reactor::{Readiness, Token};

/// Who has a socket. What a stream of `A` says is told from what `C` says by its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Who {
    A,
    B,
    C,
    D,
    E,
    F,
    /// The listener.
    L,
}

impl Who {
    pub(crate) const ALL: [Self; 7] =
        [Self::A, Self::B, Self::C, Self::D, Self::E, Self::F, Self::L];

    pub(crate) fn token(self) -> Token {
        Token::from_number(self as u64)
    }

    pub(crate) fn of(token: Token) -> Option<Self> {
        Self::ALL.into_iter().find(|who| who.token() == token)
    }

    /// The byte of its endless piece at this place.
    pub(crate) fn says(self, place: usize) -> u8 {
        (self as usize * 40 + place * 31 + place / 251) as u8
    }
}

/// What a scenario is played with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    Tcp,
    /// Unix streams.
    Unix,
    Udp,
    /// Unix datagrams.
    Datagram,
    /// Look-ups of names.
    Names,
}

/// Readiness as an observation: it can be put in a set.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Bits {
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    pub(crate) hang_up: bool,
    pub(crate) error: bool,
    pub(crate) urgent: bool,
}

const fn bits(readable: bool, writable: bool, hang_up: bool, error: bool) -> Bits {
    Bits { readable, writable, hang_up, error, urgent: false }
}

/// Readable.
pub(crate) const R: Bits = bits(true, false, false, false);
/// Writable.
pub(crate) const W: Bits = bits(false, true, false, false);
/// Readable and writable.
pub(crate) const RW: Bits = bits(true, true, false, false);
/// The end is near, and there is no room.
pub(crate) const RH: Bits = bits(true, false, true, false);
/// The end is near.
pub(crate) const RWH: Bits = bits(true, true, true, false);
/// An error.
pub(crate) const RWHE: Bits = bits(true, true, true, true);

impl From<Readiness> for Bits {
    fn from(from: Readiness) -> Self {
        let Readiness { readable, writable, hang_up, error, urgent } = from;
        Self { readable, writable, hang_up, error, urgent }
    }
}

impl fmt::Debug for Bits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { readable, writable, hang_up, error, urgent } = *self;
        for (is_set, letter) in
            [(readable, 'r'), (writable, 'w'), (hang_up, 'h'), (error, 'e'), (urgent, 'u')]
        {
            write!(f, "{}", if is_set { letter } else { '-' })?;
        }
        Ok(())
    }
}

/// Errors, as far as they are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Problem {
    WouldBlock,
    BrokenPipe,
    Reset,
    Refused,
    Aborted,
    NotConnected,
    NotFound,
    TooLarge,
    NoDescriptors,
    /// No scenario allows it.
    Other(ErrorKind),
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match (error.kind(), error.raw_os_error()) {
            (ErrorKind::WouldBlock, _) => Self::WouldBlock,
            (ErrorKind::BrokenPipe, _) => Self::BrokenPipe,
            (ErrorKind::ConnectionReset, _) => Self::Reset,
            (ErrorKind::ConnectionRefused, _) => Self::Refused,
            (ErrorKind::ConnectionAborted, _) => Self::Aborted,
            (ErrorKind::NotConnected, _) => Self::NotConnected,
            (ErrorKind::NotFound, _) => Self::NotFound,
            (_, Some(libc::EMSGSIZE)) => Self::TooLarge,
            (_, Some(libc::EMFILE)) => Self::NoDescriptors,
            (kind, _) => Self::Other(kind),
        }
    }
}

/// What ended a row of reads or writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Then {
    /// A read yielded nothing.
    End,
    Failed(Problem),
}

/// `WouldBlock`, as what ended a row of calls.
pub(crate) const LATER: Then = Then::Failed(Problem::WouldBlock);

/// An observation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Seen {
    /// The edges since one last looked, in order. Of equal ones in a row there is one: how many waits
    /// were between them is nobody's promise. None at all: nothing was told.
    Edges(Vec<Bits>),
    /// It was done, whole.
    Done,
    /// All bytes that were on their way (or were to be written), in order, and then this.
    All(Then),
    /// The first of them, at least one, but not all.
    Part(Then),
    /// None of them.
    Nothing(Then),
    /// Bytes that nobody wrote there.
    Garbled,
    Failed(Problem),
    /// There is no error to take.
    NoError,
    /// The stream stands.
    Stands,
    /// It is not decided whether it will stand; or it has failed, and said so.
    Pending,
    /// The first byte is of this one's piece.
    From(Who),
    /// So many bytes, from whom.
    Datagram(usize, Who),
    /// Some of the many datagrams that were sent, each whole, and in order.
    Some,
    /// At least one address.
    Found,
}

pub(crate) fn none() -> Seen {
    Seen::Edges(Vec::new())
}

pub(crate) fn edge(bits: Bits) -> Seen {
    Seen::Edges(vec![bits])
}

pub(crate) fn edges<const N: usize>(bits: [Bits; N]) -> Seen {
    Seen::Edges(bits.to_vec())
}

pub(crate) fn all(problem: Problem) -> Seen {
    Seen::All(Then::Failed(problem))
}

pub(crate) fn part(problem: Problem) -> Seen {
    Seen::Part(Then::Failed(problem))
}

pub(crate) fn nothing(problem: Problem) -> Seen {
    Seen::Nothing(Then::Failed(problem))
}
