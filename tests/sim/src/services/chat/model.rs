//! What must have been heard, by whom: a model of the chat in a few dozen lines.
//!
//! Whoever is in a room hears of each speaker's lines in that room a run without a gap: from the first that
//! the history told, or that was said afterwards, to the last that was said before it left. If the speaker
//! began after the listener had come, the run begins with its first line there.

use std::cell::{Ref, RefCell, RefMut};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// What all people know of each other; clones are the same.
#[derive(Clone)]
pub(super) struct Model(Rc<RefCell<Vec<Speaker>>>);

/// One who speaks.
#[derive(Default)]
pub(super) struct Speaker {
    /// By the number of the line: its room, and how many it said there before.
    lines: Vec<(&'static str, usize)>,
    /// When it began to write its first line of all.
    began: BTreeMap<&'static str, Duration>,
    /// All that it wanted to say was said, or never will be.
    pub(super) end: Option<End>,
}

/// How somebody's speech ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The server answered behind its last line.
    Said,
    /// It was cut off.
    Cut,
}

impl Model {
    pub(super) fn new(people: usize) -> Self {
        Self(Rc::new(RefCell::new((0..people).map(|_| Speaker::default()).collect())))
    }

    pub(super) fn is_over(&self) -> bool {
        self.0.borrow().iter().all(|speaker| speaker.end.is_some())
    }

    pub(super) fn speaker(&self, number: usize) -> Option<RefMut<'_, Speaker>> {
        RefMut::filter_map(self.0.borrow_mut(), |all| all.get_mut(number)).ok()
    }

    fn all(&self) -> Ref<'_, Vec<Speaker>> {
        self.0.borrow()
    }
}

impl Speaker {
    /// It is going to say one more line in a room. The number of the line.
    pub(super) fn plan(&mut self, room: &'static str) -> usize {
        let before = self.lines.iter().filter(|(other, _)| *other == room).count();
        self.lines.push((room, before));
        self.lines.len() - 1
    }

    /// It begins to say the line of this number, at the earliest now.
    pub(super) fn begins(&mut self, line: usize, now: Duration) {
        if let Some((room, 0)) = self.lines.get(line) {
            self.began.entry(room).or_insert(now);
        }
    }

    fn lines_in(&self, room: &str) -> usize {
        self.lines.iter().filter(|(other, _)| *other == room).count()
    }
}

/// One who listens: where it is, and how far each speaker is there.
pub(super) struct Listener {
    number: usize,
    model: Model,
    room: String,
    since: Duration,
    heard: BTreeMap<usize, usize>,
    is_history: bool,
}

impl Listener {
    pub(super) fn new(number: usize, model: Model) -> Self {
        let heard = BTreeMap::new();
        Self { number, model, room: String::new(), since: Duration::ZERO, heard, is_history: false }
    }

    /// It hears a message.
    ///
    /// # Errors
    /// What is wrong with that.
    pub(super) fn hears(&mut self, message: &str, now: Duration) -> Result<(), String> {
        let room = message.strip_prefix("* you are in ");
        let room = room.or_else(|| message.starts_with("* welcome, ").then_some("#lobby"));
        if let Some(room) = room {
            if room != self.room {
                (self.room, self.since) = (room.to_owned(), now);
                self.heard.clear();
            }
        } else if message.starts_with("* last ") {
            self.is_history = true;
        } else if message == "* end of history" {
            self.is_history = false;
        } else if let Some((_, line)) = message.split_once(": line ")
            && let Some((speaker, line)) = line.split_once(' ')
            && let (Ok(speaker), Ok(line)) = (speaker.parse(), line.parse())
        {
            return self.hears_line(speaker, line);
        }
        Ok(())
    }

    fn hears_line(&mut self, speaker: usize, line: usize) -> Result<(), String> {
        let (own, here) = (self.number, self.room.clone());
        let told =
            |what: &str| Err(format!("{own} hears line {line} of {speaker} in {here}: {what}"));
        let place = {
            let all = self.model.all();
            all.get(speaker).and_then(|speaker| speaker.lines.get(line).copied())
        };
        let Some((room, place)) = place else { return told("it was never said") };
        if *room != *here {
            return told("it was said elsewhere");
        }
        if speaker == own {
            return if self.is_history { Ok(()) } else { told("it is its own") };
        }
        let next = self.heard.insert(speaker, place + 1);
        match next {
            Some(next) if next != place => told(&format!("number {place}, and {next} was due")),
            _ => Ok(()),
        }
    }

    /// It has heard all that was said before now, and nobody says any more.
    ///
    /// # Errors
    /// What it should have heard.
    pub(super) fn has_heard_all(&self) -> Result<(), String> {
        for (number, speaker) in self.model.all().iter().enumerate() {
            if number == self.number || speaker.end != Some(End::Said) {
                continue;
            }
            let said = speaker.lines_in(&self.room);
            let heard = self.heard.get(&number).copied();
            let is_owed = speaker.began.get(&*self.room).is_some_and(|began| *began > self.since);
            if heard.map_or(is_owed && said > 0, |heard| heard != said) {
                let Self { number: own, room, .. } = self;
                let heard = heard.unwrap_or(0);
                return Err(format!("{own} heard {heard} of {said} lines of {number} in {room}"));
            }
        }
        Ok(())
    }
}
