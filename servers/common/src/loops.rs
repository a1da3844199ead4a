//! Several loops as one: how they start, how each hears of another's end, and how all of them stop.
//!
//! ```text
//!   main thread                          threads of the pool
//!   loop 0 (signals, metrics)            loop 1 .. loop N-1
//!      |        ^ Warden <-- failed ------- Sentinel (dropped with its loop)
//!      v                                       |
//!   Waiter, when loop 0 is done  <-- ended ----+
//! ```

use std::io;
use std::sync::Arc;
use std::time::Duration;

use reactor::{
    Config, ConnContext, Context, Handle, Handler, Inbox, Pool, Reactor, ReadBuffer, Service,
    ServiceConfig, Setup, ShutdownReport, Signal, Turn, describe, inbox,
};

use crate::failure::Failure;
use crate::trace::{Occasion, TraceFile};

/// The signals that a server hears.
const SIGNALS: [Signal; 4] = [Signal::Interrupt, Signal::Terminate, Signal::HangUp, Signal::User1];

/// What SIGHUP asks for.
pub(crate) type Reload = Box<dyn FnMut()>;

/// Called by the first signal that asks for the end, in place of stopping the loops, with the grace that
/// they are to have. Whoever is told so says what there is to say, and stops each of them, by
/// [`Context::shutdown`]. Whether anybody was told.
pub type Farewell = Box<dyn Fn(Duration) -> bool>;

/// All loops of a program.
pub(crate) struct Loops {
    /// Loop 0, on the thread that made it.
    pub(crate) first: Reactor,
    warden: Service<Warden>,
    pub(crate) others: Pool,
    /// Hears signals after loop 0 has stopped, while others drain; `None` if there are no others.
    waiter: Option<Reactor>,
    grace: Duration,
    /// What SIGUSR1 asks for.
    pub(crate) trace: Option<Arc<TraceFile>>,
    pub(crate) reload: Option<Reload>,
    pub(crate) farewell: Option<Farewell>,
    /// A signal has asked for the end.
    is_asked: bool,
}

impl Loops {
    /// Makes loop 0, and starts the others, each with its setup.
    pub(crate) fn start(config: Config, setups: Vec<Setup>) -> Result<Self, Failure> {
        let grace = config.grace;
        let cannot_start = |error: io::Error| {
            Failure::run(format!("cannot start an event loop: {}", describe(&error)))
        };
        let (failed, orders) = inbox(setups.len());
        let mut first = Reactor::with_config(config.clone()).map_err(cannot_start)?;
        first.watch_signals(&SIGNALS).map_err(cannot_start)?;
        let warden = first.add_with(Warden::default(), ServiceConfig::new().inbox(orders));
        let (ended, roll) = inbox(setups.len());
        let waiter = match setups.len() {
            0 => None,
            count => Some(Self::waiter(count, roll).map_err(cannot_start)?),
        };
        let setups = setups.into_iter().map(|setup| -> Setup {
            let (failed, ended) = (failed.clone(), ended.clone());
            Box::new(move |reactor| {
                reactor.add(Sentinel::new(failed, ended));
                setup(reactor)
            })
        });
        let rest = Config { loop_number: 1, ..config };
        let others = Pool::start(rest, setups.collect()).map_err(cannot_start)?;
        let (trace, reload, farewell, is_asked) = (None, None, None, false);
        Ok(Self { first, warden, others, waiter, grace, trace, reload, farewell, is_asked })
    }

    fn waiter(count: usize, roll: Inbox<()>) -> io::Result<Reactor> {
        let mut waiter = Reactor::new()?;
        waiter.add_with(Roll(count), ServiceConfig::new().inbox(roll));
        Ok(waiter)
    }

