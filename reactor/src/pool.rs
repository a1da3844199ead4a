//! Several loops, one per thread.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::config::{Config, ServiceConfig};
use crate::context::{ConnContext, Context};
use crate::counters::{Counters, Statistics};
use crate::handle::{Handle, inbox};
use crate::handler::Handler;
use crate::id::LOOPS_MAX;
use crate::reactor::Reactor;
use crate::read_buffer::ReadBuffer;
use crate::reason::ShutdownReport;
use crate::trace::Recorder;

/// Sets up one loop of a [`Pool`]: adds services, opens listeners. It runs on the loop's thread.
pub type Setup = Box<dyn FnOnce(&mut Reactor) -> io::Result<()> + Send>;

/// Reactors on threads of their own, each with its own handlers.
///
/// Nothing is shared between them but what is given to them: listeners by
/// [`Listen::open_for`](crate::Listen::open_for), limits by [`Admission`](crate::Admission), handles to
/// each other by [`inbox`].
///
/// # Guarantees
/// - When [`start`](Self::start) returns, every loop is set up.
/// - Dropping the pool stops it, with no grace, and waits for its threads.
///
/// ```
/// use reactor::{Admission, Config, ConnContext, Handler, Listen, Pool, ReadBuffer, ServiceConfig, Setup};
///
/// struct Echo;
/// impl Handler for Echo {
///     type Session = ();
///     type Message = std::convert::Infallible;
///     fn on_open(&mut self, _: &mut ConnContext<'_>) {}
///     fn on_data(&mut self, _: &mut (), input: &mut ReadBuffer, cx: &mut ConnContext<'_>) {
///         cx.forward(input);
///     }
/// }
///
/// let admission = Admission::new();
/// let setups = Listen::at("127.0.0.1:0").open_for(2)?.into_iter().map(|listen| -> Setup {
///     let admission = admission.clone();
///     Box::new(move |reactor| {
///         let echo = reactor.add_with(Echo, ServiceConfig::new().admission(admission));
///         reactor.listen(&echo, listen).map(drop).map_err(std::io::Error::other)
///     })
/// });
/// let pool = Pool::start(Config::default(), setups.collect())?;
/// let report = pool.stop(std::time::Duration::from_secs(1))?;
/// assert_eq!(report.forced, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Pool {
    members: Vec<Member>,
}

#[derive(Debug)]
struct Member {
    control: Handle<Duration>,
    counters: Counters,
    /// Invariant: there is one, once the loop is set up.
    recorder: Option<Recorder>,
    thread: Option<JoinHandle<io::Result<ShutdownReport>>>,
}

impl Pool {
    /// Starts a loop for each of `setups`. They are numbered from `config.loop_number` on.
    ///
    /// # Errors
    /// The first error of a setup, or of making a loop; the others are stopped then. `InvalidInput` if
    /// there are not enough numbers: they are below 1,024.
    pub fn start(config: Config, setups: Vec<Setup>) -> io::Result<Self> {
        if usize::from(config.loop_number) + setups.len() > usize::from(LOOPS_MAX) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many loops"));
        }
        let mut pool = Self { members: Vec::new() };
        let mut ready = Vec::new();
        for (number, setup) in (config.loop_number..).zip(setups) {
            let config = Config { loop_number: number, ..config.clone() };
            let (member, answer) = Member::start(config, setup)?;
            pool.members.push(member);
            ready.push(answer);
        }
        for (member, answer) in pool.members.iter_mut().zip(ready) {
            match answer.recv() {
                Ok((counters, recorder)) => {
                    member.counters = counters;
                    member.recorder = Some(recorder);
                }
                Err(_) => {
                    return Err(member.join().err().unwrap_or_else(|| io::Error::other("no loop")));
                }
            }
        }
        Ok(pool)
    }

    /// What all loops have done so far.
    pub fn statistics(&self) -> Statistics {
        let mut sum = Statistics::default();
        self.members.iter().for_each(|member| sum.merge(&member.counters.read()));
        sum
    }

    /// The counters of each loop, live.
    pub fn counters(&self) -> impl Iterator<Item = &Counters> {
        self.members.iter().map(|member| &member.counters)
    }

    /// The flight recorder of each loop, live.
    pub fn recorders(&self) -> impl Iterator<Item = &Recorder> {
        self.members.iter().filter_map(|member| member.recorder.as_ref())
    }

    /// Asks all loops to [shut down](Reactor::shutdown), and returns at once. Asked again, the shorter
    /// grace counts.
    pub fn shutdown(&self, grace: Duration) {
        for member in &self.members {
            // Full or closed: it is being asked already, or it has stopped.
            let _ = member.control.send(grace);
        }
    }

    /// Whether a loop has ended already, by an error, a panic, or because it was asked to.
    pub fn has_ended(&self) -> bool {
        let ended = |member: &Member| member.thread.as_ref().is_none_or(JoinHandle::is_finished);
        self.members.iter().any(ended)
    }

    /// Waits until all loops have stopped.
    ///
    /// # Errors
    /// The first error that ended a loop, after all others have stopped too.
    pub fn join(mut self) -> io::Result<ShutdownReport> {
        let mut sum = Ok(ShutdownReport::default());
        for member in &mut self.members {
            match (&mut sum, member.join()) {
                (Ok(sum), Ok(report)) => sum.merge(&report),
                (Ok(_), Err(error)) => sum = Err(error),
                (Err(_), _) => {}
            }
        }
        sum
    }

    /// [`shutdown`](Self::shutdown), then [`join`](Self::join).
    ///
    /// # Errors
    /// As `join`.
    pub fn stop(self, grace: Duration) -> io::Result<ShutdownReport> {
        self.shutdown(grace);
        self.join()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shutdown(Duration::ZERO);
        for member in &mut self.members {
            if let Err(error) = member.join() {
                log::debug!("a loop has ended: {error}"); // `start` and `join` tell their caller
            }
        }
    }
}

/// What can be seen of a loop while it runs.
type Live = (Counters, Recorder);

impl Member {
    fn start(config: Config, setup: Setup) -> io::Result<(Self, Receiver<Live>)> {
        let (control, orders) = inbox(64);
        let (ready, answer) = channel();
        let thread = thread::Builder::new().name(format!("reactor {}", config.loop_number)).spawn(
            move || {
                let mut reactor = Reactor::with_config(config)?;
                reactor.add_with(Control, ServiceConfig::new().inbox(orders));
                setup(&mut reactor)?;
                tell_ready(&ready, (reactor.counters(), reactor.recorder()));
                reactor.run()
            },
        )?;
        let member =
            Self { control, counters: Counters::default(), recorder: None, thread: Some(thread) };
        Ok((member, answer))
    }

    fn join(&mut self) -> io::Result<ShutdownReport> {
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(report)) => report,
            Some(Err(_)) => Err(io::Error::other("a loop has panicked")),
            None => Ok(ShutdownReport::default()),
        }
    }
}

/// Who started the pool waits for this, or has given up because another loop failed.
fn tell_ready(ready: &Sender<Live>, live: Live) {
    let _ = ready.send(live);
}

/// Hears when the pool wants the loop to stop, and how fast.
struct Control;

impl Handler for Control {
    type Session = ();
    type Message = Duration;

    fn on_open(&mut self, _: &mut ConnContext<'_>) {}

    fn on_data(&mut self, _: &mut (), _: &mut ReadBuffer, _: &mut ConnContext<'_>) {}

    fn on_message(&mut self, grace: Duration, cx: &mut Context<'_>) {
        cx.shutdown(grace);
    }
}
