//! Lines over the number of connections, both axes logarithmic.

use std::error::Error;

use plotters::coord::Shift;
use plotters::prelude::*;

/// What a drawing may fail with: a file that cannot be written, above all.
pub type Drawn = Result<(), Box<dyn Error>>;

/// One area of a picture.
pub type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// One line.
#[derive(Clone, Debug)]
pub struct Line {
    pub name: String,
    /// The same name has the same color in all panels: a number for [`color`].
    pub color: usize,
    /// Where it goes.
    pub points: Vec<(f64, f64)>,
}

/// Where the lines are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Legend {
    None,
    /// Beyond the lines, at the right: the axis goes on so far.
    Beyond,
}

/// Draws lines; points at or below zero have no place on such an axis, and are left out.
///
/// # Errors
/// If it cannot be written.
pub fn lines(
    area: &Area<'_>,
    caption: &str,
    description: (&str, &str),
    lines: &[Line],
    legend: Legend,
) -> Drawn {
    let points = |at: fn(&(f64, f64)) -> f64| {
        let values = lines.iter().flat_map(|line| &line.points).filter(|point| is_drawn(point));
        values
            .map(at)
            .fold((f64::INFINITY, 0.0_f64), |(low, high), value| (low.min(value), high.max(value)))
    };
    let (mut x, y) = (axis(points(|point| point.0)), axis(points(|point| point.1)));
    if legend == Legend::Beyond {
        x.1 *= (x.1 / x.0).powf(0.35);
    }
    let mut chart = ChartBuilder::on(area)
        .caption(caption, ("sans-serif", 18))
        .margin(10)
        .x_label_area_size(40)
        .y_label_area_size(80)
        .build_cartesian_2d((x.0..x.1).log_scale(), (y.0..y.1).log_scale())?;
    let number =
        |value: &f64| if *value < 1.0 { format!("{value}") } else { format!("{value:.0}") };
    chart
        .configure_mesh()
        .x_desc(description.0)
        .y_desc(description.1)
        .max_light_lines(1)
        .x_label_formatter(&number)
        .y_label_formatter(&number)
        .draw()?;
    for line in lines {
        let color = color(line.color);
        let points = || line.points.iter().copied().filter(is_drawn);
        chart
            .draw_series(LineSeries::new(points(), color.stroke_width(2)))?
            .label(&line.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], color));
        chart.draw_series(points().map(|at| Circle::new(at, 3, color.filled())))?;
    }
    let position = match legend {
        Legend::None => return Ok(()),
        Legend::Beyond => SeriesLabelPosition::UpperRight,
    };
    let mut labels = chart.configure_series_labels();
    labels.background_style(WHITE.mix(0.8)).border_style(BLACK);
    Ok(labels.position(position).draw()?)
}

fn is_drawn(point: &(f64, f64)) -> bool {
    point.0 > 0.0 && point.1 > 0.0
}

/// Whole decades, and at least one.
fn axis((lowest, highest): (f64, f64)) -> (f64, f64) {
    if lowest > highest {
        return (1.0, 10.0);
    }
    let low = 10_f64.powf(lowest.log10().floor());
    (low, 10_f64.powf(highest.log10().ceil()).max(low * 10.0))
}

/// The color of the line with this number.
pub fn color(index: usize) -> RGBColor {
    let palette = Palette99::pick(index).to_rgba().rgb();
    RGBColor(palette.0, palette.1, palette.2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_are_whole_decades() {
        let is = |ends, low: f64, high: f64| {
            let axis = axis(ends);
            assert!(
                (axis.0 / low - 1.0).abs() < 1e-9 && (axis.1 / high - 1.0).abs() < 1e-9,
                "{axis:?}"
            );
        };
        is((20.0, 3000.0), 10.0, 10_000.0);
        is((10.0, 10.0), 10.0, 100.0);
        is((0.05, 0.5), 0.01, 1.0);
        is((f64::INFINITY, 0.0), 1.0, 10.0);
    }

    #[test]
    fn points_that_have_no_place_are_left_out() {
        let draw = |drawn: &[Line]| {
            let mut text = String::new();
            {
                let area = SVGBackend::with_string(&mut text, (400, 300)).into_drawing_area();
                lines(&area, "title", ("across", "up"), drawn, Legend::Beyond).unwrap();
                area.present().unwrap();
            }
            text
        };
        let points = vec![(1.0, 0.0), (10.0, 5.0), (100.0, 7.0)];
        let line = Line { name: "one".to_owned(), color: 0, points };
        let text = draw(&[line]);
        assert!(text.contains("one") && text.contains("title") && !text.contains("NaN"));
        assert_eq!(text.matches("<circle").count(), 2);
        assert!(!draw(&[]).contains("NaN"));
    }
}
