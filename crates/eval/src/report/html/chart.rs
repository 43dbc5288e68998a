//! Numbers into SVG charts whose colours are the page's own, so that they follow dark mode.

use plotters::chart::{ChartBuilder, ChartContext};
use plotters::coord::Shift;
use plotters::coord::cartesian::Cartesian2d;
use plotters::coord::types::RangedCoordf64;
use plotters::drawing::{DrawingArea, IntoDrawingArea};
use plotters::element::{
    Circle, Cross, EmptyElement, PathElement, Polygon, Rectangle, Text, TriangleMarker,
};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, IntoFont, RGBColor, ShapeStyle, TextStyle};
use plotters_svg::SVGBackend;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Plane = Cartesian2d<RangedCoordf64, RangedCoordf64>;
type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Plane>;

/// Charts are drawn small, so that their text stays readable when a phone shows them at full width.
const SIZE: (u32, u32) = (420, 280);
const DRAWN: &str = "drawing into a string cannot fail";

// Stand-ins that become variables of the style sheet.
const INK: RGBColor = RGBColor(1, 1, 1);
const GRID: RGBColor = RGBColor(1, 1, 2);
const UP: RGBColor = RGBColor(1, 1, 3);
const DOWN: RGBColor = RGBColor(1, 1, 4);
const PANEL: RGBColor = RGBColor(1, 1, 5);

/// How many systems have a colour and a marker of their own.
pub(super) const N_STYLES: usize = 6;

fn series(index: usize) -> RGBColor {
    RGBColor(1, 2, (index % N_STYLES) as u8)
}

/// A bar of a chart: its value and, where there is one, its interval.
pub(super) struct Bar {
    pub(super) value: f64,
    pub(super) interval: Option<(f64, f64)>,
}

/// Bars in groups, one bar per system in each.
pub(super) fn bars(groups: &[(String, Vec<Bar>)], count: bool) -> String {
    let tops = groups.iter().flat_map(|(_, bars)| bars);
    let high = tops.map(|bar| bar.interval.map_or(bar.value, |(_, high)| high));
    let high = high.fold(0.0, f64::max).max(1e-6) * 1.12;
    draw(SIZE, |area| {
        let n = groups.len() as f64;
        let mut chart = plane(area, (0.0, n), (0.0, high), 44);
        let label = |y: &f64| if count { format!("{y:.0}") } else { format!("{y:.2}") };
        chart
            .configure_mesh()
            .disable_x_mesh()
            .disable_x_axis()
            .y_labels(5)
            .y_label_formatter(&label)
            .light_line_style(GRID.mix(0.0))
            .bold_line_style(GRID)
            .axis_style(GRID)
            .label_style(text(15))
            .draw()
            .expect(DRAWN);
        for (at, (name, bars)) in groups.iter().enumerate() {
            let width = 0.8 / bars.len() as f64;
            for (index, bar) in bars.iter().enumerate() {
                let left = at as f64 + 0.1 + index as f64 * width;
                let right = left + width * 0.9;
                // Light enough for the interval to stand out, and no grid behind it.
                for style in [PANEL.filled(), series(index).mix(0.75).filled()] {
                    let corners = [(left, 0.0), (right, bar.value)];
                    chart.draw_series([Rectangle::new(corners, style)]).expect(DRAWN);
                }
                if let Some((low, high)) = bar.interval {
                    let middle = (left + right) / 2.0;
                    let cap = width * 0.2;
                    let stroke = INK.stroke_width(2);
                    for line in [
                        vec![(middle, low), (middle, high)],
                        vec![(middle - cap, low), (middle + cap, low)],
                        vec![(middle - cap, high), (middle + cap, high)],
                    ] {
                        chart.draw_series([PathElement::new(line, stroke)]).expect(DRAWN);
                    }
                }
            }
            under(&chart, area, at as f64 + 0.5, name);
        }
    })
}

/// One curve per system through the same places, which are labelled and evenly spaced.
pub(super) fn curves(labels: &[String], systems: &[Vec<f64>], axis: &str) -> String {
    let high = systems.iter().flatten().copied().fold(0.0, f64::max).max(1e-6);
    draw(SIZE, |area| {
        let last = (labels.len() - 1) as f64;
        let mut chart = plane(area, (-0.3, last + 0.3), (0.0, high * 1.08), 52);
        chart
            .configure_mesh()
            .disable_x_mesh()
            .disable_x_axis()
            .y_labels(5)
            .y_label_formatter(&|y: &f64| format!("{y:.2}"))
            .light_line_style(GRID.mix(0.0))
            .bold_line_style(GRID)
            .axis_style(GRID)
            .label_style(text(15))
            .draw()
            .expect(DRAWN);
        for (index, values) in systems.iter().enumerate() {
            let points: Vec<(f64, f64)> =
                values.iter().enumerate().map(|(x, &y)| (x as f64, y)).collect();
            let line = PathElement::new(points.clone(), series(index).stroke_width(2));
            chart.draw_series([line]).expect(DRAWN);
            for point in points {
                marker(&mut chart, index, point);
            }
        }
        for (x, label) in labels.iter().enumerate() {
            under(&chart, area, x as f64, label);
        }
        let (width, height) = area.dim_in_pixel();
        let style = text(15).pos(Pos::new(HPos::Center, VPos::Bottom));
        let place = (width as i32 / 2 + 20, height as i32 - 2);
        area.draw(&Text::new(axis.to_owned(), place, style)).expect(DRAWN);
    })
}

