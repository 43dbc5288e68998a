//! What a run has logged, drawn: curves of loss, dev measure and learning rate above a line of numbers.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::symbols::Marker;
use ratatui::text::Line;
use ratatui::widgets::{Axis, Block, Chart, Dataset, GraphType, Paragraph};

use super::history::{Curve, History};

/// Colours of Okabe and Ito: told apart by every eye, on light and dark.
const BLUE: Color = Color::Rgb(0, 114, 178);
const ORANGE: Color = Color::Rgb(230, 159, 0);
const GREY: Color = Color::Rgb(128, 128, 128);

/// One curve of a chart.
struct Drawn {
    name: &'static str,
    curve: Curve,
    colour: Color,
    line: bool,
}

/// Draws the page.
pub fn draw(frame: &mut Frame<'_>, history: &History, title: &str) {
    let [head, charts, foot] =
        Layout::vertical([Constraint::Length(1), Constraint::Fill(1), Constraint::Length(2)])
            .areas(frame.area());
    frame.render_widget(Line::from(format!("{title}  {}", state(history))).bold(), head);
    frame.render_widget(Paragraph::new(numbers(history)), foot);
    if history.steps.is_empty() && history.devs.is_empty() {
        frame.render_widget(Line::from("nothing is logged yet").centered(), charts);
        return;
    }
    let [upper, lower] =
        Layout::vertical([Constraint::Percentage(55), Constraint::Percentage(45)]).areas(charts);
    let [left, right] =
        Layout::horizontal([Constraint::Percentage(60), Constraint::Percentage(40)]).areas(lower);

    let loss = vec![
        Drawn { name: "step", curve: history.losses(), colour: GREY, line: false },
        Drawn { name: "mean of 25", curve: history.mean_losses(), colour: BLUE, line: true },
    ];
    chart(frame, upper, "loss", loss);
    let (dev, first_stage) = history.dev_curves();
    let measured = vec![
        Drawn { name: "first stage", curve: first_stage, colour: ORANGE, line: true },
        Drawn { name: "reranked", curve: dev, colour: BLUE, line: true },
    ];
    let measure = format!("dev {}", history.measure().unwrap_or("(not measured yet)"));
    chart(frame, left, &measure, measured);
    let rates = vec![Drawn { name: "", curve: history.rates(), colour: BLUE, line: true }];
    chart(frame, right, "learning rate", rates);
}

fn state(history: &History) -> String {
    let Some(last) = history.steps.last() else {
        return String::new();
    };
    format!("step {}  epoch {}", last.step, last.epoch)
}

/// The last numbers, in two lines.
fn numbers(history: &History) -> Vec<Line<'static>> {
    let mut first = Vec::new();
    if let (Some(last), Some(loss)) = (history.steps.last(), history.recent_loss()) {
        first.push(format!("loss {loss:.4}"));
        first.push(format!("lr {:.2e}", last.lr));
        first.push(format!("gradient {:.3}", last.grad_norm));
    }
    if let Some((groups, tokens)) = history.speed() {
        first.push(format!("{groups:.1} groups/s"));
        first.push(format!("{tokens:.0} tokens/s"));
    }
    let best = history.devs.iter().rfind(|dev| dev.best);
    let second = match best {
        Some(dev) => {
            let values = dev.dev.iter().map(|(name, value)| {
                let before = dev.first_stage.get(name).copied().unwrap_or(f64::NAN);
                format!("{name} {value:.4} (first stage {before:.4})")
            });
            format!("best dev after step {}: {}", dev.step, values.collect::<Vec<_>>().join("  "))
        }
        None => "no dev evaluation yet".to_owned(),
    };
    vec![Line::from(first.join("   ")), Line::from(second)]
}

fn chart(frame: &mut Frame<'_>, area: Rect, title: &str, curves: Vec<Drawn>) {
    let block = Block::bordered().title(format!(" {title} "));
    let points = || curves.iter().flat_map(|drawn| drawn.curve.iter().copied());
    let (steps, values) = (bounds(points().map(|p| p.0)), bounds(points().map(|p| p.1)));
    let (Some(steps), Some(values)) = (steps, values) else {
        frame.render_widget(block, area);
        return;
    };
    let datasets = curves.iter().map(|drawn| {
        let dataset = Dataset::default()
            .marker(Marker::Braille)
            .graph_type(if drawn.line { GraphType::Line } else { GraphType::Scatter })
            .style(Style::new().fg(drawn.colour))
            .data(&drawn.curve);
        if drawn.name.is_empty() { dataset } else { dataset.name(drawn.name) }
    });
    let datasets = datasets.collect();
    let label = |value: f64| match value.abs() {
        0.0 => "0".to_owned(),
        1e-3..1e5 => format!("{value:.3}"),
        _ => format!("{value:.1e}"),
    };
    let whole = |value: f64| format!("{value:.0}");
    let x = Axis::default().bounds(steps).labels(steps.map(whole));
    let middle = f64::midpoint(values[0], values[1]);
    let y = Axis::default().bounds(values).labels([values[0], middle, values[1]].map(label));
    frame.render_widget(Chart::new(datasets).block(block).x_axis(x).y_axis(y), area);
}

/// The least and the largest value, apart from each other; nothing without a finite value.
fn bounds(values: impl Iterator<Item = f64>) -> Option<[f64; 2]> {
    let finite = values.filter(|value| value.is_finite());
    let [least, largest] = finite.fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], value| {
        [low.min(value), high.max(value)]
    });
    if least > largest {
        return None;
    }
    // A flat curve is drawn in the middle.
    let margin = if least == largest { least.abs().max(1.0) * 0.05 } else { 0.0 };
    Some([least - margin, largest + margin])
}

#[cfg(test)]
mod tests {
    use super::super::history::tests::{DEV, step};
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    fn text(history: &History) -> String {
        let mut terminal = Terminal::new(TestBackend::new(90, 24)).unwrap();
        terminal.draw(|frame| draw(frame, history, "runs/x")).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn the_page_says_what_the_log_says() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("train.jsonl");
        let log = [step(1, 2.0), step(2, 1.0), DEV.to_owned()].concat();
        std::fs::write(&path, log).unwrap();
        let mut history = History::new(path, None);
        assert!(text(&history).contains("nothing is logged yet"));
        history.read().unwrap();
        let page = text(&history);
        for expected in [
            "runs/x  step 2  epoch 0",
            "loss 1.5000   lr 1.00e-5   gradient 1.000   8.0 groups/s   2000 tokens/s",
            "best dev after step 2: nDCG@10 0.5000 (first stage 0.4000)",
            " dev nDCG@10 ",
            "2.000",
        ] {
            assert!(page.contains(expected), "{expected} is not on\n{page}");
        }
    }

    #[test]
    fn bounds_are_apart_and_finite() {
        assert_eq!(bounds([f64::NAN].into_iter()), None);
        assert_eq!(bounds([1.0, f64::INFINITY, 3.0].into_iter()), Some([1.0, 3.0]));
        assert_eq!(bounds([2.0].into_iter()), Some([1.9, 2.1]));
    }
}
