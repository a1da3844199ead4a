//! The chat server's handler, on one loop or two: people who come and go between rooms and check what they
//! hear, among others who say nonsense, do not read, or vanish.

mod model;
mod person;

use std::time::Duration;

use chat::{ChatLoops, ChatSettings, Framing, Rate};
use reactor::sim::{Client, Ending};
use reactor::{Admission, Config, Limits, ServiceConfig};

use self::model::Model;
use self::person::{Person, Plan};
use super::{Setting, choose};

const HERE: &str = "10.0.0.1:9001";
const ROOMS: [&str; 3] = ["#lobby", "#a", "#b"];

pub(super) fn furnish(setting: &mut Setting) {
    let loops = choose(&mut setting.random, &[1, 1, 2, 3]);
    let settings = settings(setting);
    let framing = settings.framing;
    // Where there is a limit, whoever does not keep up is closed, and may have done no wrong.
    let queue_max = choose(&mut setting.random, &[0, 0, 4096, 1 << 20]);
    let limits = Limits {
        queue_max,
        input_max: 0,
        max_connections: 0,
        max_per_ip: 0,
        idle_timeout: if setting.is_impatient {
            setting.limits.idle_timeout
        } else {
            Duration::ZERO
        },
        ..setting.limits.clone()
    };
    let chat = ChatLoops::new(settings, loops);
    let admission = Admission::new();
    let mut members = Vec::new();
    for number in 0..loops {
        let config = Config { loop_number: number, ..setting.config.clone() };
        let member = setting.world.add_loop(config);
        members.push(member);
        let Some((handler, inbox)) = chat.part(number) else { return };
        let service =
            ServiceConfig::new().limits(limits.clone()).admission(admission.clone()).inbox(inbox);
        let service = setting.world.serve(member, handler, service, HERE);
        if setting.opened(service).is_none() {
            return;
        }
    }
    let is_lenient = setting.is_strict() || queue_max > 0;
    add_people(setting, framing, is_lenient);
    for _ in 0..setting.random.size(0..6) {
        let arrival = setting.arrival();
        let nuisance = nuisance(setting);
        setting.world.add_peer_after(arrival, nuisance);
    }
    setting.add_operator(members);
}

fn settings(setting: &mut Setting) -> ChatSettings {
    let random = &mut setting.random;
    ChatSettings {
        framing: if random.chance(0.5) { Framing::Line } else { Framing::Length },
        rate: Rate { per_second: 0, burst: 0 },
        tick: Duration::from_millis(choose(random, &[0, 0, 1, 50])),
        history: choose(random, &[0, 1, 10]),
        // How much is said in a turn, and is on its way between loops, follows from it.
        queue_limit: choose(random, &[0, 400, 4000, 1 << 20]),
        inbox: choose(random, &[1, 2, 1000]),
        ..ChatSettings::default()
    }
}

fn add_people(setting: &mut Setting, framing: Framing, is_lenient: bool) {
    let count = setting.random.size(1..8);
    let model = Model::new(count);
    for number in 0..count {
        let plan = Plan {
            number,
            framing,
            is_lenient,
            steps: steps(setting),
            writes: (setting.size(), setting.pause()),
            reads: (setting.size(), setting.pause()),
        };
        let arrival = setting.arrival();
        setting.world.add_peer_after(arrival, Person::new(HERE, plan, model.clone()));
    }
}

/// What somebody does: so many lines in a room, and on to the next.
fn steps(setting: &mut Setting) -> Vec<(&'static str, usize)> {
    let most = choose(&mut setting.random, &[2, 20, 200]);
    let moves = choose(&mut setting.random, &[1, 1, 2, 12]);
    let mut steps = vec![("#lobby", setting.random.size(0..most))];
    for _ in 1..setting.random.size(1..moves + 1) {
        let room = setting.random.pick(&ROOMS).copied().unwrap_or("#lobby");
        steps.push((room, setting.random.size(0..most)));
    }
    steps
}

/// One who says anything, to whatever end.
fn nuisance(setting: &mut Setting) -> Client {
    let length = setting.length();
    let says = match setting.random.below(3) {
        0 => setting.bytes(length),
        1 => b"/join #a\n/who\n/rooms\n\n/name x\nhello\n/leave\n".repeat(length / 40 + 1),
        _ => vec![b'\n'; length],
    };
    let endings = [Ending::Finish, Ending::Leave, Ending::Reset, Ending::Stay, Ending::Stay];
    let ending = setting.random.pick(&endings).copied().unwrap_or(Ending::Finish);
    let (writes, rests) = (setting.size(), setting.pause());
    Client::new(HERE, &says, b"").hearing_anything().ending(ending).writing(writes, rests)
}
