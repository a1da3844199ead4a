//! Signals as events: a handler that writes a byte into a pipe, which the selector watches.

use std::io;

use mio::{Interest, Registry, Token};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook_mio::v1_0::Signals;

use super::Signal;

impl Signal {
    fn number(self) -> i32 {
        match self {
            Self::Interrupt => SIGINT,
            Self::Terminate => SIGTERM,
            Self::HangUp => SIGHUP,
            Self::User1 => SIGUSR1,
        }
    }

    fn from_number(number: i32) -> Option<Self> {
        [Self::Interrupt, Self::Terminate, Self::HangUp, Self::User1]
            .into_iter()
            .find(|signal| signal.number() == number)
    }
}

/// The signals that are watched, and those that have arrived.
#[derive(Default)]
pub(super) struct SignalSource {
    signals: Option<Signals>,
    /// Whether the pipe has told of some that are not taken yet.
    arrived: bool,
}

impl SignalSource {
    pub(super) fn watch(
        &mut self,
        registry: &Registry,
        key: usize,
        signals: &[Signal],
    ) -> io::Result<()> {
        let numbers = signals.iter().map(|signal| signal.number());
        match &mut self.signals {
            Some(watched) => {
                for number in numbers {
                    watched.add_signal(number)?;
                }
            }
            None => {
                let mut source = Signals::new(numbers)?;
                registry.register(&mut source, Token(key), Interest::READABLE)?;
                self.signals = Some(source);
            }
        }
        Ok(())
    }

    pub(super) fn arrived(&mut self) {
        self.arrived = true;
    }

    pub(super) fn next(&mut self) -> Option<Signal> {
        if !self.arrived {
            return None;
        }
        let next = self.signals.as_mut()?.pending().find_map(Signal::from_number);
        self.arrived = next.is_some();
        next
    }
}