/// One bar per query, sorted: gains point up, losses down. `range` holds the lowest and the highest
/// value that the axis shows.
pub(super) fn differences(sorted: &[f64], range: (f64, f64)) -> String {
    let (low, high) = (range.0 * 1.08, range.1 * 1.08);
    draw(SIZE, |area| {
        let mut chart = plane(area, (0.0, sorted.len() as f64), (low, high), 12);
        chart
            .configure_mesh()
            .disable_x_mesh()
            .disable_x_axis()
            .y_labels(7)
            // A zero made of rounding would print its sign.
            .y_label_formatter(&|y: &f64| match y.abs() < 1e-9 {
                true => "0".to_owned(),
                false => format!("{y:+.2}"),
            })
            .light_line_style(GRID.mix(0.0))
            .bold_line_style(GRID)
            .axis_style(GRID)
            .label_style(text(15))
            .draw()
            .expect(DRAWN);
        let gap = if sorted.len() > 150 { 0.0 } else { 0.08 };
        for (index, &value) in sorted.iter().enumerate().filter(|(_, value)| **value != 0.0) {
            let (left, right) = (index as f64 + gap, index as f64 + 1.0 - gap);
            let color = if value > 0.0 { UP } else { DOWN };
            let shape = Rectangle::new([(left, 0.0), (right, value)], color.filled());
            chart.draw_series([shape]).expect(DRAWN);
        }
        let zero = vec![(0.0, 0.0), (sorted.len() as f64, 0.0)];
        chart.draw_series([PathElement::new(zero, INK.stroke_width(1))]).expect(DRAWN);
    })
}

/// A system's line and marker, for the legend.
pub(super) fn swatch(index: usize) -> String {
    draw((38, 18), |area| {
        let mut chart =
            ChartBuilder::on(area).build_cartesian_2d(0.0..38.0, 0.0..18.0).expect(DRAWN);
        let line = PathElement::new(vec![(1.0, 9.0), (37.0, 9.0)], series(index).stroke_width(4));
        chart.draw_series([line]).expect(DRAWN);
        marker(&mut chart, index, (19.0, 9.0));
    })
}

/// A shape of its own for each style, since colours alone do not reach everyone.
fn marker(chart: &mut Chart<'_, '_>, index: usize, point: (f64, f64)) {
    let (color, at) = (series(index), EmptyElement::at(point));
    let filled: ShapeStyle = color.filled();
    let diamond = || Polygon::new(vec![(0, -6), (6, 0), (0, 6), (-6, 0)], filled);
    let drawn = match index % N_STYLES {
        0 => chart.draw_series([Circle::new(point, 4, filled)]).map(|_| ()),
        1 => chart.draw_series([TriangleMarker::new(point, 6, filled)]).map(|_| ()),
        2 => chart.draw_series([Cross::new(point, 4, color.stroke_width(2))]).map(|_| ()),
        3 => {
            let square = Rectangle::new([(-4, -4), (4, 4)], filled);
            chart.draw_series([at + square]).map(|_| ())
        }
        4 => chart.draw_series([at + diamond()]).map(|_| ()),
        _ => chart.draw_series([Circle::new(point, 5, color.stroke_width(2))]).map(|_| ()),
    };
    drawn.expect(DRAWN);
}

fn plane<'a, 'b>(area: &'a Area<'b>, x: (f64, f64), y: (f64, f64), below: u32) -> Chart<'a, 'b> {
    ChartBuilder::on(area)
        .margin(6)
        .y_label_area_size(50)
        .margin_bottom(below)
        .build_cartesian_2d(x.0..x.1, y.0..y.1)
        .expect(DRAWN)
}

/// A label under the axis. Long ones are cut into two lines at a parenthesis or an `@`.
fn under(chart: &Chart<'_, '_>, area: &Area<'_>, x: f64, label: &str) {
    let (pixel, _) = chart.backend_coord(&(x, 0.0));
    let bottom = chart.plotting_area().get_pixel_range().1.end;
    let style = text(15).pos(Pos::new(HPos::Center, VPos::Top));
    let cut = label.find(['(', '@']).filter(|_| label.len() > 8).unwrap_or(label.len());
    let (first, second) = label.split_at(cut);
    for (line, part) in [first, second].into_iter().enumerate() {
        let place = (pixel, bottom + 6 + 18 * line as i32);
        area.draw(&Text::new(part.to_owned(), place, style.clone())).expect(DRAWN);
    }
}

fn text(size: i32) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&INK)
}

fn draw(size: (u32, u32), f: impl FnOnce(&Area<'_>)) -> String {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        f(&area);
        area.present().expect(DRAWN);
    }
    themed(&svg, size)
}

/// Replaces the stand-ins by variables, and the fixed size by one that scales.
fn themed(svg: &str, (width, height): (u32, u32)) -> String {
    let mut svg = svg
        .replace("#010101", "var(--ink)")
        .replace("#010102", "var(--grid)")
        .replace("#010103", "var(--up)")
        .replace("#010104", "var(--down)")
        .replace("#010105", "var(--panel)");
    for index in 0..N_STYLES {
        svg = svg.replace(&format!("#01020{index}"), &format!("var(--s{index})"));
    }
    svg.replace(
        &format!("<svg width=\"{width}\" height=\"{height}\" "),
        "<svg aria-hidden=\"true\" ",
    )
}