    /// Runs until a signal asks for the end, and all loops have come to it.
    pub(crate) fn run(mut self) -> Result<ShutdownReport, Failure> {
        let has_failed = |error: io::Error| {
            Failure::run(format!("an event loop has failed: {}", describe(&error)))
        };
        let mut report = loop {
            match self.first.turn(None).map_err(has_failed)? {
                Turn::Ran => {}
                Turn::Signal(signal) => self.heed(signal),
                Turn::Stopped(report) => break report,
            }
        };
        let is_lost = self.first.get(&self.warden).is_lost;
        if is_lost {
            let error = self.others.stop(Duration::ZERO).err();
            return Err(has_failed(error.unwrap_or_else(|| io::Error::other("it stopped"))));
        }
        if let Some(waiter) = &mut self.waiter {
            await_others(waiter, &self.others, self.trace.as_ref()).map_err(has_failed)?;
        }
        report.merge(&self.others.join().map_err(has_failed)?);
        Ok(report)
    }

    /// What is done comes before what is said of it.
    fn heed(&mut self, signal: Signal) {
        let is_again = self.is_asked || self.first.is_stopping();
        if signal == Signal::HangUp
            && !is_again
            && let Some(reload) = &mut self.reload
        {
            return reload();
        }
        let grace = if is_again { Duration::ZERO } else { self.grace };
        if asks_for_the_end(signal) {
            if !is_again {
                self.watch_on();
            }
            self.is_asked = true;
            let is_told = !is_again && self.farewell.as_ref().is_some_and(|tell| tell(grace));
            if !is_told {
                self.shutdown(grace);
            }
        }
        tell(signal, grace, self.trace.as_ref());
    }

    fn shutdown(&mut self, grace: Duration) {
        self.others.shutdown(grace);
        self.first.shutdown(grace);
    }

    /// From here on the waiter hears signals too, so that none is lost when loop 0 stops before others.
    fn watch_on(&mut self) {
        if let Some(waiter) = &mut self.waiter
            && let Err(error) = waiter.watch_signals(&SIGNALS)
        {
            log::warn!("a second signal may not be heard: {error}");
        }
    }
}

/// Waits for the loops of the pool; a signal makes them stop at once.
fn await_others(
    waiter: &mut Reactor,
    others: &Pool,
    trace: Option<&Arc<TraceFile>>,
) -> io::Result<()> {
    loop {
        match waiter.turn(None)? {
            Turn::Ran => {}
            Turn::Signal(signal) => {
                if asks_for_the_end(signal) {
                    others.shutdown(Duration::ZERO);
                }
                tell(signal, Duration::ZERO, trace);
            }
            Turn::Stopped(_) => return Ok(()),
        }
    }
}

fn asks_for_the_end(signal: Signal) -> bool {
    matches!(signal, Signal::Interrupt | Signal::Terminate)
}

/// The same words for a signal, whichever loop has heard it. A trace is told of when it is written.
fn tell(signal: Signal, grace: Duration, trace: Option<&Arc<TraceFile>>) {
    match (signal, trace) {
        (Signal::User1, Some(trace)) => trace.request(Occasion::Signal),
        _ => log::info!("{}", consequence(signal, grace)),
    }
}

/// What follows from a signal. No grace is that of a second one.
fn consequence(signal: Signal, grace: Duration) -> String {
    let name = match signal {
        Signal::Interrupt => "SIGINT",
        Signal::Terminate => "SIGTERM",
        Signal::HangUp => return "SIGHUP: there is nothing to reload".to_owned(),
        Signal::User1 => return "SIGUSR1: there is no trace to write".to_owned(),
    };
    match grace {
        Duration::ZERO => format!("{name} again: stopping at once"),
        Duration::MAX => format!("{name}: stopping, however long that takes"),
        grace => format!("{name}: stopping, within {grace:?}"),
    }
}

