//! A store of a million documents: how long it takes to open, to find documents in, and in how much
//! memory.
//!
//!     cargo run -p tamis-data --example open_million_terms -- FOLDER [DOCUMENTS]

#![expect(clippy::print_stdout, reason = "an example's output is what it is for")]

use std::path::PathBuf;
use std::time::Instant;

use rayon::prelude::*;
use tamis_data::term_store::{BuildPlan, Element, TermIdentity, TermStore, TermStoreBuilder};

const WIDTH: usize = 8;
const TOKENS: usize = 20;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = PathBuf::from(arguments.next().ok_or("expected a folder")?);
    let n: u64 = arguments.next().map_or(Ok(1_000_000), |text| text.parse())?;
    let identity = TermIdentity {
        model: String::new(),
        tokenizer: String::new(),
        join_layer: 3,
        position: 38,
        max_document_tokens: 198,
        width: WIDTH,
        is_compressed: true,
    };
    let builder = TermStoreBuilder::open(
        &path,
        BuildPlan {
            identity,
            element: Element::F16,
            source: "example".to_owned(),
            n_documents: n,
            shard_documents: 65_536,
        },
    )?;
    let start = Instant::now();
    builder.pending()?.into_par_iter().try_for_each(|(number, documents)| {
        let mut shard = builder.shard(number)?;
        for document in documents {
            shard.push(&format!("document-{document}"), &[document as f32; WIDTH * TOKENS])?;
        }
        shard.finish()
    })?;
    builder.publish()?;
    println!("built in {:.1} s", start.elapsed().as_secs_f64());

    let before = memory()?;
    let start = Instant::now();
    let store = TermStore::open(&path)?;
    let opened = start.elapsed();
    println!(
        "opened {} documents ({:.0} MB) in {:.2} ms, {} kB of memory more",
        store.len(),
        store.stat().bytes as f64 / 1e6,
        1e3 * opened.as_secs_f64(),
        memory()?.saturating_sub(before),
    );
    let start = Instant::now();
    let mut values = Vec::new();
    for i in 0..1000 {
        let document = i * 7919 % n;
        values.clear();
        store.read(store.find(&format!("document-{document}"))?, &mut values)?;
        assert_eq!(values.len(), WIDTH * TOKENS);
    }
    println!(
        "found and read 1000 documents in {:.2} ms, {} kB of memory more",
        1e3 * start.elapsed().as_secs_f64(),
        memory()?.saturating_sub(before),
    );
    Ok(())
}

/// Memory of this process that belongs to no file, in kB, as Linux counts it.
fn memory() -> Result<u64, Box<dyn std::error::Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    Ok(line.ok_or("no RssAnon")?.trim().trim_end_matches(" kB").parse()?)
}
