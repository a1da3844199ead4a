//! Accounts, operators, and who is who.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test panics where something is not as it should be"
)]

mod support;

use std::net::SocketAddr;
use std::time::Duration;

use chat::{ChatSettings, Framing};
use reactor::ConnId;
use support::{BOTH, Hall, accounts, settings};

const NOTHING: [&str; 0] = [];

fn hall(framing: Framing, require_login: bool) -> Hall {
    let accounts = accounts(&[("alice", "pass word", true), ("bob", "b", false)]);
    Hall::with(ChatSettings { accounts, require_login, ..settings(framing) })
}

fn log_in(hall: &mut Hall, id: ConnId, user: &str, password: &str) -> Vec<String> {
    hall.forget(&[id]);
    hall.say(id, &format!("/login {user} {password}"));
    hall.hears_at_last(id)
}

#[test]
fn a_login_is_answered_and_a_new_name_is_told_as_one() {
    for framing in BOTH {
        let mut hall = hall(framing, false);
        let [one, other] = hall.people(["one", "other"]);
        let answer = log_in(&mut hall, one, "alice", "pass word");
        assert_eq!(answer, ["* logged in as alice", "* one is now alice"]);
        assert_eq!(hall.hears(other), ["* one is now alice"]);
        hall.say(other, "/name bob");
        assert_eq!(hall.hears(other), ["! name taken: bob"], "the name of an account");
        hall.say_all(one, &["/name al", "/name alice"]);
        assert_eq!(hall.hears(one), ["* alice is now al", "* al is now alice"]);
    }
}

#[test]
fn what_is_said_behind_a_login_waits_for_its_outcome() {
    let mut hall = hall(Framing::Line, false);
    let [one, other] = hall.people(["one", "other"]);
    hall.say_all(one, &["before", "/login alice pass word", "after", "/who"]);
    assert_eq!(hall.hears(other), ["one: before"]);
    let mut heard = hall.hears_at_last(one);
    heard.extend(hall.hears(one));
    assert_eq!(heard, ["* logged in as alice", "* one is now alice", "* in #lobby: alice, other"]);
    assert_eq!(hall.hears(other), ["* one is now alice", "alice: after"]);
}

#[test]
fn a_wrong_password_and_an_unknown_user_fail_alike_and_not_for_ever() {
    let mut hall = hall(Framing::Line, false);
    let [one] = hall.people(["one"]);
    for (user, password) in [("alice", "wrong"), ("nobody", "x"), ("bad\u{202e}", "x")] {
        assert_eq!(log_in(&mut hall, one, user, password), ["! login failed"]);
    }
    assert_eq!(log_in(&mut hall, one, "alice", "pass word"), ["! try later"], "the address");
    let elsewhere = hall.stage.open_from(SocketAddr::from(([10, 0, 0, 1], 1)).into());
    hall.forget(&[elsewhere]);
    assert_eq!(log_in(&mut hall, elsewhere, "alice", "wrong"), ["! login failed"]);
    assert_eq!(log_in(&mut hall, elsewhere, "alice", "wrong"), ["! login failed"]);
    assert_eq!(log_in(&mut hall, elsewhere, "alice", "pass word"), ["! try later"], "the account");
    hall.stage.pass(Duration::from_secs(61));
    hall.forget(&[one, elsewhere]);
    let answer = log_in(&mut hall, elsewhere, "alice", "pass word");
    assert_eq!(answer[0], "* logged in as alice");
}

#[test]
fn no_storm_brings_more_than_three_guesses() {
    let mut hall = hall(Framing::Line, false);
    let people: Vec<ConnId> = (0..8).map(|_| hall.stage.open()).collect();
    hall.forget(&people);
    people.iter().for_each(|id| hall.say(*id, "/login alice wrong"));
    let answers: Vec<String> = people.iter().map(|id| hall.hears_at_last(*id).remove(0)).collect();
    let count = |text: &str| answers.iter().filter(|answer| *answer == text).count();
    assert_eq!((count("! login failed"), count("! try later")), (3, 5));
}

