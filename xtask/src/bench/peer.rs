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
    /// Starts a script with the engine's name and the checkpoint, and waits until it is ready.
    pub fn start(
        python: &Path,
        script: &Path,
        name: &str,
        model: &Path,
        threads: usize,
    ) -> Result<Self> {
        let mut child = Command::new(python)
            .arg(script)
            .arg(name)
            .arg(model)
            .env("BENCH_THREADS", threads.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("{}: cannot be started", python.display()))?;
        let requests = child.stdin.take().expect("it was asked for");
        let answers = BufReader::new(child.stdout.take().expect("it was asked for"));
        let mut peer = Self { child, requests, answers };
        let ready = peer.line()?;
        ensure!(ready == "ready", "{name}: expected `ready`, found `{ready}`");
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
