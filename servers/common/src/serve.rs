//! A server from its options to its last line.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use reactor::{
    Admission, Counters, Handler, Limits, Reactor, Recorder, ServiceConfig, Setup, ShutdownReport,
    describe,
};

use crate::failure::Failure;
use crate::listeners::{Listeners, Share, attach, check_kinds, listen_at, ready_line};
use crate::loops::{Farewell, Loops};
use crate::metrics::Numbers;
use crate::options::ServerOptions;
use crate::page::MetricsPage;
use crate::stderr::print_error_line;
use crate::stdio::print_line;
use crate::tls::Tls;
use crate::trace::TraceFile;

/// What is served, beside its handlers.
#[derive(Clone, Debug)]
pub struct Program {
    /// Its name in the log.
    pub name: &'static str,
    /// Its own version, beside it in the log: `env!("CARGO_PKG_VERSION")`, said by the program itself.
    pub version: &'static str,
    /// Whether it has datagrams, and so `--listen udp:..`.
    pub datagrams: bool,
    /// What it allows its connections: see [`ServerOptions::limits`].
    pub limits: Limits,
}

/// What a program adds to what all servers do.
#[derive(Default)]
pub struct Extras {
    /// Its own numbers, for the metrics page.
    pub numbers: Option<Numbers>,
    /// How it stops, if it has something to say first.
    pub farewell: Option<Farewell>,
}

impl fmt::Debug for Extras {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (numbers, farewell) = (self.numbers.is_some(), self.farewell.is_some());
        write!(f, "Extras(numbers: {numbers}, farewell: {farewell})")
    }
}

/// Serves until a signal asks for the end. It is [`serve_with`] without extras.
///
/// # Errors
/// As `serve_with`.
pub fn serve<H, F>(options: &ServerOptions, program: Program, make: F) -> Result<(), Failure>
where
    H: Handler,
    F: Fn(u16, ServiceConfig<H::Message>) -> (H, ServiceConfig<H::Message>) + Send + Sync + 'static,
{
    serve_with(options, program, Extras::default(), make)
}

/// Serves until a signal asks for the end.
///
/// `make` makes the handler of each loop, on that loop's thread: it is given the loop's number, and the
/// configuration that the service is to be added with, to which it may add an inbox.
///
/// # Guarantees
/// - All listeners are open, and all loops run, before the first ready line is printed.
/// - With one loop everything is on the calling thread, and there is no other, but for the one that writes a
///   trace while the loop runs.
/// - The limits hold over all loops together.
///
/// # Errors
/// What could not be had: an option, an address, a loop; or the loop that failed.
pub fn serve_with<H, F>(
    options: &ServerOptions,
    program: Program,
    extras: Extras,
    make: F,
) -> Result<(), Failure>
where
    H: Handler,
    F: Fn(u16, ServiceConfig<H::Message>) -> (H, ServiceConfig<H::Message>) + Send + Sync + 'static,
{
    options.check()?;
    check_kinds(options, program.datagrams)?;
    options.check_descriptors()?;
    let trace = options.trace.as_deref().map(TraceFile::open).transpose()?;
    options.log.start();
    let mut listeners = Listeners::open(options)?;
    // An address in use is no reason to make a certificate.
    let tls = Tls::open(&options.tls)?;
    let tls_port = tls.as_ref().and_then(|tls| listeners.speak_tls(tls.server()));
    let metrics = match &options.metrics {
        Some(target) => Some(listen_at(target, options).open_for(1)?),
        None => None,
    };
    let crew = Arc::new(Crew { admission: Admission::new(), limits: program.limits.clone(), make });
    let rest = listeners.shares.split_off(1);
    let setups = (1..).zip(rest).map(|(number, share)| -> Setup {
        let crew = Arc::clone(&crew);
        Box::new(move |reactor| crew.join(reactor, number, share))
    });
    let mut loops = Loops::start(options.config(trace.as_ref()), setups.collect())?;
    let own = listeners.shares.pop().unwrap_or_default();
    crew.join(&mut loops.first, 0, own).map_err(|error| Failure::run(describe(&error)))?;
    loops.farewell = extras.farewell;
    let mut numbers = extras.numbers;
    for listen in metrics.into_iter().flatten() {
        let page = MetricsPage::new(all_counters(&loops), numbers.take());
        let page = loops.first.add_with(page, MetricsPage::config());
        listeners.ready_lines.push(ready_line("http", listen.address()));
        loops.first.listen(&page, listen)?;
    }
    if let Some(trace) = &trace {
        trace.attach(all_recorders(&loops));
        loops.trace = Some(Arc::clone(trace));
    }
    let advice = tls.as_ref().zip(tls_port).map(|(tls, port)| tls.advice(port));
    if let Some(mut tls) = tls {
        loops.reload = Some(Box::new(move || tls.reload()));
    }
    announce(&program, options, &advice.unwrap_or_default(), &listeners.ready_lines);
    let outcome = loops.run();
    // Also if a loop has failed: then most of all.
    let written = trace.map_or(Ok(()), |trace| trace.finish());
    tell_end(&outcome?, options.log.quiet);
    written
}

