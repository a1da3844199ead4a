//! Whatever people do, the hall knows who is where and what they are called: against a list of them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test panics where something is not as it should be"
)]

mod support;

use std::collections::BTreeMap;

use proptest::prelude::*;
use reactor::ConnId;
use support::{BOTH, Hall};

#[derive(Clone, Debug)]
enum Step {
    Come,
    Quit(usize),
    Vanish(usize),
    Name(usize, usize),
    Join(usize, usize),
    Leave(usize),
}

const NAMES: [&str; 4] = ["ann", "bob", "漢", "guest-1"];
const ROOMS: [&str; 4] = ["#a", "#b", "#漢", "#lobby"];

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::Come),
        1 => (0usize..8).prop_map(Step::Quit),
        1 => (0usize..8).prop_map(Step::Vanish),
        4 => (0usize..8, 0usize..4).prop_map(|(who, name)| Step::Name(who, name)),
        4 => (0usize..8, 0usize..4).prop_map(|(who, room)| Step::Join(who, room)),
        1 => (0usize..8).prop_map(Step::Leave),
    ]
}

struct Person {
    id: ConnId,
    guest: usize,
    name: String,
    room: &'static str,
}

/// One of those who are there.
fn pick(people: &[Person], number: usize) -> Option<usize> {
    (!people.is_empty()).then(|| number % people.len())
}

fn apply(hall: &mut Hall, people: &mut Vec<Person>, guests: &mut usize, step: &Step) {
    match *step {
        Step::Come => {
            *guests += 1;
            let (id, guest) = (hall.stage.open(), *guests);
            people.push(Person { id, guest, name: format!("guest-{guest}"), room: "#lobby" });
        }
        Step::Quit(who) | Step::Vanish(who) => {
            let Some(who) = pick(people, who) else { return };
            let person = people.remove(who);
            match step {
                Step::Quit(_) => hall.say(person.id, "/quit"),
                _ => hall.stage.reset(person.id),
            }
        }
        Step::Name(who, name) => {
            let Some(who) = pick(people, who) else { return };
            let name = NAMES[name];
            hall.say(people[who].id, &format!("/name {name}"));
            let is_held = people.iter().any(|other| other.name == name);
            let is_anothers = name.starts_with("guest-") && people[who].guest != 1;
            if !is_held && !is_anothers {
                people[who].name = name.to_owned();
            }
        }
        Step::Join(who, room) => {
            let Some(who) = pick(people, who) else { return };
            hall.say(people[who].id, &format!("/join {}", ROOMS[room]));
            people[who].room = ROOMS[room];
        }
        Step::Leave(who) => {
            let Some(who) = pick(people, who) else { return };
            hall.say(people[who].id, "/leave");
            people[who].room = "#lobby";
        }
    }
}

proptest! {
    #[test]
    fn the_hall_against_a_list_of_people(
        steps in prop::collection::vec(step(), 1..40), is_line: bool
    ) {
        let mut hall = Hall::new(BOTH[usize::from(is_line)]);
        let (mut people, mut guests) = (Vec::new(), 0);
        for step in &steps {
            apply(&mut hall, &mut people, &mut guests, step);
        }
        let mut rooms: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for person in &people {
            rooms.entry(person.room).or_default().push(&person.name);
        }
        rooms.values_mut().for_each(|names| names.sort_unstable());
        let listed: Vec<String> =
            rooms.iter().map(|(room, names)| format!("* {room} {}", names.len())).collect();
        for person in &people {
            hall.forget(&[person.id]);
            hall.say_all(person.id, &["/who", "/rooms"]);
            let names = rooms[person.room].join(", ");
            let mut expected = vec![format!("* in {}: {names}", person.room)];
            expected.extend(listed.iter().cloned());
            prop_assert_eq!(hall.hears(person.id), expected);
        }
    }
}
