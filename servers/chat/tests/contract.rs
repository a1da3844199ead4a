//! Each row of the contract, in both framings.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test panics where something is not as it should be"
)]

mod support;

use std::time::Duration;

use chat::{ChatMessage, ChatSettings, Framing, Rate};
use reactor::Limits;
use support::{BOTH, Hall, settings};

const NOTHING: [&str; 0] = [];

#[test]
fn who_connects_is_welcome_and_the_others_hear_of_it() {
    for framing in BOTH {
        let mut hall = Hall::new(framing);
        let first = hall.stage.open();
        assert_eq!(hall.hears(first), ["* welcome, guest-1; /help lists the commands"]);
        let second = hall.stage.open();
        assert_eq!(hall.hears(second), ["* welcome, guest-2; /help lists the commands"]);
        assert_eq!(hall.hears(first), ["* guest-2 joined #lobby"]);
    }
}

#[test]
fn text_is_heard_by_everyone_else() {
    for framing in BOTH {
        let mut hall = Hall::new(framing);
        let [alice, bob, carol] = hall.people(["alice", "bob", "carol"]);
        hall.say_all(alice, &["hello", "", " a  b ", ""]);
        for id in [bob, carol] {
            assert_eq!(hall.hears(id), ["alice: hello", "alice:  a  b "]);
        }
        assert_eq!(hall.hears(alice), NOTHING);
    }
}

#[test]
fn those_who_come_hear_the_last_messages_as_they_were_said() {
    for framing in BOTH {
        let mut hall = Hall::with(ChatSettings { history: 3, ..settings(framing) });
        let [alice] = hall.people(["alice"]);
        let history = |hall: &mut Hall| {
            let id = hall.stage.open();
            let heard = hall.hears(id);
            assert!(heard[0].starts_with("* welcome, "));
            hall.say(id, "/quit");
            heard[1..].to_vec()
        };
        assert_eq!(history(&mut hall), NOTHING);
        hall.say(alice, "one");
        let last = ["* last 1 messages in #lobby", "alice: one", "* end of history"];
        assert_eq!(history(&mut hall), last);
        hall.say_all(alice, &["two", "three", "four", "/name ann", "five", "/who"]);
        let last = [
            "* last 3 messages in #lobby",
            "alice: three",
            "alice: four",
            "ann: five",
            "* end of history",
        ];
        assert_eq!(history(&mut hall), last);
    }
    let mut hall = Hall::with(ChatSettings { history: 0, ..settings(Framing::Line) });
    let [alice] = hall.people(["alice"]);
    hall.say(alice, "one");
    let late = hall.stage.open();
    assert_eq!(hall.hears(late).len(), 1, "and none at all if there is to be none");
}

#[test]
fn a_name_is_told_to_the_room_and_must_be_good_and_free() {
    for framing in BOTH {
        let mut hall = Hall::new(framing);
        let [alice, bob] = hall.people(["alice", "bob"]);
        hall.say(alice, "/name ann");
        for id in [alice, bob] {
            assert_eq!(hall.hears(id), ["* alice is now ann"]);
        }
        for taken in ["bob", "server", "guest-2", "guest-99"] {
            hall.say(alice, &format!("/name {taken}"));
            assert_eq!(hall.hears(alice), [format!("! name taken: {taken}")]);
        }
        for bad in ["a b", &"x".repeat(33), "a\u{202e}b", "a\u{1b}b", "b "] {
            hall.say(alice, &format!("/name {bad}"));
            assert_eq!(hall.hears(alice), ["! bad name"]);
        }
        hall.say(alice, "/name guest-1");
        assert_eq!(hall.hears(alice), ["* ann is now guest-1"], "one's own");
        hall.say(bob, "/name alice");
        hall.forget(&[bob]);
        hall.say(alice, &format!("/name {}", "漢".repeat(32)));
        assert_eq!(hall.hears(bob), [format!("* guest-1 is now {}", "漢".repeat(32))]);
    }
}

