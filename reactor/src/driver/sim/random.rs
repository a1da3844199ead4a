//! The one source of chance in a simulated network.

use std::ops::Range;
use std::time::Duration;

/// A seeded generator of numbers: SplitMix64 (Steele, Lea and Flood, 2014).
///
/// It is written out here, and not a library's, because a seed is a bug report: it must mean the same
/// run tomorrow. It is not for secrets.
///
/// ```
/// # use reactor::sim::Random;
/// let (mut one, mut two) = (Random::new(7), Random::new(7));
/// assert_eq!(one.number(), two.number());
/// assert!((3..9).contains(&one.below_range(3..9)));
/// ```
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The same seed gives the same numbers.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below `bound`; 0 if that is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        // Lemire's multiplication, without the correction: a bias of 2^-64 times the bound harms nobody.
        ((u128::from(self.number()) * u128::from(bound)) >> 64) as u64
    }

    /// A number of a range; its start if it is empty.
    pub fn below_range(&mut self, range: Range<u64>) -> u64 {
        range.start + self.below(range.end.saturating_sub(range.start))
    }

    /// A size of a range; its start if it is empty.
    #[expect(clippy::cast_possible_truncation, reason = "no more than the range's end, a usize")]
    pub fn size(&mut self, range: Range<usize>) -> usize {
        self.below_range(range.start as u64..range.end as u64) as usize
    }

    /// A time of a range; its start if it is empty. Times of more than 584 years are cut to that.
    pub fn time(&mut self, range: &Range<Duration>) -> Duration {
        let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let range = nanoseconds(range.start)..nanoseconds(range.end);
        Duration::from_nanos(self.below_range(range))
    }

    /// Whether something that is as probable as this (from 0 to 1) happens.
    pub fn chance(&mut self, probability: f64) -> bool {
        // 53 bits are what a double holds exactly.
        probability > 0.0 && ((self.number() >> 11) as f64) < probability * (1u64 << 53) as f64
    }

    /// One of `choices`; `None` if there are none.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> Option<&'a T> {
        choices.get(self.size(0..choices.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chances_are_what_they_say() {
        let mut random = Random::new(1);
        let hits = (0..100_000).filter(|_| random.chance(0.25)).count();
        assert!((24_000..26_000).contains(&hits), "{hits}");
        assert!(!(0..1000).any(|_| random.chance(0.0)));
        assert!((0..1000).all(|_| random.chance(1.0)));
    }

    #[test]
    fn numbers_stay_in_their_range_and_reach_its_ends() {
        let mut random = Random::new(2);
        let seen: std::collections::BTreeSet<_> = (0..1000).map(|_| random.size(3..7)).collect();
        assert!(seen.into_iter().eq(3..7));
        assert_eq!((random.below(0), random.size(5..5)), (0, 5));
        assert_eq!(random.pick::<u8>(&[]), None);
    }
}
