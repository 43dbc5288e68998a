//! `cargo xtask watch`: a page in the terminal that follows a training run.

mod history;
mod page;

use std::io::{IsTerminal, Write, stdout};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyModifiers};
use tamis_train::RunDirectory;

use history::History;

/// How long the page waits for a key before it looks at the log again.
const REFRESH: Duration = Duration::from_millis(500);

/// Follow a training run: loss, learning rate, dev measures and speed, as they are logged.
///
/// The page reads the run's `train.jsonl` and changes nothing; it may be opened and closed at any
/// time, also after the end. `q`, Escape or Ctrl-C closes it.
///
///   cargo xtask watch runs/medquad
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct WatchArgs {
    /// The run directory
    #[arg(value_name = "FOLDER")]
    run: PathBuf,

    /// The dev measure to draw [default: the first in the log]
    #[arg(short, long, value_name = "MEASURE")]
    measure: Option<String>,

    /// Print the page once and end; also done when the output is not a terminal
    #[arg(long)]
    once: bool,

    /// Columns and rows of a page that is printed
    #[arg(long, value_name = "COLUMNSxROWS", default_value = "100x30", value_parser = size)]
    size: (u16, u16),
}

fn size(text: &str) -> Result<(u16, u16), String> {
    let problem = || format!("expected COLUMNSxROWS of at least 40x12, found `{text}`");
    let (columns, rows) = text.split_once('x').ok_or_else(problem)?;
    match (columns.parse(), rows.parse()) {
        (Ok(columns), Ok(rows)) if columns >= 40 && rows >= 12 => Ok((columns, rows)),
        _ => Err(problem()),
    }
}

pub fn watch(args: &WatchArgs) -> Result<()> {
    let run = RunDirectory::open(&args.run)?;
    let mut history = History::new(run.log_path(), args.measure.clone());
    history.read()?;
    let title = args.run.display().to_string();
    if args.once || !stdout().is_terminal() {
        let (columns, rows) = args.size;
        let mut terminal = Terminal::new(TestBackend::new(columns, rows))?;
        terminal.draw(|frame| page::draw(frame, &history, &title))?;
        return print(terminal.backend().buffer());
    }
    let mut terminal = ratatui::try_init().context("the terminal cannot be drawn on")?;
    let ended = follow(&mut terminal, &mut history, &title);
    ratatui::restore();
    ended
}

fn follow(
    terminal: &mut ratatui::DefaultTerminal,
    history: &mut History,
    title: &str,
) -> Result<()> {
    loop {
        history.read()?;
        terminal.draw(|frame| page::draw(frame, history, title))?;
        if !event::poll(REFRESH)? {
            continue;
        }
        if let Event::Key(key) = event::read()? {
            let interrupt = key.modifiers.contains(KeyModifiers::CONTROL);
            match key.code {
                KeyCode::Char('q') | KeyCode::Esc => return Ok(()),
                KeyCode::Char('c') if interrupt => return Ok(()),
                _ => {}
            }
        }
    }
}

/// Writes what stands on a page as lines of text.
fn print(page: &ratatui::buffer::Buffer) -> Result<()> {
    let mut out = stdout().lock();
    for row in page.content.chunks(usize::from(page.area.width)) {
        let line: String = row.iter().map(ratatui::buffer::Cell::symbol).collect();
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_columns_by_rows() {
        assert_eq!(size("80x24"), Ok((80, 24)));
        for bad in ["80", "10x24", "80x2", "axb"] {
            assert!(size(bad).unwrap_err().contains(bad));
        }
    }
}
