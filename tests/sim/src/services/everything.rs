//! A handler that uses all there is of the library. The first byte that a client says chooses what its
//! connection is about.

mod handler;
mod peers;

use std::time::Duration;

use reactor::sim::{Chatter, Client, Ending, LoopNumber};
use reactor::{Config, Handle, Inbox, Limits, ServiceConfig, inbox};

use self::handler::{Everything, GREETING, Word};
use self::peers::{Talker, Upstream};
use super::{Setting, choose};

const HERE: &str = "10.0.0.1:9000";
/// Where a server echoes, and where nobody listens.
pub(crate) const UPSTREAM: &str = "10.9.0.1:7";
/// The same over a Unix socket, and one that does not exist.
pub(crate) const UPSTREAM_UNIX: &str = "unix:/run/upstream.sock";
pub(crate) const NOBODY_UNIX: &str = "unix:/run/nobody.sock";
pub(crate) const NOBODY: &str = "10.9.0.1:8";
/// A name of two addresses: nobody is at the first, and at times nobody says so.
pub(crate) const NAME: &str = "upstream.test:7";
pub(crate) const NO_NAME: &str = "nobody.test:7";

pub(super) fn furnish(setting: &mut Setting) {
    setting.world.set_name("upstream.test", [[10, 9, 0, 2].into(), [10, 9, 0, 1].into()]);
    if setting.random.chance(0.3) {
        setting.world.set_silent([10, 9, 0, 2].into());
    }
    setting.world.add_peer(Upstream::new(UPSTREAM));
    setting.world.add_peer(Upstream::new(UPSTREAM_UNIX));
    let members = add_loops(setting);
    let talkers = setting.random.size(0..6);
    for number in 0..talkers {
        let arrival = setting.arrival();
        setting.world.add_peer_after(arrival, Talker::new(HERE, number));
    }
    setting.add_operator(members);
    for _ in 0..setting.random.size(1..20) {
        let arrival = setting.arrival();
        let client = client(setting);
        let client = if setting.is_strict() { client.lenient() } else { client };
        setting.world.add_peer_after(arrival, client);
    }
}

/// One loop, or two that speak to each other; and threads that speak to the first.
fn add_loops(setting: &mut Setting) -> Vec<LoopNumber> {
    let capacity = choose(&mut setting.random, &[1, 4, 1000]);
    let loops = choose(&mut setting.random, &[1, 1, 2]);
    let (handles, inboxes): (Vec<_>, Vec<_>) = (0..loops).map(|_| inbox(capacity)).unzip();
    let threads = choose(&mut setting.random, &[0, 1, 3]);
    for (sender, handle) in (0..threads).zip(handles.iter().cycle()) {
        let mut number = 0;
        let words = Chatter::new(handle.clone(), 20, setting.pause(), move |random| {
            number += 1;
            Word { sender, number, relays: random.below(3) }
        });
        setting.world.add_peer(words);
    }
    let neighbours = handles.iter().cycle().skip(1);
    let loops = inboxes.into_iter().zip(neighbours).enumerate();
    loops
        .filter_map(|(number, (words, neighbour))| add_loop(setting, number, words, neighbour))
        .collect()
}

fn add_loop(
    setting: &mut Setting,
    number: usize,
    words: Inbox<Word>,
    neighbour: &Handle<Word>,
) -> Option<LoopNumber> {
    let loop_number = u16::try_from(number).ok()?;
    let member = setting.world.add_loop(Config { loop_number, ..setting.config.clone() });
    let (complaints, faults) = (setting.world.complaints(), setting.world.faults());
    let random = setting.world.random();
    let handler = Everything::new(complaints, faults, random, neighbour.clone(), setting.stops);
    // Who asks for much at once is not slow, unless nobody has patience.
    let queue_max = if setting.is_impatient { setting.limits.queue_max } else { 1024 * 1024 };
    let limits = Limits { queue_max, ..setting.limits.clone() };
    let service = ServiceConfig::new().limits(limits).inbox(words);
    let service = setting.world.serve(member, handler, service, HERE);
    let service = setting.opened(service)?;
    setting.world.reactor(member).with(&service, |handler, cx| handler.wind_up(cx));
    Some(member)
}

fn client(setting: &mut Setting) -> Client {
    let role = choose(&mut setting.random, b"elgppwdfxxxccz");
    let length = setting.length();
    let body = setting.bytes(length);
    let (writes, rests) = (setting.size(), setting.pause());
    let (reads, pauses) = (setting.size(), setting.pause());
    let client = match role {
        b'l' => {
            let body = body.split(|&byte| byte == 0).flat_map(|line| [line, b"\n"].concat());
            let body: Vec<u8> = body.collect();
            // Who does not end its line is closed, when it has said more than may be left unconsumed.
            let tail = vec![b'.'; setting.random.size(0..10_000)];
            let says = [body.clone(), tail].concat();
            let mut lines = says.split(|&byte| byte == b'\n');
            let too_long = lines.any(|line| line.len() > setting.limits.input_max);
            let client = speaks(role, &says, &body);
            if too_long { client.lenient() } else { client }
        }
        // Who reads slowly may not have all of it when patience with who hangs up is over.
        b'g' => return speaks(role, &body, GREETING).ending(Ending::Close).writing(writes, rests),
        b'd' => speaks(role, b"tick tock", b"!!!").ending(Ending::Close),
        b'x' => speaks(role, &body, b"").hearing_anything().ending(careless(setting)),
        b'c' => return proxied(setting, &body),
        // Nobody reads it, so it is little; and the server must notice that it is gone all the same.
        b'z' => return speaks(role, b"zzz", b"").hearing_anything().ending(Ending::Reset),
        _ => speaks(role, &body, &body),
    };
    client.writing(writes, rests).reading(reads, pauses)
}

fn speaks(role: u8, body: &[u8], hears: &[u8]) -> Client {
    Client::new(HERE, &[&[role], body].concat(), hears)
}

fn careless(setting: &mut Setting) -> Ending {
    let endings = [Ending::Finish, Ending::Close, Ending::Leave, Ending::Reset, Ending::Stay];
    setting.random.pick(&endings).copied().unwrap_or(Ending::Finish)
}

/// By way of the proxy: to a server, to one that is only to be found by its second address, to nobody, or
/// to a name that nobody has.
fn proxied(setting: &mut Setting, body: &[u8]) -> Client {
    let target = choose(&mut setting.random, b"gnhrus");
    let faults = setting.world.faults();
    let is_sure = faults.connect_lost == 0.0
        && faults.name_failed == 0.0
        && faults.no_descriptors == 0.0
        && faults.reset == 0.0
        && faults.panic == 0.0;
    let waits = setting.random.chance(0.3); // then nothing of that matters
    let is_sure = (is_sure || waits) && setting.limits.max_connections == 0;
    let says = [&[b'c', target], body].concat();
    let client = Client::new(HERE, &says, body).reading(1..2000, Duration::ZERO..Duration::ZERO);
    let client = if waits { client.when_calm() } else { client };
    if is_sure && matches!(target, b'g' | b'n' | b'h') { client } else { client.lenient() }
}
