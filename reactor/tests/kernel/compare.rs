//! Holds what was seen against what is allowed, once or over many runs.

use std::collections::BTreeSet;
use std::fmt;

use crate::language::{Kind, Seen};
use crate::play::Run;
use crate::script::Scenario;

/// One step in which what was seen is not what is written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    scenario: &'static str,
    kind: Kind,
    /// From 0.
    step: usize,
    op: String,
    /// Seen, but not allowed.
    outside: BTreeSet<Seen>,
    /// Allowed, but never seen.
    missing: BTreeSet<Seen>,
    allowed: BTreeSet<Seen>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scenario, kind, step, op, outside, missing, allowed } = self;
        write!(f, "{scenario} ({kind:?}), step {step}, {op}:")?;
        if !outside.is_empty() {
            write!(f, " seen {outside:?},")?;
        }
        if !missing.is_empty() {
            write!(f, " never seen {missing:?},")?;
        }
        write!(f, " allowed {allowed:?}")
    }
}

/// Where a run saw what is not allowed.
pub(crate) fn violations(scenario: &Scenario, kind: Kind, run: &Run) -> Vec<Difference> {
    let mut differences = differences(scenario, kind, std::slice::from_ref(run));
    differences.retain_mut(|difference| {
        difference.missing.clear();
        !difference.outside.is_empty()
    });
    differences
}

/// Where many runs together saw what is not allowed, or did not see all that is.
pub(crate) fn differences(scenario: &Scenario, kind: Kind, runs: &[Run]) -> Vec<Difference> {
    let mut differences = Vec::new();
    for (number, step) in scenario.steps.iter().enumerate() {
        let seen: BTreeSet<_> =
            runs.iter().filter_map(|run| run.get(number).cloned().flatten()).collect();
        let allowed: BTreeSet<_> = step.allowed.of(kind).iter().cloned().collect();
        let (outside, missing) = (&seen - &allowed, &allowed - &seen);
        if !outside.is_empty() || !missing.is_empty() {
            let (scenario, op) = (scenario.name, format!("{:?}", step.op));
            differences.push(Difference {
                scenario,
                kind,
                step: number,
                op,
                outside,
                missing,
                allowed,
            });
        }
    }
    differences
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::{RW, RWH, W, Who, edge, edges, none};
    use crate::script::{TCP, scenario, tcp};

    fn example() -> Scenario {
        let sets = tcp([edge(RWH), edges([RW, RWH])]).unix([none()]);
        scenario("example", "", TCP).edges(Who::A, sets).edges(Who::A, [none()])
    }

    fn run(first: Seen) -> Run {
        vec![Some(first), Some(none())]
    }

    #[test]
    fn every_member_must_be_shown_and_none_outside() {
        let example = example();
        let (one, two) = (run(edge(RWH)), run(edges([RW, RWH])));
        assert_eq!(differences(&example, Kind::Tcp, &[one.clone(), two.clone()]), []);

        let [difference] = &differences(&example, Kind::Tcp, &[one.clone(), run(edge(W))])[..]
        else {
            panic!("it is in one step")
        };
        assert_eq!(difference.step, 0);
        assert_eq!(difference.outside, [edge(W)].into());
        assert_eq!(difference.missing, [edges([RW, RWH])].into());
        let text = "example (Tcp), step 0, Edges(A): seen {Edges([-w---])}, never seen \
                    {Edges([rw---, rwh--])}, allowed {Edges([rw---, rwh--]), Edges([rwh--])}";
        assert_eq!(difference.to_string(), text);

        let unseen = differences(&example, Kind::Tcp, &[]);
        assert_eq!(unseen.iter().map(|difference| difference.step).collect::<Vec<_>>(), [0, 1]);
        let [difference] = &differences(&example, Kind::Unix, &[one])[..] else {
            panic!("sets are by kind")
        };
        assert_eq!(difference.allowed, [none()].into());
    }

    #[test]
    fn one_run_need_not_show_everything() {
        let example = example();
        assert_eq!(violations(&example, Kind::Tcp, &run(edge(RWH))), []);
        assert_eq!(violations(&example, Kind::Tcp, &vec![None, None]), []);
        let [violation] = &violations(&example, Kind::Tcp, &run(edge(W)))[..] else {
            panic!("it is in one step")
        };
        assert!(violation.missing.is_empty());
    }
}
