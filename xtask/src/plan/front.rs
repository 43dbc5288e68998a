//! A grid into a drawing: quality over latency, one line per ratio, and what a budget allows.

use plotters::chart::ChartBuilder;
use plotters::drawing::IntoDrawingArea;
use plotters::element::{Circle, EmptyElement, PathElement, Rectangle, Text, TriangleMarker};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, IntoFont, RGBColor, WHITE};
use plotters_svg::SVGBackend;

use super::grid::{Cell, Grid};

const SIZE: (u32, u32) = (720, 440);
const DRAWN: &str = "drawing into a string cannot fail";
const INK: RGBColor = RGBColor(40, 40, 40);
const GRID: RGBColor = RGBColor(222, 222, 222);
/// Tol's bright scheme, which colour-blind readers can tell apart.
const COLORS: [RGBColor; 5] = [
    RGBColor(68, 119, 170),
    RGBColor(238, 102, 119),
    RGBColor(34, 136, 51),
    RGBColor(204, 187, 68),
    RGBColor(170, 51, 119),
];

/// Draws a grid and the cell that every budget gets.
pub fn draw(grid: &Grid, picks: &[(f64, Option<&Cell>)]) -> String {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE).expect(DRAWN);
        let qualities = grid.cells.iter().map(|cell| cell.quality).chain([grid.first_stage]);
        let (low, high) =
            qualities.fold((f64::MAX, f64::MIN), |(low, high), q| (low.min(q), high.max(q)));
        let margin = 0.08 * (high - low).max(0.01);
        let right = 1.1 * grid.cells.iter().map(|cell| cell.ms).fold(1e-3, f64::max);
        let mut chart = ChartBuilder::on(&area)
            .margin(14)
            .margin_right(24)
            .x_label_area_size(44)
            .y_label_area_size(64)
            .build_cartesian_2d(0.0..right, low - margin..high + margin)
            .expect(DRAWN);
        let font = || ("sans-serif", 15).into_font().color(&INK);
        chart
            .configure_mesh()
            .light_line_style(GRID.mix(0.0))
            .bold_line_style(GRID)
            .axis_style(INK)
            .label_style(font())
            .x_desc(format!("median milliseconds of a query with {} candidates", grid.depth))
            .y_desc(grid.measure.clone())
            .x_label_formatter(&|x| format!("{x:.0}"))
            .y_label_formatter(&|y| format!("{y:.2}"))
            .draw()
            .expect(DRAWN);
        let first = vec![(0.0, grid.first_stage), (right, grid.first_stage)];
        chart.draw_series([PathElement::new(first, INK.mix(0.5).stroke_width(1))]).expect(DRAWN);
        let label = Text::new("first stage", (4, -16), font());
        chart.draw_series([EmptyElement::at((0.0, grid.first_stage)) + label]).expect(DRAWN);
        let front = grid.front().iter().map(|cell| (cell.ms, cell.quality)).collect::<Vec<_>>();
        chart.draw_series([PathElement::new(front, INK.mix(0.25).stroke_width(7))]).expect(DRAWN);
        for (index, ratio) in grid.ratios().into_iter().enumerate() {
            let color = COLORS[index % COLORS.len()];
            let cells: Vec<&Cell> = grid.cells.iter().filter(|cell| cell.ratio == ratio).collect();
            let points: Vec<_> = cells.iter().map(|cell| (cell.ms, cell.quality)).collect();
            chart.draw_series([PathElement::new(points, color.stroke_width(2))]).expect(DRAWN);
            for cell in cells {
                let at = (cell.ms, cell.quality);
                match index % 3 {
                    0 => chart.draw_series([Circle::new(at, 5, color.filled())]).map(drop),
                    1 => chart.draw_series([TriangleMarker::new(at, 7, color.filled())]).map(drop),
                    _ => {
                        let square = Rectangle::new([(-5, -5), (5, 5)], color.filled());
                        chart.draw_series([EmptyElement::at(at) + square]).map(drop)
                    }
                }
                .expect(DRAWN);
                let style = font().pos(Pos::new(HPos::Center, VPos::Bottom));
                let depth = Text::new(cell.exit.to_string(), (0, -8), style);
                chart.draw_series([EmptyElement::at(at) + depth]).expect(DRAWN);
            }
            let name = if ratio == 1 { "all tokens".to_owned() } else { format!("ratio {ratio}") };
            let style = ("sans-serif", 15).into_font().color(&color);
            let place = (SIZE.0 as i32 - 130, SIZE.1 as i32 - 90 - 20 * index as i32);
            area.draw(&Text::new(name, place, style)).expect(DRAWN);
        }
        for (budget, pick) in picks {
            let line = vec![(*budget, low - margin), (*budget, high + margin)];
            if *budget <= right {
                chart.draw_series([PathElement::new(line, INK.stroke_width(1))]).expect(DRAWN);
            }
            if let Some(cell) = pick {
                let ring = Circle::new((cell.ms, cell.quality), 11, INK.stroke_width(2));
                chart.draw_series([ring]).expect(DRAWN);
            }
        }
        area.present().expect(DRAWN);
    }
    svg
}

#[cfg(test)]
mod tests {
    use super::super::grid::tests::grid;
    use super::draw;

    #[test]
    fn every_cell_and_budget_is_drawn() {
        let grid = grid();
        let svg = draw(&grid, &[(30.0, grid.pick(30.0)), (5.0, grid.pick(5.0))]);
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        for text in ["all tokens", "ratio 2", "first stage", "nDCG@10", "50 candidates"] {
            assert!(svg.contains(text), "{text} is not in the drawing");
        }
        // One ring, for the budget that has a cell.
        assert_eq!(svg.matches("r=\"11\"").count(), 1);
    }
}
