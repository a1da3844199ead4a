//! How long to wait before the next attempt.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const MOST: Duration = Duration::from_secs(5);

/// Waits that double, from 100 ms to 5 s, each shortened at random by up to a half: clients that lost
/// the same server do not come back as one.
///
/// ```
/// use servers_common::Backoff;
/// use std::time::Duration;
///
/// let mut backoff = Backoff::default();
/// assert!(backoff.next_wait() <= Duration::from_millis(100));
/// assert!(backoff.next_wait() >= Duration::from_millis(100));
/// ```
#[derive(Clone, Debug)]
pub struct Backoff {
    /// The longest that the next wait may be.
    bound: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { bound: FIRST }
    }
}

impl Backoff {
    /// The next wait.
    pub fn next_wait(&mut self) -> Duration {
        self.next_wait_at(fastrand::f64())
    }

    /// The next wait, for a `chance` from 0 (the shortest) to 1 (the longest) that the caller has drawn.
    pub fn next_wait_at(&mut self, chance: f64) -> Duration {
        let bound = self.bound;
        self.bound = (bound * 2).min(MOST);
        bound.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0)
    }

    /// It worked: the next failure is a first one again.
    pub fn reset(&mut self) {
        self.bound = FIRST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(backoff: &mut Backoff, chance: f64, count: usize) -> Vec<u128> {
        std::iter::repeat_with(|| backoff.next_wait_at(chance).as_millis()).take(count).collect()
    }

    #[test]
    fn it_doubles_from_100_ms_to_5_s_and_begins_anew() {
        let mut backoff = Backoff::default();
        let longest = [100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000];
        assert_eq!(millis(&mut backoff, 1.0, 9), longest);
        backoff.reset();
        assert_eq!(millis(&mut backoff, 1.0, 2), [100, 200]);
    }

    #[test]
    fn chance_takes_half_of_it_away_at_most() {
        assert_eq!(
            millis(&mut Backoff::default(), 0.0, 8),
            [50, 100, 200, 400, 800, 1600, 2500, 2500]
        );
        assert_eq!(millis(&mut Backoff::default(), -3.0, 1), [50]);
        assert_eq!(millis(&mut Backoff::default(), 3.0, 1), [100]);
    }

    #[test]
    fn two_clients_do_not_wait_alike() {
        let mut backoff = Backoff { bound: MOST };
        let waits: Vec<_> = (0..20).map(|_| backoff.next_wait()).collect();
        assert!(waits.iter().all(|wait| (MOST / 2..=MOST).contains(wait)));
        assert!(waits.iter().any(|wait| *wait != waits[0]));
    }
}
