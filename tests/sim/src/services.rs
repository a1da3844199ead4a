//! What can be run: each service with peers that suit it, all of it drawn from a seed.

mod chat;
mod echo;
mod everything;
mod tls;

use std::time::Duration;

use clap::ValueEnum;
use reactor::sim::{LoopNumber, Operator, Random, World};
use reactor::{Budgets, Config, Limits, ListenError};

/// A service that can be run in a simulated network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Service {
    /// The echo server's handler, in any of its modes, over streams and datagrams.
    Echo,
    /// The chat server's handler, on one loop or two, among people who check what they hear.
    Chat,
    /// A handler that uses all there is of the library: timers, pauses, pipes, rooms, messages, names.
    Everything,
    /// The echo server's handler under TLS, and pipes to it, among peers some of whom mean harm.
    Tls,
}

impl Service {
    /// The name that the command line has for it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Chat => "chat",
            Self::Everything => "everything",
            Self::Tls => "tls",
        }
    }

    /// A world for this seed, ready to run; its loops record as many steps as asked for.
    pub(crate) fn world(self, seed: u64, trace_records: usize) -> World {
        let mut setting = Setting::new(seed, trace_records);
        match self {
            Self::Echo => echo::furnish(&mut setting),
            Self::Chat => chat::furnish(&mut setting),
            Self::Everything => everything::furnish(&mut setting),
            Self::Tls => tls::furnish(&mut setting),
        }
        setting.world
    }
}

/// A world that is being furnished.
pub(crate) struct Setting {
    pub(crate) world: World,
    /// What is made up is made up from this.
    pub(crate) random: Random,
    pub(crate) config: Config,
    pub(crate) limits: Limits,
    /// Somebody stops the loops amid the storm.
    pub(crate) stops: bool,
    /// The server has little patience with anybody.
    pub(crate) is_impatient: bool,
}

impl Setting {
    /// Small bounds find more than large ones; but now and then they are as they are in earnest.
    fn new(seed: u64, trace_records: usize) -> Self {
        let mut world = World::new(seed);
        let mut random = world.random();
        let random = &mut random;
        if random.chance(0.75) {
            world.set_buffers(random.size(128..4096), random.size(128..4096));
        }
        let budgets = Budgets {
            bytes: choose(random, &[64, 700, 8192, 256 * 1024]),
            accepts: choose(random, &[1, 2, 64]),
            datagrams: choose(random, &[1, 3, 64]),
            messages: choose(random, &[1, 3, 256]),
        };
        let queue_high = choose(random, &[200, 1000, 4096, 256 * 1024]);
        let max_per_ip = choose(random, &[0, 0, 0, 2]);
        if max_per_ip > 0 {
            world.set_hosts(random.below_range(1..4));
        }
        let is_impatient = random.chance(0.15);
        let limits = Limits {
            max_per_ip,
            max_connections: choose(random, &[0, 0, 1, 3]),
            queue_high,
            queue_low: random.size(0..queue_high),
            queue_max: queue_high * choose(random, &[2, 4]),
            input_max: choose(random, &[700, 4096, 1024 * 1024]),
            idle_timeout: Duration::from_secs(choose(random, &[0, 60])),
            ..Limits::default()
        };
        let limits = if is_impatient { impatient(random, limits) } else { limits };
        let block_size = choose(random, &[1024, 64 * 1024]);
        let grace = Duration::from_millis(choose(random, &[10_000, 10_000, 200, 0]));
        let config = Config { block_size, budgets, grace, trace_records, ..Config::default() };
        let stops = random.chance(0.1);
        Self { random: random.clone(), world, config, limits, stops, is_impatient }
    }

    /// Whether the server may turn anybody away who has done nothing wrong.
    pub(crate) fn is_strict(&self) -> bool {
        self.stops || self.is_impatient || self.limits.max_per_ip > 0
    }

    /// What has been opened. At the beginning of a world nothing stands in the way of that.
    fn opened<T>(&self, result: Result<T, ListenError>) -> Option<T> {
        if let Err(error) = &result {
            self.world.complaints().expect(false, || error.to_string());
        }
        result.ok()
    }

    /// Somebody stops the loops at some time, if the dice say so.
    fn add_operator(&mut self, loops: impl IntoIterator<Item = LoopNumber>) {
        if self.stops {
            let loops: Vec<LoopNumber> = loops.into_iter().collect();
            for _ in 0..self.random.size(1..3) {
                let time = self.arrival();
                self.world.add_peer_after(time, Operator::new(loops.clone()));
            }
        }
    }

    /// A time in the first second, or often the very beginning: crowds come together.
    pub(crate) fn arrival(&mut self) -> Duration {
        match self.random.below(2) {
            0 => Duration::from_millis(self.random.below(4) * 100),
            _ => self.random.time(&(Duration::ZERO..Duration::from_secs(1))),
        }
    }

    /// Most say little, and a few say much.
    pub(crate) fn length(&mut self) -> usize {
        let most = choose(&mut self.random, &[10, 200, 3000, 20_000]);
        self.random.size(0..most)
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        let words = count.div_ceil(8);
        let mut bytes: Vec<u8> =
            (0..words).flat_map(|_| self.random.number().to_le_bytes()).collect();
        bytes.truncate(count);
        bytes
    }

    /// A pause that is often none.
    pub(crate) fn pause(&mut self) -> std::ops::Range<Duration> {
        Duration::ZERO..Duration::from_millis(choose(&mut self.random, &[0, 0, 1, 30]))
    }

    /// So much at a time.
    pub(crate) fn size(&mut self) -> std::ops::Range<usize> {
        1..choose(&mut self.random, &[2, 100, 2000, 2000])
    }
}

/// Deadlines that pass, and a queue that is soon too long.
fn impatient(random: &mut Random, limits: Limits) -> Limits {
    let mut some = |choices: &[u64]| Duration::from_millis(choose(random, choices));
    Limits {
        idle_timeout: some(&[0, 50, 300]),
        drain_timeout: some(&[0, 50, 300]),
        linger_timeout: some(&[0, 1, 100, 2000]),
        ..limits
    }
}

/// One of a few.
pub(crate) fn choose<T: Copy + Default>(random: &mut Random, choices: &[T]) -> T {
    random.pick(choices).copied().unwrap_or_default()
}