/// What services that have no connections need not say.
macro_rules! no_connections {
    () => {
        type Session = ();

        fn on_open(&mut self, _: &mut ConnContext<'_>) {}

        fn on_data(&mut self, _: &mut (), _: &mut ReadBuffer, _: &mut ConnContext<'_>) {}
    };
}

/// On loop 0: hears when another loop ends without having been asked to, and stops the program then.
#[derive(Default)]
struct Warden {
    is_lost: bool,
}

impl Handler for Warden {
    type Message = ();
    no_connections!();

    fn on_message(&mut self, (): (), cx: &mut Context<'_>) {
        self.is_lost = true;
        cx.shutdown(Duration::ZERO);
    }
}

/// In the waiter: counts the loops that are still there.
struct Roll(usize);

impl Handler for Roll {
    type Message = ();
    no_connections!();

    fn on_message(&mut self, (): (), cx: &mut Context<'_>) {
        self.0 = self.0.saturating_sub(1);
        if self.0 == 0 {
            cx.stop();
        }
    }
}

/// On each loop of the pool: it is dropped with its loop, however that ends.
struct Sentinel {
    failed: Handle<()>,
    ended: Handle<()>,
    was_asked: bool,
}

impl Sentinel {
    fn new(failed: Handle<()>, ended: Handle<()>) -> Self {
        Self { failed, ended, was_asked: false }
    }
}

impl Handler for Sentinel {
    type Message = std::convert::Infallible;
    no_connections!();

    fn on_shutdown(&mut self, _: &mut Context<'_>) {
        self.was_asked = true;
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        // The inboxes have room for each loop once; whoever is gone needs no word.
        let _ = self.ended.send(());
        if !self.was_asked {
            let _ = self.failed.send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reactor::Panics;

    /// Does what it is told when its time has come.
    struct Actor(fn(&mut Context<'_>));

    impl Handler for Actor {
        type Message = std::convert::Infallible;
        no_connections!();

        fn on_timer(&mut self, _: reactor::TimerId, cx: &mut Context<'_>) {
            (self.0)(cx);
        }
    }

    fn add_actor(reactor: &mut Reactor, act: fn(&mut Context<'_>)) {
        let actor = reactor.add(Actor(act));
        reactor.with(&actor, |_, cx| cx.set_timer(Duration::from_millis(1)));
    }

    fn setup(act: fn(&mut Context<'_>)) -> Setup {
        Box::new(move |reactor| {
            add_actor(reactor, act);
            Ok(())
        })
    }

    #[test]
    fn a_loop_that_dies_ends_the_program_with_an_error() {
        let config = Config { panics: Panics::Propagate, ..Config::default() };
        let loops = Loops::start(config, vec![setup(|_| {}), setup(|_| panic!("for a test"))]);
        let failure = loops.unwrap().run().unwrap_err();
        let text = "error: an event loop has failed: a loop has panicked";
        assert_eq!(failure.to_string(), text);
    }

    #[test]
    fn a_loop_that_cannot_be_set_up_is_told() {
        let setup: Setup = Box::new(|_| Err(io::Error::other("no room")));
        let failure = Loops::start(Config::default(), vec![setup]).err().unwrap();
        assert_eq!(failure.to_string(), "error: cannot start an event loop: no room");
    }

    #[test]
    fn the_report_is_that_of_all_loops_and_waits_for_the_last() {
        let mut loops =
            Loops::start(Config::default(), vec![setup(|_| {}), setup(|_| {})]).unwrap();
        loops.shutdown(Duration::from_secs(1));
        let report = loops.run().unwrap();
        assert_eq!((report.drained, report.forced), (0, 0));
    }

    #[test]
    fn every_signal_has_its_name_and_its_consequence() {
        for (signal, grace, told) in [
            (Signal::Terminate, Duration::from_secs(10), "SIGTERM: stopping, within 10s"),
            (Signal::Interrupt, Duration::MAX, "SIGINT: stopping, however long that takes"),
            (Signal::Interrupt, Duration::ZERO, "SIGINT again: stopping at once"),
            (Signal::HangUp, Duration::ZERO, "SIGHUP: there is nothing to reload"),
            (Signal::User1, Duration::MAX, "SIGUSR1: there is no trace to write"),
        ] {
            assert_eq!(consequence(signal, grace), told);
        }
    }

    #[test]
    fn one_loop_takes_no_thread() {
        let mut loops = Loops::start(Config::default(), Vec::new()).unwrap();
        assert!(loops.waiter.is_none());
        assert_eq!(loops.others.counters().count(), 0);
        add_actor(&mut loops.first, |cx| cx.stop());
        assert_eq!(loops.run().unwrap().forced, 0);
    }
}
