//! Results as pictures.

use std::path::Path;

use plotters::prelude::*;

use super::cells::Scale;
use super::results::{CellResult, Results};
use crate::plot::{Drawn, Legend, Line, color, lines};

/// The legend stands beyond them.
const AXIS_MAX: f64 = 3.7;

/// Ratios above this are drawn at it: one slow peer must not make all others one point.
const RATIO_MAX: f64 = 3.0;
const RATIO_MIN: f64 = 0.5;

/// Ratios to the floor: a band a cell, a dot a peer at the median, a line from the lowest to the highest.
///
/// # Errors
/// If the file cannot be written, or there is nothing to draw.
pub fn plot_ratios(results: &Results, file: &Path) -> Drawn {
    // Those beside idle connections are all the same; the other picture has them.
    let is_drawn = |cell: &&CellResult| {
        cell.is_ratio && cell.scale.as_deref() != Some(Scale::BesideIdle.name())
    };
    let cells: Vec<&CellResult> = results.cells.iter().filter(is_drawn).collect();
    let all = names(&cells, |_| true);
    let peers: Vec<&str> = names(&cells, |peer| !peer.is_floor);
    let most = peers.len().max(1);
    let height = 120 + 11 * u32::try_from(cells.len() * (most + 1))?;
    let area = SVGBackend::new(file, (1000, height)).into_drawing_area();
    area.fill(&WHITE)?;
    let bands = cells.len() as f64;
    let mut chart = ChartBuilder::on(&area)
        .caption("CPU time of the server beside the floor's", ("sans-serif", 20))
        .margin(10)
        .x_label_area_size(40)
        .y_label_area_size(200)
        .build_cartesian_2d(RATIO_MIN..AXIS_MAX, 0.0..bands)?;
    let name = |y: &f64| {
        let index = cells.len().checked_sub(1)?.checked_sub(index_of(*y)?)?;
        cells.get(index).map(|cell| cell.name.clone())
    };
    chart
        .configure_mesh()
        .disable_y_mesh()
        .y_labels(0)
        .x_desc(format!(
            "floor = 1; what is above {RATIO_MAX} or below {RATIO_MIN} is drawn there; {}",
            describe(results)
        ))
        .draw()?;
    for band in 0..cells.len() {
        let y = band as f64;
        let at = chart.backend_coord(&(RATIO_MIN, y + 0.5));
        let text = name(&(y + 0.5)).unwrap_or_default();
        area.draw_text(&text, &("sans-serif", 14).into_text_style(&area), (10, at.1 - 7))?;
        chart.draw_series(LineSeries::new([(RATIO_MIN, y), (AXIS_MAX, y)], BLACK.mix(0.2)))?;
    }
    chart.draw_series(LineSeries::new([(1.0, 0.0), (1.0, bands)], BLACK.stroke_width(1)))?;
    for (index, peer) in peers.iter().enumerate() {
        let color = color(all.iter().position(|name| name == peer).unwrap_or(0));
        let mut dots = Vec::new();
        for (row, cell) in cells.iter().enumerate() {
            let figure = cell.column(peer).and_then(|column| cell.figure(column));
            let Some(spread) = figure else { continue };
            let step = (index + 1) as f64 / (most + 1) as f64;
            let y = bands - row as f64 - step;
            let within = |value: f64| value.clamp(RATIO_MIN, RATIO_MAX);
            let ends = [(within(spread.lowest), y), (within(spread.highest), y)];
            chart.draw_series(LineSeries::new(ends, color.stroke_width(2)))?;
            dots.push((within(spread.median), y));
        }
        chart
            .draw_series(dots.into_iter().map(|at| Circle::new(at, 4, color.filled())))?
            .label(*peer)
            .legend(move |(x, y)| Circle::new((x + 10, y), 4, color.filled()));
    }
    let mut legend = chart.configure_series_labels();
    legend.background_style(WHITE.mix(0.9)).border_style(BLACK);
    legend.position(SeriesLabelPosition::UpperRight).draw()?;
    area.present()?;
    Ok(())
}

