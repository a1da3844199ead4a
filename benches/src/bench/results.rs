//! What was measured, as it is written and read: tables and plots are made from this alone.

use serde::{Deserialize, Serialize};

use super::pairs::Figure;
use crate::machine::Machine;
use crate::statistics::{Spread, ratios};

/// All that a run has found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Results {
    pub machine: Machine,
    pub rounds: usize,
    pub seconds_per_round: f64,
    /// Cores of the servers and of the load; the same one if there was no other.
    pub server_core: usize,
    pub load_core: usize,
    pub left_out: Vec<LeftOut>,
    pub cells: Vec<CellResult>,
    pub pairs: Vec<PairResult>,
    /// What went wrong, in words; the sample is missing then.
    pub failures: Vec<String>,
}

/// A peer that was not measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LeftOut {
    pub name: String,
    pub why: String,
}

/// One row.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CellResult {
    pub name: String,
    pub unit: String,
    /// Bytes are told as they are, times as ratios to the floor.
    pub is_ratio: bool,
    /// In all.
    pub connections: usize,
    /// The curve over the number of connections that it is a point of.
    pub scale: Option<String>,
    pub target: Option<f64>,
    pub columns: Vec<Column>,
}

/// One peer in a row, a sample a round.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Column {
    pub peer: String,
    pub is_floor: bool,
    pub is_floor_again: bool,
    pub is_ours: bool,
    pub samples: Vec<Option<Sample>>,
}

/// One round.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// In the row's unit.
    pub cost: f64,
    pub per_second: f64,
    pub p50_ns: u64,
    pub p99_ns: u64,
}

/// One server, and what one thing comes to that is different.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PairResult {
    pub name: String,
    pub peer: String,
    pub figure: Figure,
    pub target: Option<f64>,
    /// The first, the second, and the second again.
    pub rounds: Vec<Option<[Sample; 3]>>,
}

impl PairResult {
    /// The first to the second.
    pub fn ratio(&self) -> Option<Spread> {
        self.spread(|[first, second, _]| (first, second))
    }

    /// The second to itself.
    pub fn again(&self) -> Option<Spread> {
        self.spread(|[_, second, again]| (again, second))
    }

    fn spread(&self, of: impl Fn(&[Sample; 3]) -> (&Sample, &Sample)) -> Option<Spread> {
        let rounds = self.rounds.iter().flatten().map(of);
        let (values, bases): (Vec<_>, Vec<_>) = rounds
            .map(|(value, base)| (Some(self.figure.of(value)), Some(self.figure.of(base))))
            .unzip();
        Spread::of(&ratios(&values, &bases))
    }

    /// Whether the median, less the noise, is not above the target.
    pub fn has_reached(&self) -> Option<bool> {
        Some(self.ratio()?.median - self.again()?.half_width() <= self.target?)
    }
}

impl Figure {
    fn of(self, sample: &Sample) -> f64 {
        match self {
            Self::Cost => sample.cost,
            Self::P50 => sample.p50_ns as f64,
            Self::P99 => sample.p99_ns as f64,
            Self::PerSecond => sample.per_second,
        }
    }
}

impl Column {
    fn costs(&self) -> Vec<Option<f64>> {
        self.samples.iter().map(|sample| sample.map(|sample| sample.cost)).collect()
    }

    /// What one figure of the samples comes to.
    pub fn spread(&self, figure: impl Fn(&Sample) -> f64) -> Option<Spread> {
        let values: Vec<f64> = self.samples.iter().flatten().map(figure).collect();
        Spread::of(&values)
    }
}

impl CellResult {
    pub fn floor(&self) -> Option<&Column> {
        self.columns.iter().find(|column| column.is_floor)
    }

