//! The system's sockets, on loopback.

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use reactor::{Address, Bind, Driver, Listen, MioDriver, Target};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::ground::{Ground, Hope, Watcher};
use crate::language::Kind;
use crate::script::Place;

/// Longer than any machine needs for what must come; a failing scenario waits for so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// The same when something has failed already.
const HURRY: Duration = Duration::from_secs(3);

/// For what need not come. A longer one would find more, and nothing fails for its being short.
const QUIET: Duration = Duration::from_millis(10);

/// Whether something that must come did not: what is played has failed, and may as well hurry.
static GAVE_UP: AtomicBool = AtomicBool::new(false);

pub(crate) struct Loopback {
    driver: MioDriver,
    directory: PathBuf,
    /// One of 127.0.0.0/8 that nobody else is on: a port that was left is not taken by a stranger.
    ip: IpAddr,
    files: u32,
    /// Bound, but nobody listens.
    deserted: Vec<Socket>,
    hoard: Vec<File>,
}

impl Loopback {
    pub(crate) fn new() -> Self {
        static GROUNDS: AtomicU32 = AtomicU32::new(0);
        let ground = GROUNDS.fetch_add(1, Ordering::Relaxed);
        let process = std::process::id();
        let directory = std::env::temp_dir().join(format!("reactor-kernel-{process}-{ground}"));
        fs::create_dir_all(&directory).unwrap();
        let [.., high, low] = (process ^ process >> 16).to_be_bytes();
        let ip = Ipv4Addr::new(127, high.max(1), low, 1 + (ground % 250) as u8).into();
        let driver = MioDriver::new().unwrap();
        Self { driver, directory, ip, files: 0, deserted: Vec::new(), hoard: Vec::new() }
    }

    fn path(&mut self) -> PathBuf {
        self.files += 1;
        self.directory.join(self.files.to_string())
    }

    fn target(&mut self, kind: Kind) -> Target {
        match kind {
            Kind::Tcp | Kind::Udp => SocketAddr::new(self.ip, 0).into(),
            Kind::Unix | Kind::Datagram => Target::Unix(self.path()),
            Kind::Names => panic!("names have no sockets"),
        }
    }
}

impl Drop for Loopback {
    fn drop(&mut self) {
        self.hoard.clear();
        fs::remove_dir_all(&self.directory).unwrap();
    }
}

impl Ground for Loopback {
    type Driver = MioDriver;

    fn driver(&mut self) -> &mut MioDriver {
        &mut self.driver
    }

    fn settle(&mut self, watcher: &mut dyn Watcher) {
        let began = Instant::now();
        let patience = match GAVE_UP.load(Ordering::Relaxed) {
            true => HURRY,
            false => PATIENCE,
        };
        loop {
            let timeout = match watcher.hope() {
                Hope::Missing => patience.saturating_sub(began.elapsed()),
                Hope::Optional => QUIET,
                Hope::Fulfilled => Duration::ZERO,
            };
            let mut came = false;
            let on_event = |token, readiness| {
                came = true;
                watcher.event(token, readiness);
            };
            let woken = self.driver.wait(Some(timeout), on_event).unwrap();
            let is_missing = watcher.hope() == Hope::Missing;
            if !came && (woken || !is_missing || began.elapsed() >= patience) {
                GAVE_UP.fetch_or(is_missing && !woken, Ordering::Relaxed);
                return;
            }
        }
    }

    fn listen(&mut self, kind: Kind) -> Listen {
        Listen::at(self.target(kind))
    }

    fn bind(&mut self, kind: Kind) -> Bind {
        Bind::at(self.target(kind))
    }

    fn empty(&mut self, kind: Kind, place: Place) -> Address {
        assert_ne!(place, Place::Former);
        if matches!(kind, Kind::Unix | Kind::Datagram) && place == Place::Missing {
            return Address::Unix(Some(self.path().into()));
        }
        let (domain, address) = match self.target(kind) {
            Target::Ip(address) => (Domain::IPV4, SockAddr::from(address)),
            Target::Unix(path) => (Domain::UNIX, SockAddr::unix(path).unwrap()),
            Target::Name(name) => panic!("{name} is a name"),
        };
        let kind = match kind {
            Kind::Tcp | Kind::Unix => Type::STREAM,
            _ => Type::DGRAM,
        };
        let socket = Socket::new(domain, kind, None).unwrap();
        socket.bind(&address).unwrap();
        let address = socket.local_addr().unwrap();
        match (address.as_socket(), address.as_pathname()) {
            (Some(address), _) => {
                // A datagram socket is somebody: its port is left, and is nobody's on this address.
                if kind == Type::STREAM {
                    self.deserted.push(socket);
                }
                Address::Ip(address)
            }
            (None, path) => Address::Unix(path.map(Into::into)),
        }
    }

    /// Loopback is smooth.
    fn set_rough(&mut self, _: bool) {}

    fn exhaust(&mut self, exhaust: bool) {
        self.hoard.clear();
        while exhaust && let Ok(file) = File::open("/dev/null") {
            self.hoard.push(file);
        }
    }
}