#[test]
fn of_two_who_want_a_name_in_one_turn_one_gets_it() {
    let mut hall = Hall::new(Framing::Line);
    let (first, second) = (hall.stage.open(), hall.stage.open());
    hall.forget(&[first, second]);
    hall.say_all(first, &["/name zoe", "/name zoe"]);
    hall.say(second, "/name zoe");
    assert_eq!(
        hall.hears(second),
        ["* guest-1 is now zoe", "* zoe is now zoe", "! name taken: zoe"]
    );
}

#[test]
fn the_commands_that_ask_are_answered() {
    for framing in BOTH {
        let mut hall = Hall::new(framing);
        let [bob, alice] = hall.people(["bob", "alice"]);
        hall.say_all(bob, &["/who", "/list"]);
        assert_eq!(hall.hears(bob), ["* in #lobby: alice, bob"; 2]);
        hall.say(alice, "/join #a");
        hall.forget(&[alice, bob]);
        hall.say_all(bob, &["/who", "/rooms"]);
        assert_eq!(hall.hears(bob), ["* in #lobby: bob", "* #a 1", "* #lobby 1"]);
        hall.say(bob, "/help");
        let help = hall.hears(bob);
        for command in [
            "/name", "/who", "/list", "/whisper", "/rooms", "/join", "/leave", "/login", "/kick",
            "/quit",
        ] {
            assert!(help.iter().any(|line| line.contains(command)), "{command}");
        }
        assert!(help.iter().all(|line| line.starts_with("* ")));
        assert_eq!(hall.hears(alice), NOTHING);
    }
}

#[test]
fn a_whisper_is_heard_by_one_and_acknowledged() {
    for framing in BOTH {
        let mut hall = Hall::new(framing);
        let [alice, bob, carol] = hall.people(["alice", "bob", "carol"]);
        hall.say(alice, "/join #elsewhere");
        hall.forget(&[alice, bob, carol]);
        hall.say_all(
            alice,
            &["/whisper bob are you there?", "/whisper nobody x", "/whisper alice me"],
        );
        assert_eq!(hall.hears(bob), ["[whisper from alice] are you there?"]);
        assert_eq!(
            hall.hears(alice),
            [
                "* whispered to bob",
                "! no such user: nobody",
                "[whisper from alice] me",
                "* whispered to alice"
            ]
        );
        assert_eq!(hall.hears(carol), NOTHING);
    }
}

#[test]
fn a_room_is_entered_and_left_and_gone_when_it_is_empty() {
    for framing in BOTH {
        let mut hall = Hall::new(framing);
        let [alice, bob, carol] = hall.people(["alice", "bob", "carol"]);
        hall.say_all(alice, &["/join #a", "said in a"]);
        assert_eq!(hall.hears(alice), ["* you are in #a"]);
        assert_eq!(hall.hears(bob), ["* alice left #lobby"]);
        hall.say_all(bob, &["/join #a", "hi"]);
        assert_eq!(
            hall.hears(bob),
            ["* you are in #a", "* last 1 messages in #a", "alice: said in a", "* end of history"]
        );
        assert_eq!(hall.hears(alice), ["* bob joined #a", "bob: hi"]);
        assert_eq!(hall.hears(carol), ["* alice left #lobby", "* bob left #lobby"]);
        hall.say_all(alice, &["/join #a", "/leave", "/leave"]);
        assert_eq!(
            hall.hears(alice),
            ["* you are in #a", "* you are in #lobby", "* you are in #lobby"]
        );
        assert_eq!(hall.hears(bob), ["* alice left #a"]);
        assert_eq!(hall.hears(carol), ["* alice joined #lobby"]);
        hall.say_all(bob, &["/join #b", "/join #a"]);
        assert_eq!(hall.hears(bob), ["* you are in #b", "* you are in #a"], "without its history");
        for bad in ["a", "#", "#a b", &format!("#{}", "x".repeat(33))] {
            hall.say(bob, &format!("/join {bad}"));
            assert_eq!(hall.hears(bob), ["! bad room name"]);
        }
    }
}

