//! Prepares a generated corpus of a million documents and tells how fast, in how much memory, and
//! how long opening it takes.
//!
//! ```text
//! cargo run -p tamis-data --example prepare_million -- generate FOLDER [DOCUMENTS]
//! cargo run -p tamis-data --example prepare_million -- prepare FOLDER
//! cargo run -p tamis-data --example prepare_million -- open FOLDER
//! ```
//!
//! `generate` writes `corpus.jsonl` (about 330 bytes of text a document, words of a fixed list drawn
//! with a fixed seed) and one query. `prepare` measures [`tamis_data::prepare()`] from the file in
//! the page cache to the renamed folder on disk, all hashes included: MB/s of source, and the peak
//! of resident memory. That peak counts no mapped page of the result but those of the ids. `open`
//! measures [`Dataset::open`], a lookup by id and a text, in a fresh process. Each command prints
//! one line.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tamis_data::format::beir;
use tamis_data::output::write_file;
use tamis_data::{Dataset, PrepareOptions, Sources, prepare};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let said = match arguments[..] {
        ["generate", folder] => generate(Path::new(folder), 1_000_000)?,
        ["generate", folder, documents] => generate(Path::new(folder), documents.parse()?)?,
        ["prepare", folder] => measure(Path::new(folder))?,
        ["open", folder] => open(Path::new(folder))?,
        _ => {
            return Err(
                "expected: generate FOLDER [DOCUMENTS] | prepare FOLDER | open FOLDER".into()
            );
        }
    };
    #[expect(clippy::print_stdout, reason = "the line is what the example is for")]
    {
        println!("{said}");
    }
    Ok(())
}

fn generate(folder: &Path, documents: u32) -> Result<String, Box<dyn Error>> {
    fs::create_dir_all(folder)?;
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let words: Vec<String> = (0..20_000)
        .map(|_| {
            let length = random.random_range(2..10);
            (0..length).map(|_| char::from(random.random_range(b'a'..=b'z'))).collect()
        })
        .collect();
    let mut text = String::new();
    write_file(&folder.join("corpus.jsonl"), |out| {
        for i in 0..documents {
            text.clear();
            let goal = random.random_range(160..500);
            while text.len() < goal {
                // Squared, so that some words are frequent and most are rare.
                let draw: f64 = random.random();
                text.push_str(&words[(draw * draw * words.len() as f64) as usize]);
                text.push(if random.random_bool(0.01) { '"' } else { ' ' });
            }
            beir::write_document(&format!("doc-{i}"), "", text.trim_end(), out)?;
        }
        Ok(())
    })?;
    write_file(&folder.join("queries.jsonl"), |out| beir::write_query("q1", "a query", out))?;
    let bytes = fs::metadata(folder.join("corpus.jsonl"))?.len();
    Ok(format!("{documents} documents, {:.1} MB", bytes as f64 / 1e6))
}

fn prepared(folder: &Path) -> PathBuf {
    folder.join("prepared")
}

fn measure(folder: &Path) -> Result<String, Box<dyn Error>> {
    let sources = Sources {
        corpus: vec![folder.join("corpus.jsonl")],
        queries: vec![folder.join("queries.jsonl")],
        ..Sources::default()
    };
    let options = PrepareOptions { replace: true, ..PrepareOptions::default() };
    let start = Instant::now();
    let report = prepare(&sources, &prepared(folder), &options, &mut |_, _| {})?;
    let seconds = start.elapsed().as_secs_f64();
    let megabytes = fs::metadata(&sources.corpus[0])?.len() as f64 / 1e6;
    Ok(format!(
        "{} documents in {seconds:.2} s, {:.0} MB/s, peak {}",
        report.documents,
        megabytes / seconds,
        peak()?
    ))
}

fn open(folder: &Path) -> Result<String, Box<dyn Error>> {
    let start = Instant::now();
    let dataset = Dataset::open(&prepared(folder))?;
    let opened = start.elapsed();
    let last = dataset.corpus().len() as u32 - 1;
    let row = dataset.corpus().row_of(&format!("doc-{last}")).ok_or("the last document is lost")?;
    let length = dataset.corpus().text(row).len();
    let read = start.elapsed() - opened;
    Ok(format!(
        "opened {} documents in {:.2} ms, found one and its {length} bytes in {:.2} ms, peak {}",
        dataset.corpus().len(),
        opened.as_secs_f64() * 1e3,
        read.as_secs_f64() * 1e3,
        peak()?
    ))
}

/// The peak of resident memory so far, as Linux tells it.
fn peak() -> Result<String, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    Ok(line.ok_or("no VmHWM in /proc/self/status")?.trim().to_owned())
}
