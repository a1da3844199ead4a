//! Logging in: who may try, and what follows when it is true.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::{Checked, Claim, Hall, Outlet, Seat};
use crate::names::{LOBBY, guest_name, name_in};

/// Failures that an account, or an address, may have in the time of [`MEMORY`].
const FAILURES_MAX: usize = 3;
/// How long a failure counts.
const MEMORY: Duration = Duration::from_secs(60);
/// With so many to remember, those that do not count any more are forgotten first.
const TIDY_AT: usize = 1024;

impl Hall {
    pub(super) fn log_in(
        &mut self,
        seat: Seat,
        user: &[u8],
        password: &[u8],
        now: Instant,
        out: &mut dyn Outlet,
    ) {
        let Some(person) = self.people.get_mut(seat) else { return };
        let user = name_in(user).map(str::to_owned);
        let claim = Claim { seat, address: person.address, user, password: password.to_vec() };
        if seat == Seat::Console {
            return self.tell(seat, format_args!("! login failed"), out);
        }
        if person.is_claiming || self.failures.are_too_many(&claim, now) || !out.check(claim) {
            self.tell(seat, format_args!("! try later"), out);
            return out.resume(seat);
        }
        if let Some(person) = self.people.get_mut(seat) {
            person.is_claiming = true;
        }
    }

    /// A claim has been checked.
    pub(crate) fn checked(&mut self, checked: Checked, now: Instant, out: &mut dyn Outlet) {
        let Checked { claim, operator, names } = checked;
        if let Some(names) = names {
            self.accounts = names;
        }
        // Others of the same account or address may have failed meanwhile: no storm brings more guesses.
        let are_too_many = self.failures.are_too_many(&claim, now);
        if operator.is_none() && !are_too_many {
            self.failures.note(&claim, now);
        }
        let Some(person) = self.people.get_mut(claim.seat) else { return };
        person.is_claiming = false;
        match (operator, &claim.user) {
            _ if self.is_closed => {}
            _ if are_too_many => self.tell(claim.seat, format_args!("! try later"), out),
            (Some(operator), Some(user)) => {
                self.welcome_back(claim.seat, &Rc::from(&**user), operator, out);
            }
            _ => self.tell(claim.seat, format_args!("! login failed"), out),
        }
        out.resume(claim.seat);
    }

    /// It is who it claims to be.
    fn welcome_back(
        &mut self,
        seat: Seat,
        user: &Rc<str>,
        is_operator: bool,
        out: &mut dyn Outlet,
    ) {
        if let Some(first) = self.people.logged_in(user)
            && first != seat
        {
            self.tell(first, format_args!("! logged in elsewhere"), out);
            self.remove(first, out, |name, room| format!("* {name} left {room}"));
            out.close(first);
        }
        if let Some(holder) = self.people.named(user)
            && holder != seat
            && let Some(person) = self.people.get(holder)
        {
            let guest = guest_name(person.guest);
            self.rename(holder, &guest.into(), out);
        }
        self.people.log_in(seat, user, is_operator);
        let mut greeting = self.notice(format_args!("* logged in as {user}"));
        let Some(person) = self.people.get(seat) else { return };
        let (room, is_renamed) = (person.room, person.name != *user);
        if room.is_some() {
            out.tell(seat, room, &greeting);
        }
        if is_renamed {
            self.rename(seat, user, out);
        }
        if room.is_none() {
            self.enter_room(seat, LOBBY, &mut greeting, out);
        }
    }
}

/// Who has failed lately.
#[derive(Debug, Default)]
pub(super) struct Failures {
    accounts: HashMap<String, Lately>,
    addresses: HashMap<Option<IpAddr>, Lately>,
}

/// The oldest first.
type Lately = Vec<Instant>;

impl Failures {
    /// Whether there were so many that this claim is not looked at.
    fn are_too_many(&self, claim: &Claim, now: Instant) -> bool {
        let address = claim.address.map(|address| address.to_canonical());
        let of_account = claim.user.as_ref().and_then(|user| self.accounts.get(user));
        let of_address = self.addresses.get(&address);
        [of_account, of_address]
            .into_iter()
            .flatten()
            .any(|lately| lately.iter().filter(|&&at| counts(at, now)).count() >= FAILURES_MAX)
    }

    fn note(&mut self, claim: &Claim, now: Instant) {
        if let Some(user) = &claim.user {
            note(&mut self.accounts, user.clone(), now);
        }
        let address = claim.address.map(|address| address.to_canonical());
        note(&mut self.addresses, address, now);
    }
}

fn counts(at: Instant, now: Instant) -> bool {
    now.saturating_duration_since(at) < MEMORY
}

fn note<K: Eq + Hash>(failures: &mut HashMap<K, Lately>, key: K, now: Instant) {
    if failures.len() >= TIDY_AT && failures.len() == failures.capacity() {
        failures.retain(|_, lately| lately.iter().any(|&at| counts(at, now)));
    }
    let lately = failures.entry(key).or_default();
    lately.retain(|&at| counts(at, now));
    lately.push(now);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(user: &str, address: Option<IpAddr>) -> Claim {
        let user = Some(user.to_owned());
        Claim { seat: Seat::Console, address, user, password: Vec::new() }
    }

    #[test]
    fn three_failures_a_minute_for_an_account_and_for_an_address() {
        let (mut failures, start) = (Failures::default(), Instant::now());
        let address = |text: &str| Some(text.parse().unwrap());
        let (here, mapped) = (address("10.0.0.1"), address("::ffff:10.0.0.1"));
        let second = |seconds| start + Duration::from_secs(seconds);
        for (seconds, user) in [(0, "alice"), (20, "bob"), (40, "carol")] {
            assert!(!failures.are_too_many(&claim(user, here), second(seconds)));
            failures.note(&claim(user, here), second(seconds));
        }
        assert!(failures.are_too_many(&claim("dave", here), second(59)));
        assert!(failures.are_too_many(&claim("dave", mapped), second(59)), "the same address");
        assert!(!failures.are_too_many(&claim("dave", address("10.0.0.2")), second(59)));
        assert!(!failures.are_too_many(&claim("dave", here), second(60)), "the first is forgotten");
        for place in ["10.0.0.3", "10.0.0.4", "10.0.0.5"] {
            failures.note(&claim("eve", address(place)), second(100));
        }
        assert!(failures.are_too_many(&claim("eve", address("10.0.0.6")), second(100)));
        assert!(!failures.are_too_many(&claim("eve", address("10.0.0.6")), second(160)));
    }

    #[test]
    fn what_does_not_count_any_more_is_forgotten() {
        let (mut failures, start) = (Failures::default(), Instant::now());
        for number in 0..100_000_u64 {
            let now = start + Duration::from_millis(100 * number);
            failures.note(&claim(&number.to_string(), None), now);
        }
        assert!(failures.accounts.len() < 4 * TIDY_AT, "{}", failures.accounts.len());
        assert!(failures.addresses.values().all(|lately| lately.len() <= 600));
    }
}
