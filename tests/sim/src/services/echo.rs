//! The echo server's handler, among honest, slow, silent and hostile clients.

use std::collections::BTreeSet;
use std::time::Duration;

use echo::{Echo, Modes};
use reactor::framing::Line;
use reactor::sim::{Client, Ending, Peer, PeerContext, PeerSocket};
use reactor::{Admission, ServiceConfig};

use super::{Setting, choose};

const STREAMS: &str = "10.0.0.1:9002";
const DATAGRAMS: &str = "10.0.0.1:9003";
/// Datagrams over a Unix socket.
const LETTERS: &str = "unix:/run/echo.letters";
const UNIX: &str = "unix:/run/echo.sock";

pub(super) fn furnish(setting: &mut Setting) {
    let loops = choose(&mut setting.random, &[1, 1, 2]);
    let modes = modes(setting);
    // A line that is answered may be longer than any mark, as it may be in the server.
    let queue_max = if modes.has_lines() { 0 } else { setting.limits.queue_max };
    let mut limits = reactor::Limits { queue_max, ..setting.limits.clone() };
    // Who reads without a pause takes something in so long, however much there is.
    let is_hasty = !setting.is_impatient && setting.random.chance(0.2);
    if is_hasty {
        limits.drain_timeout = Duration::from_secs(2);
    }
    // Limits hold for both loops together, or for each.
    let shared = setting.random.chance(0.5).then(Admission::new);
    let mut members = Vec::new();
    for number in 0..loops {
        let config = reactor::Config { loop_number: number, ..setting.config.clone() };
        let member = setting.world.add_loop(config);
        members.push(member);
        let admission = shared.clone().unwrap_or_default();
        let service = ServiceConfig::new().limits(limits.clone()).admission(admission);
        let echo = setting.world.serve(member, Echo::new(modes.clone()), service, STREAMS);
        let Some(echo) = setting.opened(echo) else { return };
        let listener = setting.world.reactor(member).listen(&echo, UNIX);
        setting.opened(listener);
        for (from, to) in [("172.31.0.1:5000", DATAGRAMS), ("unix:/run/asker.letters", LETTERS)] {
            if number == 0 && !setting.stops {
                let socket = setting.world.reactor(member).bind(&echo, to);
                setting.opened(socket);
                setting.world.add_peer(Asker::new(modes.clone(), from, to));
            }
        }
    }
    for _ in 0..setting.random.size(1..30) {
        let arrival = setting.arrival();
        let is_unix = setting.random.chance(0.2);
        let client = client(setting, &modes, if is_unix { UNIX } else { STREAMS });
        let client = if is_hasty { client.reading(1..2000, NO_PAUSE) } else { client };
        let client = if setting.is_strict() { client.lenient() } else { client };
        setting.world.add_peer_after(arrival, client);
    }
    setting.add_operator(members);
}

fn modes(setting: &mut Setting) -> Modes {
    match setting.random.below(3) {
        0 => Modes { prefix: Some("Echo: ".to_owned()), upper: true, ..Modes::default() },
        _ => Modes::default(),
    }
}

fn client(setting: &mut Setting, modes: &Modes, to: &str) -> Client {
    let length = setting.length();
    let says = if modes.has_lines() { lines(setting, length) } else { setting.bytes(length) };
    let hears = answer(&says, modes);
    let ending = choose_ending(setting);
    let (writes, rests) = (setting.size(), setting.pause());
    let (reads, pauses) = (setting.size(), setting.pause());
    Client::new(to, &says, &hears).ending(ending).writing(writes, rests).reading(reads, pauses)
}

fn choose_ending(setting: &mut Setting) -> Ending {
    const ENDINGS: [Ending; 7] = [
        Ending::Finish,
        Ending::Finish,
        Ending::Finish,
        Ending::Close,
        Ending::Leave,
        Ending::Reset,
        Ending::Stay,
    ];
    setting.random.pick(&ENDINGS).copied().unwrap_or(Ending::Finish)
}

