//! Results as Markdown, which reads as well on a terminal.

use std::fmt::Write;

use super::results::{CellResult, Column, PairResult, Results};
use crate::report::time;
use crate::statistics::Spread;

/// All tables, and what one must know to read them.
pub fn tables(results: &Results) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = write(results, &mut out);
    out
}

fn write(results: &Results, out: &mut String) -> std::fmt::Result {
    let machine = &results.machine;
    writeln!(out, "{}; {} cores, {}", machine.date, machine.cores, machine.processor)?;
    writeln!(
        out,
        "Linux {}, {}, commit {}; {} rounds of {} s, servers on core {}, load on core {}",
        machine.kernel,
        machine.rustc,
        machine.commit,
        results.rounds,
        results.seconds_per_round,
        results.server_core,
        results.load_core
    )?;
    if results.server_core == results.load_core {
        writeln!(out, "There is one core for both: times mean little.")?;
    }
    let ratios: Vec<&CellResult> = results.cells.iter().filter(|cell| cell.is_ratio).collect();
    if !ratios.is_empty() {
        writeln!(out, "\nCPU time of the server beside the floor's: median (lowest-highest)\n")?;
        rows(&ratios, out, ratio)?;
        writeln!(out, "\nLatency in the closed loop, as the load saw it: medians of p50 / p99\n")?;
        rows(&ratios, out, |_, column| latency(column))?;
    }
    for unit in units(&results.cells) {
        let cells: Vec<&CellResult> =
            results.cells.iter().filter(|cell| !cell.is_ratio && cell.unit == unit).collect();
        writeln!(out, "\nOf the server's own, {unit}: median (lowest-highest)\n")?;
        rows(&cells, out, |cell, column| cell.figure(column).map(|spread| spread_of(&spread, 0)))?;
    }
    pairs(&results.pairs, out)?;
    targets(results, out)?;
    for left_out in &results.left_out {
        writeln!(out, "\nLeft out: {} ({})", left_out.name, left_out.why)?;
    }
    for failure in &results.failures {
        writeln!(out, "\nFailed: {failure}")?;
    }
    Ok(())
}

/// The units of what is told as it is, in their order.
fn units(cells: &[CellResult]) -> Vec<&str> {
    let mut units: Vec<&str> = Vec::new();
    for cell in cells.iter().filter(|cell| !cell.is_ratio) {
        if !units.contains(&cell.unit.as_str()) {
            units.push(&cell.unit);
        }
    }
    units
}

/// A row a pair.
fn pairs(pairs: &[PairResult], out: &mut String) -> std::fmt::Result {
    if pairs.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "\nThe same server with one thing different: median (lowest-highest) of the ratios\n"
    )?;
    let head = ["work", "server", "figure", "ratio", "noise: the same again"].map(str::to_owned);
    let mut lines = vec![head.to_vec()];
    for pair in pairs {
        let told = |spread: Option<Spread>| spread.map(|it| spread_of(&it, 2)).unwrap_or_default();
        let (name, peer) = (pair.name.clone(), pair.peer.clone());
        let figure = pair.figure.name().to_owned();
        lines.push(vec![name, peer, figure, told(pair.ratio()), told(pair.again())]);
    }
    grid(&lines, out)
}

/// One table: a row a cell, a column a peer.
fn rows(
    cells: &[&CellResult],
    out: &mut String,
    figure: impl Fn(&CellResult, &Column) -> Option<String>,
) -> std::fmt::Result {
    let mut peers: Vec<&str> = Vec::new();
    for column in cells.iter().flat_map(|cell| &cell.columns) {
        if !peers.contains(&column.peer.as_str()) {
            peers.push(&column.peer);
        }
    }
    let head = std::iter::once("work").chain(peers.iter().copied()).map(str::to_owned).collect();
    let mut lines: Vec<Vec<String>> = vec![head];
    for cell in cells {
        let of = |peer: &&str| cell.column(peer).and_then(|column| figure(cell, column));
        let figures = peers.iter().map(|peer| of(peer).unwrap_or_default());
        lines.push(std::iter::once(cell.name.clone()).chain(figures).collect());
    }
    grid(&lines, out)
}

