//! A simulated network in which drivers are called by hand.

use std::cell::RefCell;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use super::SimDriver;
use super::faults::Faults;
use super::network::{Network, Shared};
use crate::timers::after;

/// A simulated network without loops and peers: what a [`World`](crate::sim::World) is made of, to look at
/// a [`SimDriver`]'s own behaviour.
///
/// ```
/// use reactor::sim::{Faults, SimNetwork};
/// use reactor::{Connect, Driver, Listen, Token};
/// use std::time::Duration;
///
/// let mut network = SimNetwork::new(1, Faults::none());
/// let mut driver = network.driver();
/// let (mut listener, address) =
///     driver.listen(Listen::at("10.0.0.1:80"), Token::from_number(1)).unwrap();
/// let client = driver.connect(&address, &Connect::to(&address), Token::from_number(2))?;
/// assert!(driver.accept(&mut listener).is_err()); // it is still on its way
///
/// network.pass(Duration::from_millis(1));
/// assert!(driver.accept(&mut listener).is_ok());
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct SimNetwork(Shared);

impl SimNetwork {
    /// A network in which these things go wrong; the same seed gives the same run.
    pub fn new(seed: u64, faults: Faults) -> Self {
        Self(Rc::new(RefCell::new(Network::new(seed, faults))))
    }

    /// The driver of one more host.
    pub fn driver(&self) -> SimDriver {
        SimDriver::new(&self.0)
    }

    /// Lets this much time pass, and happen what happens in it; with none, what is due.
    pub fn pass(&mut self, time: Duration) {
        let mut network = self.0.borrow_mut();
        let until = after(network.now, time);
        while let Some(next) = network.next_at().filter(|&next| next <= until) {
            network.now = next.max(network.now);
            network.happen();
        }
        network.now = until;
    }

    /// From now on a name has these addresses.
    pub fn set_name(&mut self, name: &str, addresses: impl IntoIterator<Item = IpAddr>) {
        self.0.borrow_mut().names.insert(name.to_owned(), addresses.into_iter().collect());
    }

    /// Whether the system has descriptors left.
    pub fn set_descriptors(&mut self, left: bool) {
        self.0.borrow_mut().descriptors_left = left;
    }

    /// Leaves the file of a Unix socket that nobody has any more: who connects to it is refused, and who
    /// listens or binds there takes it over.
    pub fn leave_file(&mut self, path: impl Into<PathBuf>) {
        self.0.borrow_mut().files.insert(path.into());
    }
}

impl fmt::Debug for SimNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimNetwork(at {:?})", Duration::from_nanos(self.0.borrow().now))
    }
}