/// What all loops have in common.
struct Crew<F> {
    admission: Admission,
    limits: Limits,
    make: F,
}

impl<F> Crew<F> {
    /// Adds the service to a loop.
    fn join<H>(&self, reactor: &mut Reactor, number: u16, share: Share) -> io::Result<()>
    where
        H: Handler,
        F: Fn(u16, ServiceConfig<H::Message>) -> (H, ServiceConfig<H::Message>),
    {
        let config =
            ServiceConfig::new().limits(self.limits.clone()).admission(self.admission.clone());
        let (handler, config) = (self.make)(number, config);
        let service = reactor.add_with(handler, config);
        attach(reactor, &service, share)
    }
}

fn all_counters(loops: &Loops) -> Vec<Counters> {
    std::iter::once(loops.first.counters()).chain(loops.others.counters().cloned()).collect()
}

fn all_recorders(loops: &Loops) -> Vec<Recorder> {
    std::iter::once(loops.first.recorder()).chain(loops.others.recorders().cloned()).collect()
}

/// The log first: a script that has read the ready lines may stop the server at once.
fn announce(program: &Program, options: &ServerOptions, advice: &[String], ready_lines: &[String]) {
    log::info!("{}", start_line(program, options.loops));
    if let Some(warning) = options.descriptors_warning() {
        log::warn!("{warning}");
    }
    advice.iter().for_each(|line| log::info!("{line}"));
    ready_lines.iter().for_each(|line| print_line(line));
}

fn start_line(program: &Program, loops: u16) -> String {
    let Program { name, version, limits, .. } = program;
    let idle = match limits.idle_timeout {
        Duration::ZERO => "ever".to_owned(),
        timeout => format!("{timeout:?}"),
    };
    format!(
        "{name} {version} starts: loops {loops}, connections at most {}, of one address {}, idle for {idle}",
        or_unlimited(limits.max_connections),
        or_unlimited(limits.max_per_ip),
    )
}

fn or_unlimited(limit: usize) -> String {
    match limit {
        0 => "any number".to_owned(),
        limit => limit.to_string(),
    }
}

/// The last line. Filters for the log are not meant for it; `-q` is.
fn tell_end(report: &ShutdownReport, quiet: bool) {
    if log::log_enabled!(log::Level::Info) {
        log::info!("stopped: {report}");
    } else if !quiet {
        print_error_line(&format!("stopped: {report}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_line_tells_the_program_and_its_limits() {
        let mut limits = Limits { idle_timeout: Duration::from_secs(120), ..Limits::default() };
        let line = |limits: &Limits| {
            let limits = limits.clone();
            let program = Program { name: "x-server", version: "3.2.1", datagrams: false, limits };
            start_line(&program, 2)
        };
        let text = "x-server 3.2.1 starts: loops 2, connections at most any number, \
                    of one address any number, idle for 120s";
        assert_eq!(line(&limits), text);
        (limits.idle_timeout, limits.max_connections) = (Duration::ZERO, 7);
        let text = line(&limits);
        assert!(text.contains("at most 7,") && text.ends_with(", idle for ever"), "{text}");
    }
}