/// Lines of cells, the first one the head, each column as wide as its widest.
fn grid(lines: &[Vec<String>], out: &mut String) -> std::fmt::Result {
    let columns = lines.first().map_or(0, Vec::len);
    let width = |index: usize| {
        let cells = lines.iter().filter_map(|line| line.get(index));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for (number, line) in lines.iter().enumerate() {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        writeln!(out, "| {} |", cells.collect::<Vec<_>>().join(" | "))?;
        if number == 0 {
            let dashes: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
            writeln!(out, "| {} |", dashes.join(" | "))?;
        }
    }
    Ok(())
}

/// The floor in nanoseconds, the others as ratios.
fn ratio(cell: &CellResult, column: &Column) -> Option<String> {
    if column.is_floor {
        let median = column.spread(|sample| sample.cost)?.median;
        return Some(format!("{median:.0} {}", cell.unit));
    }
    let digits = |spread: &Spread| if spread.median < 0.1 { 4 } else { 2 };
    cell.figure(column).map(|spread| spread_of(&spread, digits(&spread)))
}

fn spread_of(spread: &Spread, digits: usize) -> String {
    let Spread { median, lowest, highest } = spread;
    format!("{median:.digits$} ({lowest:.digits$}-{highest:.digits$})")
}

fn latency(column: &Column) -> Option<String> {
    let median = |figure: fn(&super::Sample) -> u64| {
        let spread = column.spread(|sample| figure(sample) as f64)?;
        let nanoseconds =
            u64::try_from(std::time::Duration::from_secs_f64(spread.median / 1e9).as_nanos());
        nanoseconds.ok().filter(|nanoseconds| *nanoseconds > 0).map(time)
    };
    Some(format!("{} / {}", median(|sample| sample.p50_ns)?, median(|sample| sample.p99_ns)?))
}

fn targets(results: &Results, out: &mut String) -> std::fmt::Result {
    writeln!(
        out,
        "\nA target is reached when the median, less half the spread of the same against itself, is at it.\n"
    )?;
    let mut tell = |name: &str, peer: &str, median: f64, target: f64, by: &str, reached: bool| {
        let verdict = if reached { "reached" } else { "not reached" };
        let digits = if target < 0.1 { 4 } else { 2 };
        writeln!(out, "- {name}, {peer}: {median:.digits$} of {target:.digits$} ({by}): {verdict}")
    };
    for cell in &results.cells {
        let Some(target) = cell.target else { continue };
        for column in cell.columns.iter().filter(|column| column.is_ours) {
            if let (Some(spread), Some(reached)) = (cell.figure(column), cell.has_reached(column)) {
                let by = cell.unit_or_noise();
                tell(&cell.name, &column.peer, spread.median, target, &by, reached)?;
            }
        }
    }
    for pair in &results.pairs {
        if let (Some(target), Some(spread), Some(again), Some(reached)) =
            (pair.target, pair.ratio(), pair.again(), pair.has_reached())
        {
            let by = format!("{}, noise {:.2}", pair.figure.name(), again.half_width());
            tell(&pair.name, &pair.peer, spread.median, target, &by, reached)?;
        }
    }
    Ok(())
}

impl CellResult {
    fn unit_or_noise(&self) -> String {
        match self.is_ratio {
            true => format!("noise {:.2}", self.noise().unwrap_or(f64::NAN)),
            false => self.unit.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::results::tests::results;
    use super::*;

    #[test]
    fn a_table_has_a_row_a_cell_and_a_column_a_peer() {
        let text = tables(&results());
        let row = text.lines().find(|line| line.starts_with("| echo 1/1/64")).unwrap();
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(
            cells,
            ["echo 1/1/64", "100 ns per message", "1.10 (1.05-1.20)", "1.00 (0.98-1.04)"]
        );
        assert!(text.contains("| idle 10 |") && text.contains("160 (150-250)"), "{text}");
        assert!(text.contains("Left out: gnet (no Go)"));
        assert!(text.contains("- echo 1/1/64, reactor: 1.10 of 1.05 (noise 0.03): not reached"));
        assert!(text.contains("1.0 us / 2.0 us"));
        let row = text.lines().find(|line| line.starts_with("| beside bulk")).unwrap();
        assert!(row.contains("| 3.10 (3.00-4.10) | 1.00 (0.90-1.10)"), "{row}");
        assert!(text.contains(
            "- beside bulk, to without, reactor: 3.10 of 3.00 (p99, noise 0.10): reached"
        ));
    }

    #[test]
    fn what_is_missing_is_an_empty_cell_and_never_a_figure() {
        let text = tables(&results());
        let row = text.lines().find(|line| line.starts_with("| echo 10/1/64")).unwrap();
        assert!(row.split('|').nth(4).unwrap().trim().is_empty(), "{row}");
        assert!(!text.contains("NaN") && !text.contains("inf"));
    }
}
