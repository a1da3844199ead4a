//! Figures that are committed, and what has become of them.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// So many percent more must be argued for.
pub const MORE_MAX: f64 = 5.0;

/// Instructions by benchmark, and what the compiler was: another one makes others of the same source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Baseline {
    pub rustc: String,
    pub architecture: String,
    pub instructions: BTreeMap<String, u64>,
}

/// A baseline, and the figures of today.
#[derive(Clone, Debug)]
pub struct Comparison {
    old: Baseline,
    new: Baseline,
}

impl Comparison {
    pub fn new(old: Baseline, new: Baseline) -> Self {
        Self { old, new }
    }

    /// Both are by the same compiler, for the same architecture.
    pub fn is_binding(&self) -> bool {
        let Self { old, new } = self;
        (&old.rustc, &old.architecture) == (&new.rustc, &new.architecture)
    }

    /// Benchmarks that are over what is allowed.
    pub fn over(&self) -> Vec<&str> {
        let is_over = |&(_, old, new): &(_, Option<u64>, Option<u64>)| {
            percent(old, new).is_some_and(|more| more > MORE_MAX)
        };
        self.rows().filter(is_over).map(|(name, ..)| name).collect()
    }

    /// Benchmarks of which there is no old figure, or no new one.
    pub fn unpaired(&self) -> Vec<&str> {
        let rows = self.rows().filter(|(_, old, new)| old.is_none() || new.is_none());
        rows.map(|(name, ..)| name).collect()
    }

    /// Each name with its old and its new figure.
    fn rows(&self) -> impl Iterator<Item = (&str, Option<u64>, Option<u64>)> {
        let (old, new) = (&self.old.instructions, &self.new.instructions);
        let gone = old.keys().filter(|name| !new.contains_key(*name));
        let names = new.keys().chain(gone);
        names.map(|name| (name.as_str(), old.get(name).copied(), new.get(name).copied()))
    }
}

/// How many percent more it has become.
fn percent(old: Option<u64>, new: Option<u64>) -> Option<f64> {
    let (old, new) = (old? as f64, new? as f64);
    Some((new - old) * 100.0 / old)
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let figure = |count: Option<u64>| count.map_or("-".to_owned(), |count| count.to_string());
        writeln!(f, "{:<32} {:>12} {:>12} {:>9}", "instructions", "baseline", "now", "change")?;
        for (name, old, new) in self.rows() {
            write!(f, "{name:<32} {:>12} {:>12}", figure(old), figure(new))?;
            match percent(old, new) {
                Some(more) => writeln!(f, " {more:>+7.2} %")?,
                None => writeln!(f)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn baseline(rustc: &str, figures: &[(&str, u64)]) -> Baseline {
        Baseline {
            rustc: rustc.to_owned(),
            architecture: "x86_64".to_owned(),
            instructions: figures
                .iter()
                .map(|(name, count)| ((*name).to_owned(), *count))
                .collect(),
        }
    }

    fn compare(old: &[(&str, u64)], new: &[(&str, u64)]) -> Comparison {
        Comparison::new(baseline("1", old), baseline("1", new))
    }

    #[test]
    fn five_percent_more_is_allowed_and_anything_above_is_not() {
        let old = [("a", 1000), ("b", 1000), ("c", 1000)];
        let comparison = compare(&old, &[("a", 1050), ("b", 1051), ("c", 10)]);
        assert_eq!(comparison.over(), ["b"]);
        assert!(comparison.unpaired().is_empty() && comparison.is_binding());
        let text = comparison.to_string();
        assert!(text.contains("+5.10 %") && text.contains("-99.00 %"), "{text}");
    }

    #[test]
    fn what_has_no_pair_is_named() {
        let comparison = compare(&[("gone", 1), ("a", 1)], &[("a", 1), ("new", 1)]);
        assert_eq!(comparison.unpaired(), ["new", "gone"]);
        assert!(comparison.over().is_empty());
    }

    #[test]
    fn figures_bind_only_the_compiler_that_made_them() {
        let old = baseline("1", &[]);
        assert!(!Comparison::new(old.clone(), baseline("2", &[])).is_binding());
        let other = Baseline { architecture: "aarch64".to_owned(), ..old.clone() };
        assert!(!Comparison::new(old, other).is_binding());
    }
}
