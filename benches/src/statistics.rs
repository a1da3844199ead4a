//! Medians, ratios and their spread: few rounds, and no assumption of how they are distributed.

/// What several rounds say of one figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub median: f64,
    pub lowest: f64,
    pub highest: f64,
}

impl Spread {
    /// Of values of which at least one is a number; others do not count.
    ///
    /// ```
    /// use benches::statistics::Spread;
    ///
    /// let spread = Spread::of(&[3.0, 1.0, 2.0, f64::NAN]);
    /// assert_eq!(spread, Some(Spread { median: 2.0, lowest: 1.0, highest: 3.0 }));
    /// assert_eq!(Spread::of(&[]), None);
    /// ```
    pub fn of(values: &[f64]) -> Option<Self> {
        let mut sorted: Vec<f64> =
            values.iter().copied().filter(|value| value.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let upper = *sorted.get(middle)?;
        let lower = if sorted.len().is_multiple_of(2) {
            *sorted.get(middle.checked_sub(1)?)?
        } else {
            upper
        };
        let median = f64::midpoint(lower, upper);
        Some(Self { median, lowest: *sorted.first()?, highest: *sorted.last()? })
    }

    /// Half of what lies between the extremes.
    pub fn half_width(&self) -> f64 {
        (self.highest - self.lowest) / 2.0
    }
}

/// Each round's value beside the same round's base. A round in which either is missing or the base is
/// nothing says nothing.
///
/// Ratios are made round by round, and the median is taken of them, not the other way about: what disturbs
/// the machine for a while disturbs neighbours alike.
///
/// ```
/// use benches::statistics::ratios;
///
/// assert_eq!(ratios(&[Some(3.0), None, Some(1.0)], &[Some(2.0), Some(1.0), Some(0.0)]), [1.5]);
/// ```
pub fn ratios(values: &[Option<f64>], bases: &[Option<f64>]) -> Vec<f64> {
    let rounds = values.iter().zip(bases);
    rounds
        .filter_map(|(value, base)| Some((*value)? / (*base).filter(|base| *base > 0.0)?))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_of_an_even_number_lies_between_the_middle_two() {
        let spread = Spread::of(&[10.0, 1.0, 2.0, 4.0]).unwrap();
        assert_eq!(spread, Spread { median: 3.0, lowest: 1.0, highest: 10.0 });
        assert_eq!(spread.half_width(), 4.5);
    }

    #[test]
    fn one_value_has_no_spread() {
        let spread = Spread::of(&[7.0]).unwrap();
        assert_eq!((spread.median, spread.half_width()), (7.0, 0.0));
        assert_eq!(Spread::of(&[f64::NAN, f64::INFINITY]), None);
    }

    #[test]
    fn a_slow_round_is_slow_for_both_and_changes_no_ratio() {
        let bases = [Some(100.0), Some(300.0), Some(100.0)];
        let values = [Some(110.0), Some(330.0), Some(110.0)];
        let spread = Spread::of(&ratios(&values, &bases)).unwrap();
        assert!((spread.median - 1.1).abs() < 1e-9 && spread.half_width() < 1e-9);
    }
}
