//! A chat on a stage: people say lines, and hear lines, whatever the framing.

#![allow(dead_code, reason = "not every test uses all of it")]

use std::time::{Duration, Instant};

use chat::{Accounts, Chat, ChatLoops, ChatSettings, Framing, Incoming, Rate};
use reactor::{Config, ConnId, Limits, ReadBuffer, ServiceConfig, Stage};

pub(crate) const BOTH: [Framing; 2] = [Framing::Line, Framing::Length];

pub(crate) struct Hall {
    pub(crate) stage: Stage<Chat>,
    framing: Framing,
}

/// No flood control: most tests are about something else.
pub(crate) fn settings(framing: Framing) -> ChatSettings {
    ChatSettings { framing, rate: Rate { per_second: 0, burst: 0 }, ..ChatSettings::default() }
}

impl Hall {
    pub(crate) fn new(framing: Framing) -> Self {
        Self::with(settings(framing))
    }

    pub(crate) fn with(settings: ChatSettings) -> Self {
        Self::with_limits(settings, Limits::default())
    }

    pub(crate) fn with_limits(settings: ChatSettings, limits: Limits) -> Self {
        let framing = settings.framing;
        let limits = Limits { queue_max: settings.queue_limit, input_max: 0, ..limits };
        let (chat, inbox) = ChatLoops::new(settings, 1).part(0).unwrap();
        let service = ServiceConfig::new().limits(limits).inbox(inbox);
        let config = Config { panics: reactor::Panics::Propagate, ..Config::default() };
        Self { stage: Stage::with_config(chat, config, service), framing }
    }

    /// Somebody comes, is called this, and has heard all that there was.
    pub(crate) fn person(&mut self, name: &str) -> ConnId {
        let id = self.stage.open();
        self.say(id, &format!("/name {name}"));
        assert!(self.hears(id).last().unwrap().ends_with(&format!(" is now {name}")));
        id
    }

    /// People who have heard all that there was.
    pub(crate) fn people<const N: usize>(&mut self, names: [&str; N]) -> [ConnId; N] {
        let people = names.map(|name| self.person(name));
        self.forget(&people);
        people
    }

    pub(crate) fn wire(&self, message: &[u8]) -> Vec<u8> {
        let mut wire = Vec::new();
        self.framing.frame(&mut wire, |wire| wire.extend_from_slice(message));
        wire
    }

    pub(crate) fn say(&mut self, id: ConnId, message: &str) {
        self.say_all(id, &[message]);
    }

    /// Several messages in one write.
    pub(crate) fn say_all(&mut self, id: ConnId, messages: &[&str]) {
        let wire: Vec<u8> =
            messages.iter().flat_map(|message| self.wire(message.as_bytes())).collect();
        self.stage.deliver(id, &wire);
    }

    pub(crate) fn hears_bytes(&mut self, id: ConnId) -> Vec<Vec<u8>> {
        let mut input = ReadBuffer::from(&self.stage.sent(id)[..]);
        let mut incoming = Incoming::new(self.framing, 0);
        let mut heard = Vec::new();
        while let Some(message) = incoming.next(&mut input).unwrap() {
            heard.push(message.to_vec());
        }
        assert!(input.is_empty(), "whole messages");
        heard
    }

    /// What was heard since the last time.
    pub(crate) fn hears(&mut self, id: ConnId) -> Vec<String> {
        self.hears_bytes(id).into_iter().map(|heard| String::from_utf8(heard).unwrap()).collect()
    }

    pub(crate) fn forget(&mut self, people: &[ConnId]) {
        people.iter().for_each(|id| drop(self.stage.sent(*id)));
    }

    /// What is heard by who waits for a thread.
    pub(crate) fn hears_at_last(&mut self, id: ConnId) -> Vec<String> {
        let began = Instant::now();
        loop {
            self.stage.pass(Duration::ZERO);
            let heard = self.hears(id);
            if !heard.is_empty() {
                return heard;
            }
            assert!(began.elapsed() < Duration::from_secs(60), "nothing is heard");
            std::thread::yield_now();
        }
    }
}

pub(crate) fn accounts(users: &[(&str, &str, bool)]) -> Accounts {
    let mut accounts = Accounts::default();
    for (user, password, is_operator) in users {
        accounts.set(user, password.as_bytes(), *is_operator).unwrap();
    }
    accounts
}