/// Whole lines, some of them empty, some that end as they do elsewhere.
fn lines(setting: &mut Setting, length: usize) -> Vec<u8> {
    let mut says = Vec::new();
    while says.len() < length {
        let line = setting.random.size(0..200);
        says.extend((0..line).map(|_| b'a' + choose(&mut setting.random, &[0, 1, 2, 25])));
        says.extend(if setting.random.chance(0.5) { &b"\n"[..] } else { b"\r\n" });
    }
    says
}

/// What is to come back for whole lines, or for bytes.
fn answer(says: &[u8], modes: &Modes) -> Vec<u8> {
    if !modes.has_lines() {
        return says.to_vec();
    }
    let mut hears = Vec::new();
    for line in says.split_inclusive(|&byte| byte == b'\n') {
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        let ending = line.get(text.len()..).unwrap_or_default();
        modes.answer(&Line { text, ending }, &mut hears);
    }
    hears
}

/// Asks by datagrams, which may be lost; once nothing goes wrong, each of a few that come together has to be
/// answered. Before that it may be gone when the answer comes.
struct Asker {
    modes: Modes,
    from: &'static str,
    to: &'static str,
    socket: Option<PeerSocket>,
    asked: u32,
    expected: BTreeSet<Vec<u8>>,
    /// What was asked in calm, and is not answered yet.
    open: Option<BTreeSet<Vec<u8>>>,
    complaint: Option<String>,
}

/// How long it waits for an answer before it asks again.
const PATIENCE: Duration = Duration::from_millis(30);
/// So many at once, when they are.
const TOGETHER: u32 = 4;
/// Readers who take all that there is.
const NO_PAUSE: std::ops::Range<Duration> = Duration::ZERO..Duration::ZERO;
/// What it asks before things are calm.
const QUESTIONS: u32 = 20;

impl Asker {
    fn new(modes: Modes, from: &'static str, to: &'static str) -> Self {
        Self {
            modes,
            from,
            to,
            socket: None,
            asked: 0,
            expected: BTreeSet::new(),
            open: None,
            complaint: None,
        }
    }

    fn hear(&mut self, socket: PeerSocket, cx: &mut PeerContext<'_>) {
        let mut room = [0; 1024];
        while let Ok((count, _)) = cx.receive(socket, &mut room) {
            let answer = room.get(..count).unwrap_or_default();
            if self.expected.contains(answer) {
                self.open.as_mut().map(|open| open.remove(answer));
            } else {
                let text = format!("a datagram of {count} bytes answers nothing that was asked");
                self.complaint.get_or_insert(text);
            }
        }
    }

    fn ask(&mut self, socket: PeerSocket, cx: &mut PeerContext<'_>) {
        self.asked += 1;
        let least = usize::from(cx.is_calm()); // those are to differ
        let question = format!("question {} ", self.asked).repeat(cx.random().size(least..5));
        let mut answer = Vec::new();
        self.modes.answer_datagram(question.as_bytes(), &mut answer);
        self.expected.insert(answer.clone());
        // There is always room for the few in calm.
        if cx.send(socket, question.as_bytes(), self.to).is_ok()
            && let Some(open) = &mut self.open
        {
            open.insert(answer);
        }
    }
}

impl Peer for Asker {
    fn act(&mut self, cx: &mut PeerContext<'_>) {
        if self.is_done() {
            return;
        }
        if self.socket.is_none() {
            self.socket = cx.bind(self.from);
        }
        let Some(socket) = self.socket else { return };
        self.hear(socket, cx);
        if self.is_done() {
            cx.unbind(socket);
        } else if cx.is_calm() && self.open.is_none() {
            self.open = Some(BTreeSet::new());
            (0..TOGETHER).for_each(|_| self.ask(socket, cx));
        } else if self.asked < QUESTIONS && !cx.is_calm() {
            self.ask(socket, cx);
            if cx.random().chance(0.2) {
                cx.unbind(socket);
                self.socket = None;
            }
            cx.wake_after(PATIENCE);
        }
    }

    fn is_done(&self) -> bool {
        self.complaint.is_some() || self.open.as_ref().is_some_and(BTreeSet::is_empty)
    }

    fn verdict(&self) -> Result<(), String> {
        match &self.complaint {
            Some(complaint) => Err(complaint.clone()),
            None if self.is_done() => Ok(()),
            None => Err("a datagram is not answered".to_owned()),
        }
    }
}
