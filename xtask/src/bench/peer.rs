//! A peer of a bench: a process of its own that is asked for one measurement at a time.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use super::shape::Shape;

/// A process that answers `rows tokens` with numbers, the seconds first.
pub struct Peer {
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Peer {
    /// Starts a command with the checkpoint behind its arguments, and waits until it is ready.
    pub fn start(mut command: Command, model: &Path, threads: usize, device: &str) -> Result<Self> {
        let mut child = command
            .arg(model)
            .env("BENCH_THREADS", threads.to_string())
            .env("RAYON_NUM_THREADS", threads.to_string())
            .env("BENCH_DEVICE", if device == "cpu" { "cpu" } else { "cuda" })
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("{command:?} cannot be started"))?;
        let requests = child.stdin.take().expect("it was asked for");
        let answers = BufReader::new(child.stdout.take().expect("it was asked for"));
        let mut peer = Self { child, requests, answers };
        let ready = peer.line()?;
        ensure!(ready == "ready", "{command:?}: expected `ready`, found `{ready}`");
        Ok(peer)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            bail!("it ended without an answer; run its script by hand to see why");
        }
        Ok(line.trim().to_owned())
    }

    /// One measurement: what the script answers.
    pub fn ask(&mut self, shape: Shape) -> Result<Vec<f64>> {
        writeln!(self.requests, "{} {}", shape.rows, shape.tokens)?;
        let line = self.line()?;
        let number = |word: &str| word.parse().with_context(|| format!("expected numbers: {line}"));
        line.split_whitespace().map(number).collect()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may be gone already; there is nothing to do about either.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