#[test]
fn rooms_may_be_full_and_there_may_be_too_many() {
    for framing in BOTH {
        let mut hall =
            Hall::with(ChatSettings { room_limit: 1, max_rooms: 3, ..settings(framing) });
        let [alice, bob, carol] = hall.people(["alice", "bob", "carol"]);
        hall.say(alice, "/join #a");
        hall.say(bob, "/join #b");
        hall.forget(&[alice, bob, carol]);
        hall.say_all(carol, &["/join #a", "/join #c"]);
        assert_eq!(hall.hears(carol), ["! #a is full", "! too many rooms"]);
        hall.say_all(alice, &["/join #c", "/join #a", "/leave"]);
        let moves = ["* you are in #c", "* you are in #a", "* you are in #lobby"];
        assert_eq!(hall.hears(alice), moves, "a room that is left is no room too many");
    }
}

#[test]
fn quitting_is_answered_and_told_to_the_others() {
    for framing in BOTH {
        let mut hall = Hall::new(framing);
        let [alice, bob] = hall.people(["alice", "bob"]);
        hall.say_all(alice, &["last words", "/name ann", "/quit", "/who", "more"]);
        assert_eq!(hall.hears(alice), ["* alice is now ann", "* bye"]);
        assert!(hall.stage.has_finished(alice));
        assert_eq!(
            hall.hears(bob),
            ["alice: last words", "* alice is now ann", "* ann left #lobby"]
        );
        hall.say(bob, "/name ann");
        assert_eq!(hall.hears(bob), ["* bob is now ann"]);
    }
}

#[test]
fn commands_that_lack_something_or_are_none() {
    for framing in BOTH {
        let mut hall = Hall::new(framing);
        let [alice] = hall.people(["alice"]);
        for (said, heard) in [
            ("/whisper bob", "! usage: /whisper NAME TEXT"),
            ("/name", "! usage: /name NEW"),
            ("/join", "! usage: /join #room"),
            ("/login alice", "! usage: /login USER PASSWORD"),
            ("/kick", "! usage: /kick NAME"),
            ("/anything-else", "! unknown command: /anything-else"),
            ("/anything else", "! unknown command: /anything"),
            ("/kick alice", "! not an operator"),
            ("/kick nobody", "! not an operator"),
        ] {
            hall.say(alice, said);
            assert_eq!(hall.hears(alice), [heard]);
        }
    }
}

#[test]
fn who_vanishes_or_finishes_is_told_to_the_others() {
    for framing in BOTH {
        let mut hall = Hall::new(framing);
        let [alice, bob, carol] = hall.people(["alice", "bob", "carol"]);
        hall.stage.reset(alice);
        assert_eq!(hall.hears(bob), ["* alice left #lobby"]);
        let half = &hall.wire(b"half a line, then gone")[..9];
        hall.stage.deliver(bob, half);
        hall.stage.finish(bob);
        assert_eq!(hall.hears(carol), ["* alice left #lobby", "* bob left #lobby"]);
        assert!(hall.stage.has_finished(bob));
    }
}

#[test]
fn who_sends_too_much_at_once_is_told_and_closed() {
    for framing in BOTH {
        let mut hall = Hall::with(ChatSettings { message_max: 20, ..settings(framing) });
        let [alice, bob] = hall.people(["alice", "bob"]);
        hall.say_all(alice, &["01234567890123456789", "01234567890123456789x", "not heard"]);
        assert_eq!(hall.hears(alice), ["! too long"]);
        assert!(hall.stage.has_finished(alice));
        assert_eq!(hall.hears(bob), ["alice: 01234567890123456789", "* alice left #lobby"]);
    }
    let mut hall = Hall::new(Framing::Length);
    let id = hall.stage.open();
    hall.forget(&[id]);
    hall.stage.deliver(id, &u32::MAX.to_be_bytes());
    assert_eq!(hall.hears(id), ["! too long"], "before it has come");
    let mut hall = Hall::new(Framing::Line);
    let id = hall.stage.open();
    hall.forget(&[id]);
    hall.stage.deliver(id, &vec![b'x'; 10 << 20]);
    assert_eq!(hall.hears(id), ["! too long"]);
}

