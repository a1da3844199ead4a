//! Where a script is played: on the system's sockets, or on simulated ones.

use reactor::{Address, Bind, Driver, Listen, Readiness, Token};

use crate::language::Kind;
use crate::script::Place;

/// What whoever waits still hopes for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hope {
    /// Something that must come has not come yet.
    Missing,
    /// What has come may be all, and may not.
    Optional,
    /// Nothing more.
    Fulfilled,
}

/// Hears events, and says what it hopes for.
pub(crate) trait Watcher {
    fn event(&mut self, token: Token, readiness: Readiness);
    fn hope(&self) -> Hope;
}

/// A driver, and the world around it. A ground is for one playing of one scenario.
pub(crate) trait Ground {
    type Driver: Driver;

    fn driver(&mut self) -> &mut Self::Driver;

    /// Some time may pass before the next step, in which nobody waits. On the system it passes anyway.
    fn pass(&mut self) {}

    /// Lets everything that is on its way arrive, and tells the events.
    ///
    /// On the system nobody knows what is on its way: there, what is hoped for decides how long it is
    /// waited for. A simulated network ends when it has come to rest, whatever is hoped.
    fn settle(&mut self, watcher: &mut dyn Watcher);

    /// Where a listener of this kind can be.
    fn listen(&mut self, kind: Kind) -> Listen;

    /// Where a datagram socket of this kind can be.
    fn bind(&mut self, kind: Kind) -> Bind;

    /// An address without anybody; never [`Place::Former`].
    fn empty(&mut self, kind: Kind, place: Place) -> Address;

    /// Whether packets of datagram sockets may get lost, overtake one another and come twice from now
    /// on, and those of streams may get lost if their sender resets. Who cannot make them leaves it.
    fn set_rough(&mut self, rough: bool);

    /// Takes all descriptors that are left, or gives them back.
    fn exhaust(&mut self, exhaust: bool);
}
