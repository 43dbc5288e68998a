//! Traces reach a collector, and a collector that is away stops nothing.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc;
use std::time::Duration;

use crate::process::Process;

#[test]
fn spans_of_a_request_are_sent_to_the_collector() {
    let collector = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", collector.local_addr().unwrap());
    let (sender, received) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in collector.incoming() {
            let mut reader = BufReader::new(stream.unwrap());
            let (mut head, mut n) = (String::new(), 0);
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap() <= 2 {
                    break;
                }
                if let Some(length) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    n = length.trim().parse().unwrap();
                }
                head += &line;
            }
            let mut body = vec![0; n];
            reader.read_exact(&mut body).unwrap();
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            reader.get_mut().write_all(answer).unwrap();
            let _ = sender.send((head, body));
        }
    });
    let folder = crate::process::model();
    let mut process = Process::start(folder.path(), &["--otlp-endpoint", &endpoint]);
    assert_eq!(process.ask(3).unwrap(), 200);
    // What has not been sent yet is sent at the end.
    process.signal("TERM");
    let (head, body) = received.recv_timeout(Duration::from_secs(20)).unwrap();
    assert!(head.starts_with("POST /v1/traces"), "{head}");
    let text = String::from_utf8_lossy(&body);
    for word in ["tamis-serve", "request", "tokenize", "score", "/rerank"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    assert!(!text.contains("rain sun"), "no text of a document leaves the server");
    assert!(process.child.wait().unwrap().success());
}

#[test]
fn a_collector_that_is_away_stops_nothing() {
    let folder = crate::process::model();
    let mut process = Process::start(folder.path(), &["--otlp-endpoint", "http://127.0.0.1:9"]);
    assert_eq!(process.ask(3).unwrap(), 200);
    process.signal("TERM");
    assert!(process.child.wait().unwrap().success());
}
