//! `cargo xtask bench serve`: servers under load, beside the engine without a server.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;
use tamis_data::{TextGroup, format, output};
use tamis_model::{OpenOptions, Precision, Reranker, device};

use crate::progress::say;

/// Requests that may be under way at a time; those beyond count as lost.
const IN_FLIGHT: usize = 512;

/// Send requests to servers at given rates, whether or not they keep up, and say what came back.
///
/// Requests come at random (Poisson) and their latency counts from when they were due, not from when they could be
/// sent, so that a server that stalls is not spared those it made wait. Every request is a query with the first of its
/// candidates, as TEI's clients send them.
///
///   cargo xtask bench serve --model runs/medquad/checkpoint --url tamis=http://localhost:3000 \
///       --queries queries.jsonl --corpus corpus.jsonl --run bm25/test.run --load 0.5,1,2
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct ServeArgs {
    /// The checkpoint that the servers serve; how fast it is without a server is what loads are shares of
    #[arg(long, value_name = "FOLDER")]
    model: PathBuf,

    /// The numbers that linear maps multiply
    #[arg(long, value_name = "NAME", default_value_t)]
    precision: Precision,

    /// Servers: NAME=URL; may be repeated
    #[arg(long, value_name = "NAME=URL", required = true)]
    url: Vec<String>,

    /// Queries
    #[arg(long, value_name = "FILE")]
    queries: PathBuf,

    /// Documents
    #[arg(long, value_name = "FILE")]
    corpus: PathBuf,

    /// Candidates of the queries
    #[arg(long, value_name = "FILE")]
    run: PathBuf,

    /// Candidates of a request
    #[arg(long, default_value_t = 20)]
    documents: usize,

    /// Load as a share of what the engine does alone
    #[arg(long, value_delimiter = ',', default_value = "0.5,1,2")]
    load: Vec<f64>,

    /// How long each load lasts
    #[arg(long, default_value_t = 20.0)]
    seconds: f64,

    /// How late an answer may be to count as good
    #[arg(long, default_value_t = 10_000)]
    deadline_ms: u64,

    /// Where arrivals start
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// Requests sent one after the other, to compare latency with the engine's
    #[arg(long, default_value_t = 30)]
    single: usize,

    /// Also write the tables to this file
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Requests that the engine scores at a time when it is timed alone.
const ALONE: usize = 20;

/// One request and what it is made of.
struct Case {
    query: String,
    documents: Vec<String>,
    body: String,
}

/// What came back at one load.
#[derive(Default)]
struct Tally {
    n_good: usize,
    n_refused: usize,
    n_failed: usize,
    n_lost: usize,
    /// Milliseconds from when a request was due to its answer, of those that were answered.
    latencies: Vec<f64>,
}

pub fn serve(args: &ServeArgs) -> Result<()> {
    let cases = cases(args)?;
    let options = OpenOptions { precision: args.precision, new_head: None };
    let reranker = Reranker::open_with(&args.model, &device("cpu")?, options)?;
    let servers: Vec<(&str, &str)> = args
        .url
        .iter()
        .map(|text| text.split_once('=').context("--url: expected NAME=URL"))
        .collect::<Result<_>>()?;
    let mut table = format!("{} documents a request, {}\n", args.documents, args.precision);
    say(table.trim_end());
    table += &latencies(args, &reranker, &cases, &servers)?;
    table += &loads(args, &reranker, &cases, &servers)?;
    if let Some(path) = &args.out {
        output::write_file(path, |out| out.write_all(table.as_bytes()))?;
        say(&format!("wrote {}", path.display()));
    }
    Ok(())
}

fn cases(args: &ServeArgs) -> Result<Vec<Case>> {
    let queries = format::read_queries(&args.queries)?;
    let run = format::read_run(&args.run)?;
    let corpus = format::read_documents_of_run(&[&args.corpus], &run)?;
    let mut cases = Vec::new();
    for (id, ranked) in run.iter() {
        let Some(query) = queries.get(id.as_str()) else { continue };
        let ranked = ranked.iter().take(args.documents);
        let documents: Vec<String> =
            ranked.map(|scored| corpus[scored.document.as_str()].clone()).collect();
        if documents.len() == args.documents {
            let body =
                json!({ "query": query, "texts": documents, "raw_scores": true }).to_string();
            cases.push(Case { query: query.clone(), documents, body });
        }
    }
    ensure!(!cases.is_empty(), "no query has {} candidates", args.documents);
    Ok(cases)
}

/// Documents a second without a server, the whole machine at work on them.
fn offline(reranker: &Reranker, cases: &[Case]) -> Result<f64> {
    let group = |case: &Case| -> Vec<String> { case.documents.clone() };
    let some: Vec<(String, Vec<String>)> =
        cases.iter().take(ALONE).map(|case| (case.query.clone(), group(case))).collect();
    let mut rates = Vec::new();
    for _ in 0..3 {
        let groups: Vec<TextGroup<'_>> = some
            .iter()
            .map(|(query, documents)| TextGroup {
                query,
                documents: documents.iter().map(String::as_str).collect(),
            })
            .collect();
        let start = Instant::now();
        let (scores, _) = reranker.score(&groups)?;
        let n_documents: usize = scores.iter().map(Vec::len).sum();
        rates.push(n_documents as f64 / start.elapsed().as_secs_f64());
    }
    Ok(median(&mut rates))
}

/// One request after the other: the engine called directly, and each server.
fn latencies(
    args: &ServeArgs,
    reranker: &Reranker,
    cases: &[Case],
    servers: &[(&str, &str)],
) -> Result<String> {
    let mut table = "\none request at a time, median ms\n\n| documents | engine |".to_owned();
    for (name, _) in servers {
        let _ = write!(table, " {name} |");
    }
    let rule = "|--:".repeat(servers.len() + 2);
    let _ = writeln!(table, "\n{rule}|");
    let agent = agent(args)?;
    for n in [1, args.documents.min(10), args.documents] {
        let mut times = vec![Vec::new(); servers.len() + 1];
        for case in cases.iter().cycle().take(args.single) {
            let documents: Vec<&str> = case.documents.iter().take(n).map(String::as_str).collect();
            let body =
                json!({ "query": case.query, "texts": documents, "raw_scores": true }).to_string();
            let start = Instant::now();
            reranker.score(&[TextGroup { query: &case.query, documents }])?;
            times[0].push(ms(start.elapsed()));
            for ((_, url), times) in servers.iter().zip(&mut times[1..]) {
                let start = Instant::now();
                let status = ask(&agent, url, &body)?;
                ensure!(status == 200, "{url}: status {status}");
                times.push(ms(start.elapsed()));
            }
        }
        let _ = write!(table, "| {n} |");
        times.iter_mut().for_each(|times| {
            let _ = write!(table, " {:.2} |", median(times));
        });
        table.push('\n');
    }
    say(&table);
    Ok(table)
}

/// Every server at every load.
fn loads(
    args: &ServeArgs,
    reranker: &Reranker,
    cases: &[Case],
    servers: &[(&str, &str)],
) -> Result<String> {
    let head = "| server | load | requests/s | engine documents/s | good documents/s | share | p50 ms | p99 ms | max ms | refused | failed | late | lost |";
    let mut table = format!("\n{head}\n|---|{}\n", "--:|".repeat(12));
    say(&table);
    for &load in &args.load {
        for (name, url) in servers {
            // The machine is not the same from minute to minute: the engine is timed beside every load.
            let offline = offline(reranker, cases)?;
            let rate = load * offline / args.documents as f64;
            let mut tally = one_load(args, cases, url, rate)?;
            let goodput = (tally.n_good * args.documents) as f64 / args.seconds;
            let n_late = tally.latencies.len() - tally.n_good;
            tally.latencies.sort_by(f64::total_cmp);
            let line = format!(
                "| {name} | {load} | {rate:.2} | {offline:.1} | {goodput:.1} | {:.2} | {:.0} | {:.0} | {:.0} | {} | {} | {n_late} | {} |\n",
                goodput / offline,
                quantile(&tally.latencies, 0.5),
                quantile(&tally.latencies, 0.99),
                quantile(&tally.latencies, 1.0),
                tally.n_refused,
                tally.n_failed,
                tally.n_lost,
            );
            say(line.trim_end());
            table += &line;
        }
    }
    Ok(table)
}

/// Requests at a rate, each sent when it is due.
fn one_load(args: &ServeArgs, cases: &[Case], url: &str, rate: f64) -> Result<Tally> {
    let agent = agent(args)?;
    let (tally, in_flight) = (Mutex::new(Tally::default()), AtomicUsize::new(0));
    let mut state = args.seed;
    thread::scope(|scope| {
        let start = Instant::now();
        let mut due = Duration::ZERO;
        for case in cases.iter().cycle() {
            due += Duration::from_secs_f64(-(1.0 - uniform(&mut state)).ln() / rate);
            if due.as_secs_f64() > args.seconds {
                break;
            }
            thread::sleep(due.saturating_sub(start.elapsed()));
            if in_flight.fetch_add(1, Ordering::Relaxed) >= IN_FLIGHT {
                in_flight.fetch_sub(1, Ordering::Relaxed);
                tally.lock().expect("no client panics").n_lost += 1;
                continue;
            }
            let (agent, tally, in_flight) = (&agent, &tally, &in_flight);
            scope.spawn(move || {
                let status = ask(agent, url, &case.body);
                let latency = start.elapsed().saturating_sub(due);
                in_flight.fetch_sub(1, Ordering::Relaxed);
                let mut tally = tally.lock().expect("no client panics");
                match status {
                    Ok(200) => {
                        tally.n_good += usize::from(latency.as_millis() as u64 <= args.deadline_ms);
                        tally.latencies.push(ms(latency));
                    }
                    Ok(429 | 503) => tally.n_refused += 1,
                    _ => tally.n_failed += 1,
                }
            });
        }
    });
    Ok(tally.into_inner().expect("no client panics"))
}

fn agent(args: &ServeArgs) -> Result<ureq::Agent> {
    if args.deadline_ms == 0 {
        bail!("--deadline-ms: expected 1 or more, found `0`");
    }
    Ok(ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_idle_connections_per_host(IN_FLIGHT)
        .max_idle_connections(IN_FLIGHT)
        .timeout_global(Some(Duration::from_secs(120)))
        .build()
        .new_agent())
}

fn ask(agent: &ureq::Agent, url: &str, body: &str) -> Result<u16> {
    let request = agent.post(format!("{}/rerank", url.trim_end_matches('/')));
    let mut response = request.header("content-type", "application/json").send(body)?;
    let status = response.status().as_u16();
    response.body_mut().read_to_vec()?;
    Ok(status)
}

/// The next number of a sequence in [0, 1) (SplitMix64).
fn uniform(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    quantile(values, 0.5)
}

/// Of sorted values; 0 of none.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(place.saturating_sub(1)).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_are_as_many_as_the_rate_says() {
        let mut state = 3;
        let sum: f64 = (0..10_000).map(|_| -(1.0 - uniform(&mut state)).ln()).sum();
        assert!((sum / 10_000.0 - 1.0).abs() < 0.05, "{sum}");
    }

    #[test]
    fn quantiles_are_values_that_were_seen() {
        let values = [1.0, 2.0, 3.0, 4.0];
        assert_eq!(
            [0.25, 0.5, 0.99, 1.0].map(|share| quantile(&values, share)),
            [1.0, 2.0, 4.0, 4.0]
        );
        assert_eq!(quantile(&[], 0.5), 0.0);
    }
}