#[test]
fn who_speaks_too_fast_is_told_once_a_second_and_not_heard() {
    for framing in BOTH {
        let rate = Rate { per_second: 5, burst: 20 };
        let mut hall = Hall::with(ChatSettings { rate, ..settings(framing) });
        let (fast, other) = (hall.stage.open(), hall.stage.open());
        hall.forget(&[fast, other]);
        let lines: Vec<String> = (0..100).map(|number| number.to_string()).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        hall.say_all(fast, &lines);
        assert_eq!(hall.hears(fast), ["! slow down"]);
        assert_eq!(hall.hears(other).len(), 20);
        hall.stage.pass(Duration::from_secs(1));
        hall.say_all(
            fast,
            &["", "", "", "", "", "", "", "", "a", "b", "c", "d", "/who", "dropped"],
        );
        assert_eq!(hall.hears(fast), ["* in #lobby: guest-1, guest-2", "! slow down"]);
        assert_eq!(hall.hears(other).len(), 4);
        assert!(hall.stage.is_open(fast));
    }
}

#[test]
fn who_is_idle_is_closed_and_the_others_hear_why() {
    let timeout = Duration::from_secs(10);
    let limits = Limits { idle_timeout: timeout, ..Limits::default() };
    let mut hall = Hall::with_limits(settings(Framing::Line), limits);
    let quiet = hall.stage.open();
    hall.stage.pass(timeout / 2);
    let other = hall.stage.open(); // which the first one hears of: a byte has moved
    hall.forget(&[quiet, other]);
    hall.stage.pass(timeout / 2);
    assert_eq!(hall.hears(other), NOTHING);
    hall.say(other, "/who");
    hall.stage.pass(timeout / 2);
    assert_eq!(
        hall.hears(other),
        ["* in #lobby: guest-1, guest-2", "* guest-1 left #lobby (idle)"]
    );
    assert!(hall.stage.has_finished(quiet));
}

#[test]
fn who_does_not_read_is_closed_and_the_others_hear_why() {
    let mut hall = Hall::with(ChatSettings { queue_limit: 10_000, ..settings(Framing::Line) });
    let [slow, fast, speaker] = hall.people(["slow", "fast", "speaker"]);
    hall.stage.stall(slow, 0);
    let text = "x".repeat(400);
    let mut heard = Vec::new();
    for _ in 0..100 {
        hall.say(speaker, &text);
        heard.extend(hall.hears(fast));
    }
    assert!(!hall.stage.is_open(slow));
    assert_eq!(heard.iter().filter(|line| line.starts_with("speaker: x")).count(), 100);
    assert_eq!(heard.iter().filter(|line| *line == "* slow left #lobby (too slow)").count(), 1);
    assert_eq!(hall.hears(speaker), ["* slow left #lobby (too slow)"]);
}

#[test]
fn when_the_server_stops_everyone_hears_all_that_was_said_and_that() {
    for framing in BOTH {
        let mut hall = Hall::new(framing);
        let [alice, bob, carol] = hall.people(["alice", "bob", "carol"]);
        hall.say(carol, "/join #a");
        hall.forget(&[alice, bob, carol]);
        hall.stage.stall(bob, 0);
        let lines: Vec<String> = (0..2000).map(|number| format!("line {number}")).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        hall.say_all(alice, &lines);
        hall.stage.with(|_, cx| cx.stop());
        hall.stage.stall(bob, usize::MAX);
        let heard = hall.hears(bob);
        let expected: Vec<String> = lines.iter().map(|line| format!("alice: {line}")).collect();
        assert_eq!(heard[..2000], expected);
        assert_eq!(heard[2000..], ["* server is going down"]);
        assert_eq!(hall.hears(carol), ["* server is going down"]);
        for id in [alice, bob, carol] {
            assert!(hall.stage.has_finished(id));
        }
    }
}

