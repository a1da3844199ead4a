//! Flood control: how fast one may speak.

use std::time::{Duration, Instant};

/// How often one who speaks too fast is told.
const TOLD_EVERY: Duration = Duration::from_secs(1);

/// How fast one may speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Messages a second, in the long run; 0: any number.
    pub per_second: u32,
    /// Messages at once; at least 1 is allowed.
    pub burst: u32,
}

impl Default for Rate {
    fn default() -> Self {
        Self { per_second: 5, burst: 20 }
    }
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// It is heard.
    Heard,
    /// It is dropped; whether the sender is to be told.
    Dropped {
        /// Once a second at most.
        tell: bool,
    },
}

/// A bucket of `burst` tokens, into which a token falls `per_second` times a second, and out of which each
/// message takes one. It is kept as the one instant at which it will be full again.
///
/// ```
/// use chat::{Bucket, Rate, Ruling};
/// use std::time::{Duration, Instant};
///
/// let (mut bucket, rate, now) = (Bucket::default(), Rate { per_second: 2, burst: 1 }, Instant::now());
/// assert_eq!(bucket.take(rate, now), Ruling::Heard);
/// assert_eq!(bucket.take(rate, now), Ruling::Dropped { tell: true });
/// assert_eq!(bucket.take(rate, now + Duration::from_millis(500)), Ruling::Heard);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Bucket {
    full_at: Option<Instant>,
    told_at: Option<Instant>,
}

impl Bucket {
    /// Takes a token for a message that arrives now.
    pub fn take(&mut self, rate: Rate, now: Instant) -> Ruling {
        if rate.per_second == 0 {
            return Ruling::Heard;
        }
        let interval = Duration::from_secs(1) / rate.per_second;
        let full_at = self.full_at.filter(|&at| at > now).unwrap_or(now);
        if full_at - now > interval.saturating_mul(rate.burst.max(1) - 1) {
            let tell =
                self.told_at.is_none_or(|at| now.saturating_duration_since(at) >= TOLD_EVERY);
            if tell {
                self.told_at = Some(now);
            }
            return Ruling::Dropped { tell };
        }
        self.full_at = full_at.checked_add(interval);
        Ruling::Heard
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_burst_then_the_rate_and_a_word_once_a_second() {
        let (mut bucket, rate, start) = (Bucket::default(), Rate::default(), Instant::now());
        let heard = |bucket: &mut Bucket, count: usize, now| {
            (0..count).filter(|_| bucket.take(rate, now) == Ruling::Heard).count()
        };
        assert_eq!(heard(&mut bucket, 100, start), 20);
        assert_eq!(bucket.take(rate, start), Ruling::Dropped { tell: false }, "told already");
        let later = start + Duration::from_secs(1);
        assert_eq!(heard(&mut bucket, 5, later), 5);
        assert_eq!(bucket.take(rate, later), Ruling::Dropped { tell: true });
        assert_eq!(heard(&mut bucket, 100, later + Duration::from_secs(3600)), 20);
    }

    #[test]
    fn a_rate_of_0_is_none() {
        let (mut bucket, rate) = (Bucket::default(), Rate { per_second: 0, burst: 0 });
        let now = Instant::now();
        assert!((0..1000).all(|_| bucket.take(rate, now) == Ruling::Heard));
    }

    proptest! {
        #[test]
        fn in_no_time_more_is_heard_than_burst_and_rate(
            waits in prop::collection::vec(0u64..400, 1..200), per_second in 1u32..20, burst in 0u32..10
        ) {
            let (mut bucket, rate) = (Bucket::default(), Rate { per_second, burst });
            let mut now = Instant::now();
            let mut heard = Vec::new();
            for wait in waits {
                now += Duration::from_millis(wait);
                if bucket.take(rate, now) == Ruling::Heard {
                    heard.push(now);
                }
            }
            for (index, first) in heard.iter().enumerate() {
                for (count, last) in heard[index..].iter().enumerate() {
                    let gained = (*last - *first).as_secs_f64() * f64::from(per_second);
                    let allowed = f64::from(burst.max(1)) + gained + 1e-6;
                    prop_assert!(count as f64 + 1.0 <= allowed + 1e-3);
                }
            }
        }
    }
}