/// One curve a peer over the number of connections, both logarithmic; one panel a scale.
///
/// # Errors
/// As of [`plot_ratios`].
pub fn plot_scales(results: &Results, file: &Path) -> Drawn {
    let mut scales: Vec<(&str, &str)> = Vec::new();
    for cell in &results.cells {
        let scale = cell.scale.as_ref().map(|scale| (scale.as_str(), cell.unit.as_str()));
        scales.extend(scale.filter(|scale| !scales.contains(scale)));
    }
    let all = names(&results.cells.iter().collect::<Vec<_>>(), |_| true);
    let panels = scales.len().max(1);
    let area = SVGBackend::new(file, (1000, 500 * u32::try_from(panels)?)).into_drawing_area();
    area.fill(&WHITE)?;
    for (panel, (scale, unit)) in area.split_evenly((panels, 1)).iter().zip(scales) {
        let mut cells: Vec<&CellResult> =
            results.cells.iter().filter(|cell| cell.scale.as_deref() == Some(scale)).collect();
        cells.sort_by_key(|cell| cell.connections);
        let line = |peer: &str| -> Line {
            let color = all.iter().position(|name| *name == peer).unwrap_or(0);
            let point = |cell: &&CellResult| {
                let cost = cell.column(peer)?.spread(|sample| sample.cost)?.median;
                Some((cell.connections as f64, cost))
            };
            Line { name: peer.to_owned(), color, points: cells.iter().filter_map(point).collect() }
        };
        let drawn: Vec<Line> = names(&cells, |_| true).into_iter().map(line).collect();
        let across = format!("connections; {}", describe(results));
        lines(panel, scale, (&across, unit), &drawn, Legend::Beyond)?;
    }
    Ok(area.present()?)
}

fn names<'a>(cells: &[&'a CellResult], is_drawn: impl Fn(&super::Column) -> bool) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    for column in cells.iter().flat_map(|cell| &cell.columns).filter(|column| is_drawn(column)) {
        if !names.contains(&column.peer.as_str()) {
            names.push(&column.peer);
        }
    }
    names
}

fn describe(results: &Results) -> String {
    let machine = &results.machine;
    format!("{}, {}, {} rounds", machine.date, machine.commit, results.rounds)
}

fn index_of(y: f64) -> Option<usize> {
    (0..10_000).find(|index| y < (*index + 1) as f64)
}

#[cfg(test)]
mod tests {
    use super::super::results::tests::results;
    use super::*;

    #[test]
    fn pictures_show_all_peers_and_cells() {
        let folder = std::env::temp_dir();
        let file = |name| folder.join(format!("benches-{}-{name}.svg", std::process::id()));
        let read = |file: &Path| {
            let text = std::fs::read_to_string(file).unwrap();
            std::fs::remove_file(file).unwrap();
            text
        };
        plot_ratios(&results(), &file("ratios")).unwrap();
        let ratios = read(&file("ratios"));
        for text in ["echo 1/1/64", "echo 10/1/64", "reactor", "epoll again"] {
            assert!(ratios.contains(text), "{text}");
        }
        assert!(!ratios.contains("idle 10"));
        plot_scales(&results(), &file("scale")).unwrap();
        let scale = read(&file("scale"));
        assert!(scale.contains("reactor") && scale.contains("connections"));
        assert!(!ratios.contains("NaN") && !scale.contains("NaN"));
    }

    #[test]
    fn nothing_measured_is_an_empty_picture() {
        let mut results = results();
        results.cells.clear();
        let file = std::env::temp_dir().join(format!("benches-{}-none.svg", std::process::id()));
        assert!(plot_scales(&results, &file).is_ok() && plot_ratios(&results, &file).is_ok());
        std::fs::remove_file(file).unwrap();
    }
}
