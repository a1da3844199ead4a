//! Without the feature `tls`, nobody has one.

use std::convert::Infallible;
use std::io::{self, IoSlice};

use super::{Fed, Handshake, Plaintext};
use crate::reason::TlsError;
use crate::tls::{Client, Info, Server};
use crate::write_queue::WriteQueue;

pub(crate) struct Tls(Infallible);

impl Tls {
    pub(crate) fn accept(server: Server) -> Self {
        match server.0 {}
    }

    pub(crate) fn connect(client: &Client, _: &str) -> Result<Self, TlsError> {
        match client.0 {}
    }

    pub(crate) fn handshake(&self) -> Handshake {
        match self.0 {}
    }

    pub(crate) fn begin(&mut self) -> Result<(), TlsError> {
        match self.0 {}
    }

    pub(crate) fn is_fit_for(_: &str) -> bool {
        false
    }

    pub(crate) fn info(&mut self) -> Option<Info> {
        match self.0 {}
    }

    pub(crate) fn holds_news(&self) -> bool {
        match self.0 {}
    }

    pub(crate) fn read(&mut self, _: &mut [u8]) -> (Plaintext, Result<(), TlsError>) {
        match self.0 {}
    }

    pub(crate) fn feed(&mut self, _: &[u8], _: &mut [u8]) -> Fed {
        match self.0 {}
    }

    pub(crate) fn is_broken(&self) -> bool {
        match self.0 {}
    }

    pub(crate) fn wants_write(&self) -> bool {
        match self.0 {}
    }

    pub(crate) fn seal(&mut self, _: &WriteQueue, _: bool) -> io::Result<()> {
        match self.0 {}
    }

    pub(crate) fn say_close_notify(&mut self) {
        match self.0 {}
    }

    pub(crate) fn write(
        &mut self,
        _: &mut WriteQueue,
        _: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<()> {
        match self.0 {}
    }
}
