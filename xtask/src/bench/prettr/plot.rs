//! Measurements of `bench prettr` into a plot: time over the join layer, on a scale of powers of ten.

use plotters::chart::{ChartBuilder, SeriesLabelPosition};
use plotters::coord::combinators::IntoLogRange as _;
use plotters::drawing::IntoDrawingArea as _;
use plotters::element::{Circle, PathElement};
use plotters::style::{Color as _, RGBColor, WHITE};
use plotters_svg::SVGBackend;

use super::What;
use super::report::{Measured, sums};

const SIZE: (u32, u32) = (720, 420);
const DRAWN: &str = "drawing into a string cannot fail";

/// Milliseconds a candidate, a line for each kind.
pub(super) fn draw(all: &[Measured]) -> String {
    let sums = sums(all);
    let line = |kinds: &[What]| -> Vec<(f64, f64)> {
        let own =
            sums.iter().filter(|((what, shape), _)| kinds.contains(what) && shape.compress == 0);
        let mut points: Vec<(f64, f64)> = own
            .map(|((_, shape), sum)| {
                (shape.join_layer as f64, 1e3 * sum.seconds / sum.candidates as f64)
            })
            .collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        points
    };
    let lines = [
        ("from the store", RGBColor(0, 90, 181), line(&[What::CrossEncoder, What::Store])),
        (
            "from the store, last layer for all tokens",
            RGBColor(220, 120, 0),
            line(&[What::WholeCrossEncoder, What::Whole]),
        ),
        ("from text", RGBColor(120, 120, 120), line(&[What::CrossEncoder, What::Text])),
    ];
    let values = || lines.iter().flat_map(|(_, _, points)| points.iter().map(|point| point.1));
    let low = values().fold(f64::INFINITY, f64::min).clamp(1e-3, 1e6) / 1.5;
    let high = values().fold(low, f64::max) * 1.5;
    let last = lines.iter().flat_map(|line| &line.2).map(|point| point.0).fold(1.0, f64::max);
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE).expect(DRAWN);
        let mut chart = ChartBuilder::on(&area)
            .margin(12)
            .x_label_area_size(40)
            .y_label_area_size(64)
            .build_cartesian_2d(-0.2..last + 0.2, (low..high).log_scale())
            .expect(DRAWN);
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(WHITE)
            .x_labels(last as usize + 1)
            .x_label_formatter(&|x: &f64| format!("{x:.0}"))
            .y_label_formatter(&|y: &f64| format!("{y}"))
            .x_desc("join layer (0: the cross-encoder)")
            .y_desc("ms a candidate")
            .draw()
            .expect(DRAWN);
        for (name, colour, points) in lines {
            let stroke = colour.stroke_width(2);
            chart
                .draw_series([PathElement::new(points.clone(), stroke)])
                .expect(DRAWN)
                .label(name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], stroke));
            let dots = points.iter().map(|&point| Circle::new(point, 4, colour.filled()));
            chart.draw_series(dots).expect(DRAWN);
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerLeft)
            .background_style(WHITE)
            .draw()
            .expect(DRAWN);
        area.present().expect(DRAWN);
    }
    svg
}
