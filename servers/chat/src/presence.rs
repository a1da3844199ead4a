//! What a client knows of itself: its name and its room, so that it can take them back.

use crate::names::{LOBBY, is_guest_name};

/// Why a server does not want somebody any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// It was asked to.
    Bye,
    /// It has its reasons, and they are these.
    Refused(String),
}

/// Who one is in a chat, as what the server says tells it.
///
/// ```
/// use chat::Presence;
///
/// let mut presence = Presence::new(Some("alice".to_owned()));
/// assert_eq!(presence.greeting(), ["/name alice"]);
/// presence.hears("* welcome, guest-1; /help lists the commands");
/// presence.hears("* guest-1 is now alice");
/// presence.hears("* you are in #rust");
/// presence.hears("* alice is now ann");
/// assert_eq!(presence.greeting(), ["/name ann", "/join #rust"]);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Presence {
    /// What the server calls it.
    name: Option<String>,
    /// What it is to be called.
    wanted: Option<String>,
    room: Option<String>,
    /// What it was told last that may be the reason for the end.
    farewell: Option<Farewell>,
}

impl Presence {
    /// One who wants to be called this.
    pub fn new(wanted: Option<String>) -> Self {
        Self { wanted, ..Self::default() }
    }

    /// What it says first when it comes, and when it comes back.
    pub fn greeting(&self) -> Vec<String> {
        let name = self.wanted.as_ref().map(|name| format!("/name {name}"));
        let room = self.room.as_ref().filter(|room| *room != LOBBY);
        name.into_iter().chain(room.map(|room| format!("/join {room}"))).collect()
    }

    /// The server says something.
    pub fn hears(&mut self, message: &str) {
        self.farewell = farewell(message);
        let Some(notice) = message.strip_prefix("* ") else { return };
        if let Some(rest) = notice.strip_prefix("welcome, ") {
            self.name = rest.split(';').next().map(str::to_owned);
        } else if let Some(room) = notice.strip_prefix("you are in ") {
            self.room = Some(room.to_owned());
        } else if let Some((old, new)) = notice.split_once(" is now ")
            && self.name.as_deref() == Some(old)
        {
            self.name = Some(new.to_owned());
            // The next guest of that number will be somebody else.
            self.wanted = Some(new.to_owned()).filter(|name| !is_guest_name(name));
        }
    }

    /// Whether the name that it wants is somebody else's at present.
    pub fn is_refused(&self, message: &str) -> bool {
        let taken = message.strip_prefix("! name taken: ");
        taken.is_some() && taken == self.wanted.as_deref()
    }

    /// Why the server closes, if it has said so just before.
    pub fn farewell(&self) -> Option<&Farewell> {
        self.farewell.as_ref()
    }
}

fn farewell(message: &str) -> Option<Farewell> {
    if message == "* bye" {
        return Some(Farewell::Bye);
    }
    let reason = message.strip_prefix("! ")?;
    let is_final = reason == "logged in elsewhere" || reason.starts_with("kicked by ");
    is_final.then(|| Farewell::Refused(reason.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(wanted: Option<&str>, messages: &[&str]) -> Presence {
        let mut presence = Presence::new(wanted.map(str::to_owned));
        messages.iter().for_each(|message| presence.hears(message));
        presence
    }

    #[test]
    fn only_ones_own_name_is_taken_back() {
        let welcome = "* welcome, guest-3; /help lists the commands";
        let greeting = |messages: &[&str]| after(None, messages).greeting();
        assert!(greeting(&[welcome]).is_empty(), "a guest's name is nobody's");
        assert!(greeting(&[welcome, "* bob is now robert"]).is_empty());
        assert!(greeting(&[welcome, "bob: * guest-3 is now x"]).is_empty(), "somebody said so");
        assert_eq!(greeting(&[welcome, "* guest-3 is now x"]), ["/name x"]);
        let robbed = [welcome, "* guest-3 is now x", "* x is now guest-3"];
        assert!(greeting(&robbed).is_empty());
    }

    #[test]
    fn the_lobby_needs_no_way_back() {
        let greeting = |messages: &[&str]| after(Some("a"), messages).greeting();
        assert_eq!(greeting(&["* you are in #x"]), ["/name a", "/join #x"]);
        assert_eq!(greeting(&["* you are in #x", "* you are in #lobby"]), ["/name a"]);
    }

    #[test]
    fn a_reason_counts_if_it_is_the_last_word() {
        let farewell = |messages: &[&str]| after(None, messages).farewell().cloned();
        assert_eq!(farewell(&["* bye"]), Some(Farewell::Bye));
        let kicked = Some(Farewell::Refused("kicked by alice".to_owned()));
        assert_eq!(farewell(&["! kicked by alice"]), kicked);
        assert_eq!(farewell(&["! kicked by alice", "bob: hi"]), None);
        assert_eq!(farewell(&["! too long"]), None);
        assert_eq!(farewell(&["* server is going down"]), None);
    }

    #[test]
    fn a_name_that_is_taken_is_noticed() {
        let presence = after(Some("a"), &[]);
        assert!(presence.is_refused("! name taken: a"));
        assert!(!presence.is_refused("! name taken: b") && !presence.is_refused("! bad name"));
    }
}
