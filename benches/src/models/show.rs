//! The comparison as a table and as a picture.

use std::fmt::Write;
use std::path::Path;

use plotters::prelude::*;

use super::{Comparison, Model, Row};
use crate::plot::{Drawn, Legend, Line, lines};
use crate::report::time;

/// A table for each amount of work.
pub fn table(comparison: &Comparison) -> String {
    let machine = &comparison.machine;
    let mut out = format!(
        "{}; {} cores, {}\nLinux {}, {}, commit {}; {} s for each row; pool of {} threads, {} loops\n",
        machine.date,
        machine.cores,
        machine.processor,
        machine.kernel,
        machine.rustc,
        machine.commit,
        comparison.seconds,
        comparison.pool,
        comparison.loops
    );
    for work in amounts(comparison) {
        // Writing to a string does not fail.
        let _ = writeln!(out, "\nA line of 64 bytes comes back after {work} squares\n");
        let _ = writeln!(
            out,
            "| {:>7} | {:<9} | {:>8} | {:>12} | {:>9} | {:>9} | {:>11} | {:>9} | {:>7} | {:>6} |",
            "clients",
            "model",
            "answered",
            "lines/second",
            "p50",
            "p99",
            "CPU ns/line",
            "MiB",
            "threads",
            "errors"
        );
        let _ = writeln!(
            out,
            "| ------: | --------- | -------: | -----------: | --------: | --------: | ----------: | --------: | ------: | -----: |"
        );
        for row in comparison.rows.iter().filter(|row| row.work == work) {
            let _ = match &row.failure {
                Some(why) => writeln!(out, "| {:>7} | {:<9} | {why} |", row.clients, row.model),
                None => writeln!(
                    out,
                    "| {:>7} | {:<9} | {:>8} | {:>12.0} | {:>9} | {:>9} | {:>11.0} | {:>9.1} | {:>7} | {:>6} |",
                    row.clients,
                    row.model,
                    row.clients_answered,
                    row.lines_per_second,
                    time(row.p50_ns),
                    time(row.p99_ns),
                    row.cpu_ns,
                    row.resident as f64 / f64::from(1 << 20),
                    row.threads,
                    row.errors
                ),
            };
        }
    }
    out
}

fn amounts(comparison: &Comparison) -> Vec<u64> {
    let mut amounts: Vec<u64> = comparison.rows.iter().map(|row| row.work).collect();
    amounts.sort_unstable();
    amounts.dedup();
    amounts
}

/// What is shown, in which unit, and where it is in a row.
type Panel = (&'static str, &'static str, fn(&Row) -> f64);

/// Throughput, latency, memory, threads and who was served at all, over the number of clients; a row of panels for
/// each amount of work.
///
/// # Errors
/// If the file cannot be written.
pub fn plot(comparison: &Comparison, file: &Path) -> Drawn {
    let amounts = amounts(comparison);
    let panels: [Panel; 5] = [
        ("throughput", "lines a second", |row| row.lines_per_second),
        ("latency, p99", "microseconds", |row| row.p99_ns as f64 / 1e3),
        ("memory", "MiB", |row| row.resident as f64 / f64::from(1 << 20)),
        ("threads", "threads", |row| row.threads as f64),
        ("clients served", "clients", |row| row.clients_answered as f64),
    ];
    let rows = amounts.len().max(1);
    let area = SVGBackend::new(file, (2000, 400 * u32::try_from(rows)?)).into_drawing_area();
    area.fill(&WHITE)?;
    let areas = area.split_evenly((rows, panels.len()));
    let all = amounts.iter().flat_map(|work| panels.iter().map(move |panel| (*work, panel)));
    for (area, (work, (name, unit, figure))) in areas.iter().zip(all) {
        let drawn: Vec<Line> = Model::ALL
            .iter()
            .enumerate()
            .map(|(color, model)| {
                let is_drawn = |row: &&Row| {
                    row.model == model.name() && row.work == work && row.failure.is_none()
                };
                let rows = comparison.rows.iter().filter(is_drawn);
                let points = rows.map(|row| (row.clients as f64, figure(row))).collect();
                Line { name: model.to_string(), color, points }
            })
            .filter(|line| !line.points.is_empty())
            .collect();
        let caption = format!("{name}, {work} squares a line");
        let legend = if *name == "clients served" { Legend::Beyond } else { Legend::None };
        lines(area, &caption, ("clients", unit), &drawn, legend)?;
    }
    Ok(area.present()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Machine;

    fn comparison() -> Comparison {
        let row = |model: Model, work, clients: usize| Row {
            model: model.to_string(),
            work,
            clients,
            clients_answered: clients.min(8),
            lines_per_second: 1000.0 * clients as f64,
            p50_ns: 20_000,
            p99_ns: 90_000,
            cpu_ns: 1234.0,
            resident: 3 << 20,
            threads: 8,
            errors: 0,
            failure: (model == Model::Blocking).then(|| "it has failed".to_owned()),
        };
        let mut rows = Vec::new();
        for work in [0, 1000] {
            for clients in [1, 10] {
                rows.extend([Model::Blocking, Model::Pool].map(|model| row(model, work, clients)));
            }
        }
        Comparison { machine: Machine::here(), seconds: 1.0, pool: 8, loops: 2, rows }
    }

    #[test]
    fn there_is_a_row_for_each_and_a_failure_is_told() {
        let text = table(&comparison());
        assert!(text.contains("after 0 squares") && text.contains("after 1000 squares"));
        let row = text.lines().find(|line| line.contains("| pool ")).unwrap();
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(
            cells,
            ["1", "pool", "1", "1000", "20.0 us", "90.0 us", "1234", "3.0", "8", "0"]
        );
        assert_eq!(text.matches("it has failed").count(), 4);
    }

    #[test]
    fn a_picture_has_five_panels_for_each_amount_of_work() {
        let file = std::env::temp_dir().join(format!("models-{}.svg", std::process::id()));
        plot(&comparison(), &file).unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::remove_file(file).unwrap();
        for name in ["throughput", "latency", "memory", "threads", "clients served"] {
            assert_eq!(text.matches(&format!("{name}, ")).count(), 2, "{name}");
        }
        assert!(text.contains("pool") && !text.contains("blocking"));
    }
}
