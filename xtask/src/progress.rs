//! What a person sees while something long runs: a bar on a terminal, now and then a line elsewhere.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Between two lines where there is no terminal.
const INTERVAL: Duration = Duration::from_secs(10);

/// Writes a line to standard error; results go to standard output.
pub fn say(line: &str) {
    // Nobody listens when standard error is closed, and there is nowhere left to complain.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// The progress of one long piece of work.
pub struct Progress {
    bar: ProgressBar,
    what: &'static str,
    unit: &'static str,
    plain: bool,
    start: Instant,
    first: u64,
    last_line: Instant,
}

impl Progress {
    /// Work of `total` units, `first` of which were done in an earlier run.
    pub fn new(what: &'static str, unit: &'static str, first: u64, total: u64) -> Self {
        let plain = !std::io::stderr().is_terminal();
        let bar = if plain { ProgressBar::hidden() } else { ProgressBar::new(total) };
        bar.set_length(total);
        let style = "{prefix:>10} {wide_bar} {pos}/{len} {msg} ETA {eta}";
        bar.set_style(ProgressStyle::with_template(style).expect("the template is valid"));
        bar.set_prefix(what);
        bar.set_position(first);
        bar.reset_eta();
        let now = Instant::now();
        Self { bar, what, unit, plain, start: now, first, last_line: now }
    }

    /// Units done so far, of all, and what else there is to say.
    pub fn set(&mut self, done: u64, message: &str) {
        self.bar.set_position(done);
        self.bar.set_message(message.to_owned());
        if self.plain && self.last_line.elapsed() >= INTERVAL {
            self.last_line = Instant::now();
            let total = self.bar.length().unwrap_or(0);
            let rate = done.saturating_sub(self.first) as f64 / self.start.elapsed().as_secs_f64();
            let left = (total.saturating_sub(done)) as f64 / rate.max(1e-9);
            let (what, unit) = (self.what, self.unit);
            say(&format!("{what}: {done}/{total} {unit} {message} ETA {left:.0} s"));
        }
    }

    /// How many units there are, where that becomes known later.
    pub fn total(&self, total: u64) {
        self.bar.set_length(total);
    }

    /// Writes a line above the bar.
    pub fn say(&self, line: &str) {
        self.bar.suspend(|| say(line));
    }

    /// Removes the bar.
    pub fn finish(self) {
        self.bar.finish_and_clear();
    }
}
