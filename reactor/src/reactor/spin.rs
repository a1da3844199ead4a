//! Whether to look for work, instead of sleeping until it comes.

use std::time::{Duration, Instant};

/// What a loop knows of its last waits.
///
/// To look pays while work comes soon, and while there is time for it: a loop that is busy gains nothing. What
/// comes while it works waits anyway, and is served in batches, which cost less than one by one.
pub(super) struct Spin {
    /// When the last wait ended.
    woke: Option<Instant>,
    /// Work came within the time that may be spent looking.
    came_soon: bool,
    /// How long it worked and waited of late.
    worked: Duration,
    waited: Duration,
}

/// What is of late: about so long.
const LATE: Duration = Duration::from_millis(1);

impl Spin {
    pub(super) fn new() -> Self {
        Self { woke: None, came_soon: true, worked: Duration::ZERO, waited: Duration::ZERO }
    }

    /// A wait begins. Whether to look for work first.
    pub(super) fn begins(&mut self, now: Instant) -> bool {
        if let Some(woke) = self.woke {
            self.worked += now.saturating_duration_since(woke).min(LATE);
        }
        self.came_soon && self.worked <= self.waited
    }

    /// The wait that began then has ended; so much may be spent looking.
    pub(super) fn ended(&mut self, began: Instant, now: Instant, may: Duration) {
        let lasted = now.saturating_duration_since(began);
        self.woke = Some(now);
        self.came_soon = lasted < may;
        self.waited += lasted.min(LATE);
        if self.worked + self.waited > LATE {
            self.worked /= 2;
            self.waited /= 2;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAY: Duration = Duration::from_micros(50);

    /// Waits and works so long in turn, often; whether it looks for work then.
    fn looks(waits: u64, works: u64) -> bool {
        let (mut spin, mut now) = (Spin::new(), Instant::now());
        let mut looks = spin.begins(now);
        assert!(looks, "it tries");
        for _ in 0..1000 {
            let began = now;
            now += Duration::from_micros(waits);
            spin.ended(began, now, MAY);
            now += Duration::from_micros(works);
            looks = spin.begins(now);
        }
        looks
    }

    #[test]
    fn it_looks_while_work_comes_soon_and_there_is_time() {
        assert!(looks(10, 5));
        assert!(!looks(10, 20), "it is busy");
        assert!(!looks(100, 5), "work comes too late");
        assert!(!looks(100, 200));
        assert!(looks(1, 0));
    }

    #[test]
    fn a_long_sleep_is_forgotten_soon() {
        let (mut spin, mut now) = (Spin::new(), Instant::now());
        spin.ended(now, now + Duration::from_secs(60), MAY);
        now += Duration::from_secs(60);
        let busy = (0..1000).position(|_| {
            now += Duration::from_micros(30);
            let looks = spin.begins(now);
            spin.ended(now, now + Duration::from_micros(10), MAY);
            now += Duration::from_micros(10);
            !looks && spin.worked > spin.waited
        });
        assert!(busy.is_some_and(|turns| turns < 100), "{busy:?}");
    }
}
