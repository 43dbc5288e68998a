//! The binary: its start, its signals, its end.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::json;

use crate::site::save_tiny;

pub(crate) struct Process {
    pub(crate) child: Child,
    url: String,
    agent: ureq::Agent,
    /// Read while it lives: a log that nobody reads is a pipe that breaks.
    log: Option<BufReader<std::process::ChildStdout>>,
}

fn command(model: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tamis-serve"));
    command.args(arguments).env("TAMIS_MODEL", format!("tiny={}", model.display()));
    command
}

impl Process {
    pub(crate) fn start(model: &Path, arguments: &[&str]) -> Self {
        let mut child = command(model, arguments)
            .args(["--hostname", "127.0.0.1", "--port", "0", "--json-output"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stdout.take().unwrap());
        let mut url = String::new();
        let mut line = String::new();
        while log.read_line(&mut line).unwrap() > 0 {
            let value: serde_json::Value = serde_json::from_str(&line).unwrap();
            match value["message"].as_str() {
                Some("listening") => url = format!("http://{}", value["address"].as_str().unwrap()),
                Some("ready") => break,
                _ => {}
            }
            line.clear();
        }
        assert!(!url.is_empty(), "it listens");
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
        Self { child, url, agent, log: Some(log) }
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap().success());
    }

    pub(crate) fn ask(&self, n: usize) -> Result<u16, ureq::Error> {
        let body = json!({ "query": "sun", "texts": vec!["rain sun"; n] }).to_string();
        Ok(self.agent.post(format!("{}/rerank", self.url)).send(&body)?.status().as_u16())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn model() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    save_tiny(folder.path(), 7);
    folder
}

#[test]
fn sigterm_under_load_loses_no_accepted_request() {
    let folder = model();
    let mut process = Process::start(folder.path(), &[]);
    let started = std::sync::Barrier::new(9);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..8)
            .map(|_| {
                let (process, started) = (&process, &started);
                scope.spawn(move || {
                    started.wait();
                    let mut n_served = 0;
                    // Until the server does not accept a connection any more.
                    while let Ok(status) = process.ask(300) {
                        assert!(status == 200 || status == 429, "{status}");
                        n_served += 1;
                    }
                    n_served
                })
            })
            .collect();
        started.wait();
        std::thread::sleep(Duration::from_millis(300));
        process.signal("TERM");
        for client in clients {
            assert!(client.join().unwrap() > 0);
        }
    });
    assert!(process.child.wait().unwrap().success());
}

#[test]
fn sighup_reads_models_again() {
    let folder = model();
    let process = Process::start(folder.path(), &[]);
    let score = || {
        let body = json!({ "query": "sun", "texts": ["rain"] }).to_string();
        let mut response =
            process.agent.post(format!("{}/rerank", process.url)).send(&body).unwrap();
        response.body_mut().read_to_string().unwrap()
    };
    let before = score();
    save_tiny(folder.path(), 9);
    assert_eq!(score(), before);
    process.signal("HUP");
    let changed = (0..500).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        score() != before
    });
    assert!(changed, "the new model is served");
}

#[test]
fn logs_that_cannot_be_written_stop_nothing() {
    let folder = model();
    let mut process = Process::start(folder.path(), &[]);
    process.log = None;
    for _ in 0..50 {
        assert_eq!(process.ask(1).unwrap(), 200, "nobody reads the log");
    }
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let port = free.port().to_string();
    let full = || Stdio::from(std::fs::File::options().write(true).open("/dev/full").unwrap());
    let child = command(folder.path(), &["--hostname", "127.0.0.1", "--port", &port])
        .stdout(full())
        .stderr(full())
        .spawn()
        .unwrap();
    let (url, agent) = (format!("http://{free}"), process.agent.clone());
    let process = Process { child, url, agent, log: None };
    for _ in 0..500 {
        if process.ask(1).is_ok_and(|status| status == 200) {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    for _ in 0..50 {
        assert_eq!(process.ask(1).unwrap(), 200, "the disk is full");
    }
}

fn run(model: &Path, arguments: &[&str]) -> (bool, String, String) {
    let Output { status, stdout, stderr } = command(model, arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.success(), text(stdout), text(stderr))
}

#[test]
fn check_says_what_is_wrong_before_anything_starts() {
    let folder = model();
    let (ok, out, _) = run(folder.path(), &["check"]);
    assert!(
        ok && out.contains("model tiny:") && out.contains("the configuration is valid"),
        "{out}"
    );
    for (arguments, words) in [
        (&["check", "--api-keys", "/none/keys"][..], "/none/keys"),
        (&["check", "--device", "tpu"], "expected `cpu`, `cuda[:i]` or `wgpu[:i]`"),
        (&["check", "--timeout-ms", "0"], "--timeout-ms `0`"),
        (&["check", "--max-bodies-bytes", "2000"], "is less than --max-body-bytes"),
        (&["check", "--terms", "other=/none"], "there is no model `other`"),
        (&["check", "--activation", "relu"], "expected checkpoint, none or sigmoid"),
        (&["check", "--model", "/none/such"], "/none/such"),
    ] {
        let (ok, out, error) = run(folder.path(), arguments);
        assert!(!ok && error.contains(words), "{arguments:?}: {out} {error}");
    }
}

#[test]
fn a_port_that_is_taken_is_said_at_once() {
    let folder = model();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (ok, _, error) = run(folder.path(), &["--hostname", "127.0.0.1", "--port", &port]);
    assert!(!ok && error.contains(&port) && error.contains("cannot be listened on"), "{error}");
}