    pub fn column(&self, peer: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.peer == peer)
    }

    /// What the table shows of a column: its ratio to the floor of the same round, or its bytes.
    pub fn figure(&self, column: &Column) -> Option<Spread> {
        if self.is_ratio {
            Spread::of(&ratios(&column.costs(), &self.floor()?.costs()))
        } else {
            column.spread(|sample| sample.cost)
        }
    }

    /// How far the floor is from itself: half of the distance of the extremes.
    pub fn noise(&self) -> Option<f64> {
        let again = self.columns.iter().find(|column| column.is_floor_again)?;
        self.figure(again).map(|spread| spread.half_width())
    }

    /// Whether a column has reached the target: its median, less the noise, is not above it.
    pub fn has_reached(&self, column: &Column) -> Option<bool> {
        let noise = if self.is_ratio { self.noise()? } else { 0.0 };
        let median = self.figure(column)?.median;
        // The noise is that of a ratio of one: it is so much smaller where the ratio is.
        Some(median - noise * median.min(1.0) <= self.target?)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn column(peer: &str, costs: &[f64]) -> Column {
        let sample = |cost| Sample { cost, per_second: 1e9 / cost, p50_ns: 1000, p99_ns: 2000 };
        Column {
            peer: peer.to_owned(),
            is_floor: peer == "epoll",
            is_floor_again: peer == "epoll again",
            is_ours: peer == "reactor",
            samples: costs.iter().map(|cost| cost.is_finite().then(|| sample(*cost))).collect(),
        }
    }

    pub(crate) fn results() -> Results {
        let cell = |name: &str, connections, is_ratio, columns| CellResult {
            name: name.to_owned(),
            unit: "ns per message".to_owned(),
            is_ratio,
            connections,
            scale: is_ratio.then(|| "CPU time".to_owned()),
            target: Some(if is_ratio { 1.05 } else { 200.0 }),
            columns,
        };
        Results {
            machine: Machine::here(),
            rounds: 3,
            seconds_per_round: 1.0,
            server_core: 0,
            load_core: 1,
            left_out: vec![LeftOut { name: "gnet".to_owned(), why: "no Go".to_owned() }],
            cells: vec![
                cell(
                    "echo 1/1/64",
                    1,
                    true,
                    vec![
                        column("epoll", &[100.0, 200.0, 100.0]),
                        column("reactor", &[110.0, 210.0, 120.0]),
                        column("epoll again", &[98.0, 200.0, 104.0]),
                    ],
                ),
                cell(
                    "echo 10/1/64",
                    10,
                    true,
                    vec![
                        column("epoll", &[100.0, f64::NAN, 100.0]),
                        column("reactor", &[101.0, 101.0, 103.0]),
                        column("epoll again", &[f64::NAN; 3]),
                    ],
                ),
                cell(
                    "idle 10",
                    10,
                    false,
                    vec![column("epoll", &[40.0; 3]), column("reactor", &[150.0, 250.0, 160.0])],
                ),
            ],
            pairs: vec![pair()],
            failures: Vec::new(),
        }
    }

    fn pair() -> PairResult {
        let sample = |p99_ns| Sample { cost: 1.0, per_second: 1.0, p50_ns: 1, p99_ns };
        let round = |values: [u64; 3]| Some(values.map(sample));
        PairResult {
            name: "beside bulk, to without".to_owned(),
            peer: "reactor".to_owned(),
            figure: Figure::P99,
            target: Some(3.0),
            rounds: vec![
                round([300, 100, 110]),
                None,
                round([820, 200, 180]),
                round([310, 100, 100]),
            ],
        }
    }

    #[test]
    fn a_pair_is_the_first_to_the_second_and_its_noise_the_second_to_itself() {
        let pair = pair();
        let (ratio, again) = (pair.ratio().unwrap(), pair.again().unwrap());
        assert_eq!((ratio.lowest, ratio.median, ratio.highest), (3.0, 3.1, 4.1));
        assert!((again.half_width() - 0.1).abs() < 1e-9);
        assert_eq!(pair.has_reached(), Some(true), "3.1 less 0.1");
        assert_eq!(PairResult { target: Some(2.9), ..pair.clone() }.has_reached(), Some(false));
        assert_eq!(PairResult { rounds: vec![None], ..pair }.has_reached(), None);
    }

    #[test]
    fn ratios_are_to_the_floor_of_the_same_round() {
        let results = results();
        let cell = &results.cells[0];
        let ours = cell.column("reactor").unwrap();
        let spread = cell.figure(ours).unwrap();
        assert_eq!((spread.lowest, spread.median, spread.highest), (1.05, 1.1, 1.2));
        assert!((cell.noise().unwrap() - 0.03).abs() < 1e-9);
        // 1.1 - 0.03 is above 1.05.
        assert_eq!(cell.has_reached(ours), Some(false));
    }

    #[test]
    fn a_small_ratio_is_forgiven_little() {
        let mut cell = results().cells.remove(0);
        cell.target = Some(0.01);
        let costs: [(f64, bool); 2] = [(1.02, true), (1.05, false)];
        for (cost, is_reached) in costs {
            cell.columns[1] = column("reactor", &[cost, 2.0 * cost, cost]);
            let ours = cell.column("reactor").unwrap();
            assert_eq!(cell.has_reached(ours), Some(is_reached), "{cost} ns of 100, noise 0.03");
        }
    }

    #[test]
    fn without_noise_nothing_is_said_to_be_reached_and_bytes_need_none() {
        let results = results();
        let [_, cell, idle] = results.cells.as_slice() else { panic!() };
        let ours = cell.column("reactor").unwrap();
        assert_eq!(cell.figure(ours).unwrap().median, 1.02);
        assert_eq!(cell.has_reached(ours), None);
        assert_eq!(idle.has_reached(idle.column("reactor").unwrap()), Some(true));
    }

    #[test]
    fn what_is_written_is_read_again() {
        let results = results();
        let text = serde_json::to_string(&results).unwrap();
        let again: Results = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&again).unwrap(), text);
    }
}
