//! TLS: an echo among clients who speak it by hand, and a terminator in reverse, whose plain clients are carried to
//! the same echo under TLS.

mod peer;
mod seeded;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use echo::{Echo, Modes};
use reactor::sim::{Client, Ending};
use reactor::tls::{Client as Speaking, Server};
use reactor::{
    CloseReason, ConnContext, ConnId, Connect, ConnectError, Context, Deadline, Handler, Limits,
    Listen, Origin, Pipes, ReadBuffer, ServiceConfig,
};
use rustls::{ClientConfig, SupportedProtocolVersion};

use self::peer::{Caller, Manner};
use super::{Setting, choose};

const SEALED: &str = "10.0.0.1:9443";
const PLAIN: &str = "10.0.0.1:9080";

static VERSIONS: [&SupportedProtocolVersion; 2] =
    [&rustls::version::TLS12, &rustls::version::TLS13];

pub(super) fn furnish(setting: &mut Setting) {
    seeded::seed(setting.random.number());
    let resumes = setting.random.chance(0.5);
    let server = seeded::server(resumes);
    let version = setting.random.pick(&VERSIONS).copied().unwrap_or(&rustls::version::TLS13);
    let (server, config) = match (server, seeded::client(version)) {
        (Ok(server), Ok(config)) => (Server::from(Arc::new(server)), Arc::new(config)),
        (Err(error), _) | (_, Err(error)) => {
            return setting.world.complaints().expect(false, || error.to_string());
        }
    };
    // Who is merely slow is not turned away, unless the server has little patience with anybody.
    let patience = if setting.is_impatient { &[50, 300][..] } else { &[0, 3_600_000] };
    let limits = Limits {
        handshake_timeout: Duration::from_millis(choose(&mut setting.random, patience)),
        handshakes_max: choose(&mut setting.random, &[0, 1, 3]),
        queue_max: 0,
        ..setting.limits.clone()
    };
    let member = setting.world.add_loop(setting.config.clone());
    let service = ServiceConfig::new().limits(limits.clone());
    let listen = Listen::at(SEALED).tls(server);
    let echo = setting.world.serve(member, Echo::new(Modes::default()), service, listen);
    if setting.opened(echo).is_none() {
        return;
    }
    let to = Connect::to(SEALED).tls(Speaking::from(config.clone())).server_name(seeded::NAME);
    let to = to.timeout(Duration::from_secs(3600));
    let carrier = Carrier { to, pipes: Pipes::new() };
    // Two for each client; and who waits for the echo is not idle.
    let limits =
        Limits { max_connections: 0, max_per_ip: 0, idle_timeout: Duration::ZERO, ..limits };
    let service = ServiceConfig::new().limits(limits);
    let carrier = setting.world.serve(member, carrier, service, PLAIN);
    if setting.opened(carrier).is_none() {
        return;
    }
    add_callers(setting, &config);
    add_clients(setting);
    setting.add_operator([member]);
}

fn add_callers(setting: &mut Setting, config: &Arc<ClientConfig>) {
    const OTHERS: [Manner; 6] = [
        Manner::Cut,
        Manner::Leaves,
        Manner::Http,
        Manner::Fickle,
        Manner::Silent,
        Manner::Garbled,
    ];
    for _ in 0..setting.random.size(1..12) {
        let arrival = setting.arrival();
        let (length, size, pause) = (setting.length(), setting.size(), setting.pause());
        let says = setting.bytes(length);
        // Whom the server may turn away has nothing to complain of.
        let manner = match setting.random.chance(0.6) {
            true if setting.is_strict() => Manner::Cut,
            true => Manner::Honest,
            false => setting.random.pick(&OTHERS).copied().unwrap_or_default(),
        };
        let pace = (size.end, setting.random.time(&pause));
        let caller = Caller::new(SEALED, Arc::clone(config), manner, says, pace);
        setting.world.add_peer_after(arrival, caller);
    }
}

fn add_clients(setting: &mut Setting) {
    for _ in 0..setting.random.size(0..6) {
        let arrival = setting.arrival();
        let length = setting.length();
        let says = setting.bytes(length);
        let ending = choose_ending(setting);
        let (writes, rests) = (setting.size(), setting.pause());
        let (reads, pauses) = (setting.size(), setting.pause());
        let client = Client::new(PLAIN, &says, &says).ending(ending);
        let client = client.writing(writes, rests).reading(reads, pauses);
        // What such a one gets depends on more than its own connection.
        let client = match setting.is_strict() || setting.random.chance(0.5) {
            true => client.lenient(),
            false => client.when_calm(),
        };
        setting.world.add_peer_after(arrival, client);
    }
}

fn choose_ending(setting: &mut Setting) -> Ending {
    const ENDINGS: [Ending; 4] = [Ending::Finish, Ending::Finish, Ending::Close, Ending::Leave];
    setting.random.pick(&ENDINGS).copied().unwrap_or(Ending::Finish)
}

/// Carries plain clients to where TLS is spoken.
struct Carrier {
    to: Connect,
    pipes: Pipes,
}

impl Handler for Carrier {
    type Session = ();
    type Message = Infallible;

    fn on_open(&mut self, cx: &mut ConnContext<'_>) {
        if matches!(cx.origin(), Origin::Accepted(_)) {
            let upstream = cx.connect(self.to.clone());
            self.pipes.join(cx.id(), upstream, cx);
        }
    }

    fn on_data(&mut self, _: &mut (), input: &mut ReadBuffer, cx: &mut ConnContext<'_>) {
        if !self.pipes.on_data(input, cx) {
            input.take(); // the other end has gone
        }
    }

    fn on_eof(&mut self, _: &mut (), input: &mut ReadBuffer, cx: &mut ConnContext<'_>) {
        if !self.pipes.on_eof(input, cx) {
            cx.close();
        }
    }

    fn on_drained(&mut self, _: &mut (), cx: &mut ConnContext<'_>) {
        self.pipes.on_drained(cx);
    }

    fn on_deadline(&mut self, _: &mut (), _: Deadline, cx: &mut ConnContext<'_>) {
        cx.close();
    }

    fn on_close(&mut self, _: (), _: &CloseReason, cx: &mut ConnContext<'_>) {
        self.pipes.on_end(cx.id(), cx);
    }

    fn on_connect_failed(&mut self, id: ConnId, _: ConnectError, cx: &mut Context<'_>) {
        self.pipes.on_end(id, cx);
    }
}