#[test]
fn the_second_login_closes_the_first() {
    for framing in BOTH {
        let mut hall = hall(framing, false);
        let [first, second, other] = hall.people(["first", "second", "other"]);
        log_in(&mut hall, first, "bob", "b");
        hall.forget(&[first, second, other]);
        let answer = log_in(&mut hall, second, "bob", "b");
        assert_eq!(answer, ["* bob left #lobby", "* logged in as bob", "* second is now bob"]);
        assert_eq!(hall.hears(first), ["! logged in elsewhere"]);
        assert!(hall.stage.has_finished(first));
        assert_eq!(hall.hears(other), ["* bob left #lobby", "* second is now bob"]);
        assert_eq!(
            log_in(&mut hall, second, "bob", "b"),
            ["* logged in as bob"],
            "it is the first"
        );
        assert!(!hall.stage.has_finished(second));
    }
}

#[test]
fn operators_kick_and_others_do_not() {
    for framing in BOTH {
        let mut hall = hall(framing, false);
        let [one, two, other] = hall.people(["one", "two", "other"]);
        log_in(&mut hall, one, "alice", "pass word");
        log_in(&mut hall, two, "bob", "b");
        hall.say_all(other, &["/join #a", "/join #a"]);
        hall.forget(&[one, two, other]);
        hall.say(two, "/kick alice");
        assert_eq!(hall.hears(two), ["! not an operator"]);
        hall.say_all(one, &["/kick nobody", "/kick bob", "/kick other"]);
        assert_eq!(hall.hears(one), ["! no such user: nobody", "* bob was kicked by alice"]);
        assert_eq!(hall.hears(two), ["! kicked by alice"]);
        assert_eq!(hall.hears(other), ["! kicked by alice"]);
        assert!(hall.stage.has_finished(two) && hall.stage.has_finished(other));
        hall.say_all(one, &["/kick alice", "/who"]);
        assert_eq!(hall.hears(one), ["! kicked by alice"], "oneself works");
        assert!(hall.stage.has_finished(one));
    }
}

#[test]
fn where_a_login_is_required_nothing_is_heard_before_it() {
    for framing in BOTH {
        let mut hall = hall(framing, true);
        let (in_it, outside) = (hall.stage.open(), hall.stage.open());
        assert_eq!(hall.hears(in_it), ["* welcome, guest-1; /help lists the commands"]);
        assert_eq!(log_in(&mut hall, in_it, "alice", "pass word"), ["* logged in as alice"]);
        hall.forget(&[in_it, outside]);
        let all =
            ["hello", "/who", "/join #a", "/name x", "/kick x", "/nothing", "/rooms", "/name"];
        hall.say_all(outside, &all);
        assert_eq!(hall.hears(outside), ["! log in first"; 8]);
        hall.say_all(in_it, &["secret", "/whisper guest-2 psst", "/kick guest-2"]);
        assert_eq!(hall.hears(in_it), ["! no such user: guest-2"; 2]);
        assert_eq!(hall.hears(outside), NOTHING);
        hall.say(outside, "/help");
        assert_eq!(hall.hears(outside).len(), 10);
        assert_eq!(log_in(&mut hall, outside, "bob", "wrong"), ["! login failed"]);
        assert_eq!(
            log_in(&mut hall, outside, "bob", "b"),
            [
                "* logged in as bob",
                "* last 1 messages in #lobby",
                "alice: secret",
                "* end of history"
            ]
        );
        assert_eq!(hall.hears(in_it), ["* bob joined #lobby"]);
        let third = hall.stage.open();
        hall.say(third, "/quit");
        assert_eq!(hall.hears(third)[1..], ["* bye"]);
        let fourth = hall.stage.open();
        hall.stage.reset(fourth);
        assert_eq!(hall.hears(in_it), NOTHING, "who was never there does not leave");
        let fifth = hall.stage.open();
        hall.forget(&[fifth]);
        hall.stage.with(|_, cx| cx.stop());
        assert_eq!(hall.hears(fifth), ["* server is going down"]);
    }
}