#[test]
fn a_farewell_is_heard_behind_all_that_was_said_and_nothing_after_it() {
    for framing in BOTH {
        let mut hall = Hall::new(framing);
        let [alice, bob] = hall.people(["alice", "bob"]);
        hall.say(alice, "last words");
        hall.stage.message(ChatMessage::farewell(Duration::from_secs(10)));
        hall.say(alice, "too late");
        hall.stage.finish(alice);
        assert_eq!(hall.hears(bob), ["alice: last words", "* server is going down"]);
        assert_eq!(hall.hears(alice), ["* server is going down"]);
        assert!(hall.stage.has_finished(alice) && hall.stage.has_finished(bob));
    }
}

#[test]
fn what_people_say_cannot_hurt_in_lines_and_is_untouched_in_frames() {
    let said = b"a\x1b[2J\x07\x9b\xff \xc2\x9b\xe2\x80\xae.";
    let cleaned = "a\u{fffd}[2J\u{fffd}\u{fffd}\u{fffd} \u{fffd}\u{fffd}.".as_bytes();
    for (framing, heard) in [(Framing::Line, cleaned), (Framing::Length, &said[..])] {
        let mut hall = Hall::new(framing);
        let [alice, bob] = hall.people(["alice", "bob"]);
        let wire = [hall.wire(said), hall.wire(&[b"/whisper bob ", &said[..]].concat())].concat();
        hall.stage.deliver(alice, &wire);
        assert_eq!(
            hall.hears_bytes(bob),
            [[b"alice: ", heard].concat(), [b"[whisper from alice] ", heard].concat()]
        );
        hall.forget(&[alice]);
        let wire = [hall.wire(b"/whisper \x1b\xff x"), hall.wire(b"/\x1b\xff")].concat();
        hall.stage.deliver(alice, &wire);
        assert_eq!(
            hall.hears(alice),
            ["! no such user: \u{fffd}\u{fffd}", "! unknown command: /\u{fffd}\u{fffd}"]
        );
    }
}

#[test]
fn a_tick_gathers_what_is_said_and_an_answer_comes_behind_it() {
    let tick = Duration::from_millis(5);
    let mut hall = Hall::with(ChatSettings { tick, ..settings(Framing::Line) });
    let [alice, bob] = [hall.stage.open(), hall.stage.open()];
    hall.stage.pass(tick);
    hall.forget(&[alice, bob]);
    hall.say(alice, "one");
    hall.stage.pass(tick / 2);
    hall.say(alice, "two");
    assert_eq!(hall.hears(bob), NOTHING);
    hall.stage.pass(tick / 2);
    assert_eq!(hall.hears(bob), ["guest-1: one", "guest-1: two"]);
    hall.say(alice, "three");
    hall.say(bob, "/who");
    assert_eq!(hall.hears(bob), ["guest-1: three", "* in #lobby: guest-1, guest-2"]);
    hall.stage.pass(tick);
    assert_eq!(hall.hears(bob), NOTHING, "nothing twice");
}

#[test]
fn ten_thousand_rooms_and_nobody_notices() {
    let mut hall = Hall::new(Framing::Line);
    let [watcher, mover] = hall.people(["watcher", "mover"]);
    for number in 0..10_000 {
        hall.say(mover, &format!("/join #room-{number}"));
    }
    assert_eq!(hall.hears(mover).len(), 10_000);
    assert_eq!(hall.hears(watcher), ["* mover left #lobby"]);
    hall.say(watcher, "/rooms");
    assert_eq!(hall.hears(watcher), ["* #lobby 1", "* #room-9999 1"]);
}

#[test]
fn a_hundred_thousand_empty_lines_are_nothing() {
    let mut hall = Hall::with(ChatSettings::default());
    let (one, other) = (hall.stage.open(), hall.stage.open());
    hall.forget(&[one, other]);
    hall.stage.deliver(one, &b"\n".repeat(100_000));
    hall.stage.deliver(one, &b"\r\n".repeat(100_000));
    hall.say(one, "still here");
    assert_eq!(hall.hears(one), NOTHING);
    assert_eq!(hall.hears(other), ["guest-1: still here"]);
}
