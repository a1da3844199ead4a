//! What the tests of the loop share: a handler that records what it hears, and waiting for something.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::time::{Duration, Instant};

use reactor::{
    CloseReason, Config, ConnContext, ConnId, ConnectError, Context, Deadline, Driver, Handler,
    Panics, Reactor, ReadBuffer, Service, ServiceConfig, TimerId,
};

/// Longer than any machine needs; a test that fails waits for so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What a handler heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Open(ConnId),
    Data(ConnId, Vec<u8>),
    Eof(ConnId, Vec<u8>),
    Drained(ConnId),
    Deadline(ConnId, Deadline),
    Close(ConnId, CloseReason),
    ConnectFailed(ConnId, ConnectError),
    Message(u64),
    InboxDrained,
    Timer(TimerId),
    TurnEnd,
    Shutdown,
}

pub(crate) type OnConnection = Box<dyn FnMut(&mut ConnContext<'_>)>;
pub(crate) type OnInput = Box<dyn FnMut(&mut ReadBuffer, &mut ConnContext<'_>)>;
type OnTimer = Box<dyn FnMut(TimerId, &mut Context<'_>)>;
type OnService = Box<dyn FnMut(&mut Context<'_>)>;

/// Records everything, and does what it is told.
pub(crate) struct Probe {
    pub(crate) heard: Vec<Heard>,
    pub(crate) open: OnConnection,
    pub(crate) data: OnInput,
    pub(crate) eof: OnInput,
    pub(crate) drained: OnConnection,
    pub(crate) deadline: OnConnection,
    pub(crate) close: OnConnection,
    pub(crate) connect_failed: OnService,
    pub(crate) message: OnService,
    pub(crate) timer: OnTimer,
    pub(crate) turn_end: OnService,
    pub(crate) shutdown: OnService,
}

impl Default for Probe {
    fn default() -> Self {
        Self {
            heard: Vec::new(),
            open: Box::new(|_| {}),
            data: Box::new(|input, cx| {
                cx.forward(input);
            }),
            eof: Box::new(|_, cx| cx.close()),
            drained: Box::new(|_| {}),
            deadline: Box::new(|cx| cx.close()),
            close: Box::new(|_| {}),
            connect_failed: Box::new(|_| {}),
            message: Box::new(|_| {}),
            timer: Box::new(|_, _| {}),
            turn_end: Box::new(|_| {}),
            shutdown: Box::new(|_| {}),
        }
    }
}

impl Probe {
    pub(crate) fn reasons(&self) -> Vec<CloseReason> {
        let reason = |heard: &Heard| match heard {
            Heard::Close(_, reason) => Some(reason.clone()),
            _ => None,
        };
        self.heard.iter().filter_map(reason).collect()
    }

    pub(crate) fn opened(&self) -> Vec<ConnId> {
        let id = |heard: &Heard| match heard {
            Heard::Open(id) => Some(*id),
            _ => None,
        };
        self.heard.iter().filter_map(id).collect()
    }

    pub(crate) fn data(&self) -> Vec<u8> {
        let bytes = |heard: &Heard| match heard {
            Heard::Data(_, bytes) => Some(bytes.clone()),
            _ => None,
        };
        self.heard.iter().filter_map(bytes).flatten().collect()
    }
}

impl Handler for Probe {
    type Session = ConnId;
    type Message = u64;

    fn on_open(&mut self, cx: &mut ConnContext<'_>) -> ConnId {
        self.heard.push(Heard::Open(cx.id()));
        (self.open)(cx);
        cx.id()
    }

    fn on_data(&mut self, id: &mut ConnId, input: &mut ReadBuffer, cx: &mut ConnContext<'_>) {
        assert_eq!(*id, cx.id(), "a session of another connection");
        self.heard.push(Heard::Data(*id, input.as_slice().to_vec()));
        (self.data)(input, cx);
    }

    fn on_eof(&mut self, id: &mut ConnId, input: &mut ReadBuffer, cx: &mut ConnContext<'_>) {
        self.heard.push(Heard::Eof(*id, input.as_slice().to_vec()));
        (self.eof)(input, cx);
    }

    fn on_drained(&mut self, id: &mut ConnId, cx: &mut ConnContext<'_>) {
        self.heard.push(Heard::Drained(*id));
        (self.drained)(cx);
    }

    fn on_deadline(&mut self, id: &mut ConnId, which: Deadline, cx: &mut ConnContext<'_>) {
        self.heard.push(Heard::Deadline(*id, which));
        (self.deadline)(cx);
    }

    fn on_close(&mut self, id: ConnId, reason: &CloseReason, cx: &mut ConnContext<'_>) {
        self.heard.push(Heard::Close(id, reason.clone()));
        (self.close)(cx);
    }

    fn on_connect_failed(&mut self, id: ConnId, error: ConnectError, cx: &mut Context<'_>) {
        self.heard.push(Heard::ConnectFailed(id, error));
        (self.connect_failed)(cx);
    }

    fn on_message(&mut self, message: u64, cx: &mut Context<'_>) {
        self.heard.push(Heard::Message(message));
        (self.message)(cx);
    }

    fn on_inbox_drained(&mut self, _: &mut Context<'_>) {
        self.heard.push(Heard::InboxDrained);
    }

    fn on_timer(&mut self, timer: TimerId, cx: &mut Context<'_>) {
        self.heard.push(Heard::Timer(timer));
        (self.timer)(timer, cx);
    }

    fn on_turn_end(&mut self, cx: &mut Context<'_>) {
        self.heard.push(Heard::TurnEnd);
        (self.turn_end)(cx);
    }

    fn on_shutdown(&mut self, cx: &mut Context<'_>) {
        self.heard.push(Heard::Shutdown);
        (self.shutdown)(cx);
    }
}

/// A loop on real sockets with one probe that listens, and where.
pub(crate) fn serve(
    probe: Probe,
    config: Config,
) -> (Reactor, Service<Probe>, std::net::SocketAddr) {
    let mut reactor = Reactor::with_config(config).unwrap();
    let service = reactor.add_with(probe, ServiceConfig::new());
    let address = reactor.listen(&service, "127.0.0.1:0").unwrap().address;
    (reactor, service, address.socket_address().unwrap())
}

pub(crate) fn propagating() -> Config {
    Config { panics: Panics::Propagate, ..Config::default() }
}

/// Turns until something is so.
pub(crate) fn turn_until<D: Driver, H: Handler>(
    reactor: &mut Reactor<D>,
    service: &Service<H>,
    mut is_so: impl FnMut(&H) -> bool,
) {
    let until = Instant::now() + PATIENCE;
    while !is_so(reactor.get(service)) {
        assert!(Instant::now() < until, "it does not come to pass");
        reactor.turn(Some(Duration::from_millis(100))).unwrap();
    }
}

/// Bytes that show where they belong.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|index| (index * 31 + index / 251) as u8).collect()
}
