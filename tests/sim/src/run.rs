//! Seeds, one after the other, until one fails.

use std::io::{self, IsTerminal, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use reactor::TraceFormat;
use reactor::sim::{Tally, Violation};

use crate::RunOptions;
use crate::services::Service;

/// Steps that are kept of a run that is explained: more than a run takes.
const EXPLAINED: usize = 1 << 22;

/// Whether all seeds were clean.
pub(crate) fn run(options: &RunOptions) -> Result<bool, String> {
    match options.seed {
        Some(seed) if options.explain => explain(options.service, seed),
        Some(seed) => Ok(run_all(options, seed..seed + 1)),
        None => Ok(run_all(options, options.from..options.from.saturating_add(options.seeds))),
    }
}

/// What one run came to.
struct Outcome {
    result: Result<Tally, Violation>,
    /// How long it was, in the world's time.
    took: Duration,
    hashes: Vec<u64>,
}

fn run_seed(service: Service, seed: u64, trace_records: usize) -> Outcome {
    let mut world = service.world(seed, trace_records);
    let result = world.run();
    let hashes = world.recorders().iter().map(|recorder| recorder.hash()).collect();
    Outcome { result, took: world.now(), hashes }
}

/// The trace on standard output, and how it ended on standard error.
fn explain(service: Service, seed: u64) -> Result<bool, String> {
    let mut world = service.world(seed, EXPLAINED);
    let result = world.run();
    let mut traces: Vec<_> = world.recorders().iter().map(|recorder| recorder.trace()).collect();
    if result.is_err() {
        // The loop that had its turn last comes last: that is where a violation was seen.
        traces.sort_by_key(|trace| {
            let last = trace.records().last();
            last.map(|record| trace.origin() + Duration::from_nanos(record.at))
        });
    }
    let mut out = io::BufWriter::new(io::stdout().lock());
    let written = TraceFormat::Sentences.write(&traces, &mut out).and_then(|()| out.flush());
    match written {
        // Who has read enough has the right to leave.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            return Err(format!("cannot write the trace: {error}"));
        }
        _ => {}
    }
    match result {
        Ok(_) => Ok(true),
        Err(violation) => {
            eprintln!("seed {seed}: {violation}");
            Ok(false)
        }
    }
}

/// What all threads have in common.
struct Progress {
    next: AtomicU64,
    end: u64,
    done: AtomicU64,
    /// The lowest seed that failed, and how.
    failure: Mutex<Option<(u64, String)>>,
    sum: Mutex<(Tally, Duration)>,
    began: Instant,
}

fn run_all(options: &RunOptions, seeds: std::ops::Range<u64>) -> bool {
    let progress = Progress {
        next: AtomicU64::new(seeds.start),
        end: seeds.end,
        done: AtomicU64::new(0),
        failure: Mutex::new(None),
        sum: Mutex::new((Tally::default(), Duration::ZERO)),
        began: Instant::now(),
    };
    std::thread::scope(|scope| {
        for number in 0..options.jobs {
            let progress = &progress;
            scope.spawn(move || work(options, progress, number == 0 && io::stderr().is_terminal()));
        }
    });
    report(options, &progress)
}

fn work(options: &RunOptions, progress: &Progress, shows: bool) {
    let mut shown = Instant::now();
    loop {
        let seed = progress.next.fetch_add(1, Ordering::Relaxed);
        if seed >= progress.end || lock(&progress.failure).is_some() {
            break;
        }
        if let Err(text) = try_seed(options, seed, progress) {
            let mut failure = lock(&progress.failure);
            if failure.as_ref().is_none_or(|(lowest, _)| seed < *lowest) {
                *failure = Some((seed, text));
            }
        }
        let done = progress.done.fetch_add(1, Ordering::Relaxed) + 1;
        if shows && shown.elapsed() > Duration::from_millis(200) {
            shown = Instant::now();
            eprint!("\r{done} seeds, {:.0} s ", progress.began.elapsed().as_secs_f64());
        }
    }
    if shows {
        eprint!("\r\x1b[K");
    }
}

fn try_seed(options: &RunOptions, seed: u64, progress: &Progress) -> Result<(), String> {
    // The hash covers all steps, however few are kept.
    let trace_records = usize::from(options.twice);
    let outcome = run_seed(options.service, seed, trace_records);
    let tally = outcome.result.map_err(|violation| violation.to_string())?;
    if options.twice {
        let again = run_seed(options.service, seed, trace_records);
        if again.hashes != outcome.hashes {
            return Err("the second run was another than the first".to_owned());
        }
    }
    let mut sum = lock(&progress.sum);
    sum.0 += tally;
    sum.1 += outcome.took;
    Ok(())
}

fn report(options: &RunOptions, progress: &Progress) -> bool {
    let service = options.service.name();
    let failure = lock(&progress.failure).take();
    if let Some((seed, text)) = failure {
        println!("seed {seed}: {text}");
        println!(
            "replay: cargo run --release -p sim -- --service {service} --seed {seed} --explain"
        );
        return false;
    }
    let (tally, simulated) = *lock(&progress.sum);
    let (done, took) = (progress.done.load(Ordering::Relaxed), progress.began.elapsed());
    let rate = |count: u64| count as f64 / took.as_secs_f64();
    let runs = if options.twice { 2 } else { 1 };
    println!("{service}: {done} seeds, no promise broken");
    println!(
        "  {:.0} seeds/s, {:.0} events/s, in {:.1} s",
        rate(done * runs),
        rate(tally.events * runs),
        took.as_secs_f64()
    );
    println!(
        "  simulated: {} events, {} calls, {} turns, {} bytes, {:.0} s of virtual time",
        tally.events,
        tally.calls,
        tally.turns,
        tally.bytes,
        simulated.as_secs_f64()
    );
    if options.twice {
        println!("  each seed was run twice: no trace differed");
    }
    true
}

/// Nothing that can panic runs under these locks but what ends the program anyway.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
