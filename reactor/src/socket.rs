//! Where to listen, where to connect to, and the options of a socket.
//!
//! Everything here is a description: nothing touches the system before a driver
//! [opens](Listen::open) it.

pub(crate) mod address;
pub(crate) mod connect;
pub(crate) mod listen;
pub(crate) mod options;
pub(crate) mod unix;
