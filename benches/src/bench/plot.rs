//! Results as pictures.

use std::error::Error;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use super::results::{CellResult, Results};

type Drawn = Result<(), Box<dyn Error>>;

/// Ratios above this are drawn at it: one slow peer must not make all others one point.
const RATIO_MAX: f64 = 3.0;

/// Ratios to the floor: a band a cell, a dot a peer at the median, a line from the lowest to the highest.
///
/// # Errors
/// If the file cannot be written, or there is nothing to draw.
pub fn plot_ratios(results: &Results, file: &Path) -> Drawn {
    let cells: Vec<&CellResult> = results.cells.iter().filter(|cell| cell.is_ratio).collect();
    let peers = names(&cells, |peer| !peer.is_floor);
    let most = peers.len().max(1);
    let height = 120 + 16 * u32::try_from(cells.len() * (most + 1))?;
    let area = SVGBackend::new(file, (1000, height)).into_drawing_area();
    area.fill(&WHITE)?;
    let bands = cells.len() as f64;
    let mut chart = ChartBuilder::on(&area)
        .caption("CPU time of the server beside the floor's", ("sans-serif", 20))
        .margin(10)
        .x_label_area_size(40)
        .y_label_area_size(200)
        .build_cartesian_2d(0.5..RATIO_MAX, 0.0..bands)?;
    let name = |y: &f64| {
        let index = cells.len().checked_sub(1)?.checked_sub(index_of(*y)?)?;
        cells.get(index).map(|cell| cell.name.clone())
    };
    chart
        .configure_mesh()
        .disable_y_mesh()
        .y_labels(0)
        .x_desc(format!(
            "floor = 1; what is above {RATIO_MAX} is drawn there; {}",
            describe(results)
        ))
        .draw()?;
    for band in 0..cells.len() {
        let y = band as f64;
        let at = chart.backend_coord(&(0.5, y + 0.5));
        let text = name(&(y + 0.5)).unwrap_or_default();
        area.draw_text(&text, &("sans-serif", 14).into_text_style(&area), (10, at.1 - 7))?;
        chart.draw_series(LineSeries::new([(0.5, y), (RATIO_MAX, y)], BLACK.mix(0.2)))?;
    }
    chart.draw_series(LineSeries::new([(1.0, 0.0), (1.0, bands)], BLACK.stroke_width(1)))?;
    for (index, peer) in peers.iter().enumerate() {
        let color = color(index);
        let mut dots = Vec::new();
        for (row, cell) in cells.iter().enumerate() {
            let figure = cell.column(peer).and_then(|column| cell.figure(column));
            let Some(spread) = figure else { continue };
            let step = (index + 1) as f64 / (most + 1) as f64;
            let y = bands - row as f64 - step;
            let within = |value: f64| value.clamp(0.5, RATIO_MAX);
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

/// CPU time of a message over the number of connections, both logarithmic.
///
/// # Errors
/// As of [`plot_ratios`].
pub fn plot_scale(results: &Results, file: &Path) -> Drawn {
    let mut cells: Vec<&CellResult> = results.cells.iter().filter(|cell| cell.is_scale).collect();
    cells.sort_by_key(|cell| cell.connections);
    let area = SVGBackend::new(file, (1000, 600)).into_drawing_area();
    area.fill(&WHITE)?;
    let peers = names(&cells, |_| true);
    let line = |peer: &str| -> Vec<(f64, f64)> {
        let point = |cell: &&CellResult| {
            let cost = cell.column(peer)?.spread(|sample| sample.cost)?.median;
            Some((cell.connections as f64, cost))
        };
        cells.iter().filter_map(point).collect()
    };
    let costs = || peers.iter().flat_map(|peer| line(peer)).map(|point| point.1);
    let lowest = costs().fold(f64::INFINITY, f64::min).clamp(1.0, 1e12);
    let highest = costs().fold(lowest * 2.0, f64::max);
    scale_chart(&area, (lowest, highest), &describe(results), |index| {
        peers.get(index).map(|peer| ((*peer).to_owned(), line(peer)))
    })?;
    area.present()?;
    Ok(())
}

fn scale_chart(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    (lowest, highest): (f64, f64),
    description: &str,
    line: impl Fn(usize) -> Option<(String, Vec<(f64, f64)>)>,
) -> Drawn {
    let mut chart = ChartBuilder::on(area)
        .caption("CPU time of the server for a message, by connections", ("sans-serif", 20))
        .margin(10)
        .x_label_area_size(40)
        .y_label_area_size(80)
        .build_cartesian_2d(
            (1.0..20_000.0).log_scale(),
            (lowest * 0.8..highest * 1.25).log_scale(),
        )?;
    let mut mesh = chart.configure_mesh();
    mesh.x_desc(format!("connections; {description}")).y_desc("nanoseconds").draw()?;
    for (index, (name, points)) in (0..).map_while(|index| Some((index, line(index)?))) {
        let color = color(index);
        chart
            .draw_series(LineSeries::new(points.clone(), color.stroke_width(2)))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], color));
        chart.draw_series(points.into_iter().map(|at| Circle::new(at, 3, color.filled())))?;
    }
    let mut legend = chart.configure_series_labels();
    legend.background_style(WHITE.mix(0.9)).border_style(BLACK);
    legend.position(SeriesLabelPosition::UpperLeft).draw()?;
    Ok(())
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

fn color(index: usize) -> RGBColor {
    let palette = Palette99::pick(index).to_rgba().rgb();
    RGBColor(palette.0, palette.1, palette.2)
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
        plot_scale(&results(), &file("scale")).unwrap();
        let scale = read(&file("scale"));
        assert!(scale.contains("reactor") && scale.contains("connections"));
        assert!(!ratios.contains("NaN") && !scale.contains("NaN"));
    }

    #[test]
    fn nothing_measured_is_an_empty_picture() {
        let mut results = results();
        results.cells.clear();
        let file = std::env::temp_dir().join(format!("benches-{}-none.svg", std::process::id()));
        assert!(plot_scale(&results, &file).is_ok() && plot_ratios(&results, &file).is_ok());
        std::fs::remove_file(file).unwrap();
    }
}
