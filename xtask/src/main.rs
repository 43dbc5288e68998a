//! `cargo xtask`: Tamis end to end, one file per command.

mod bench;
mod compare;
mod convert;
mod crate_docs;
mod datasets;
mod decoder;
mod evaluate;
mod fuse;
mod index;
mod main_job;
mod mine;
mod model;
mod parity;
mod prepare;
mod progress;
mod report;
mod rerank;
mod score;
mod test;
mod tidy;
mod train;
mod triples;
mod watch;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Gives freed memory back to the next allocation instead of to the system: every activation of a
/// forward pass is a fresh large block, and with the system's allocator a fresh page fault.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Train, evaluate and serve neural rerankers.
///
/// A first stage such as BM25 proposes documents for a query; a reranker reads query and document
/// together and puts the right ones on top.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Train(train::TrainArgs),
    Watch(watch::WatchArgs),
    Prepare(prepare::PrepareArgs),
    Rerank(rerank::RerankArgs),
    Serve(Box<tamis_serve::ServeOptions>),
    Index(index::IndexArgs),
    Mine(mine::MineArgs),
    Score(score::ScoreArgs),
    Eval(evaluate::Args),
    Compare(compare::Args),
    Convert(convert::Args),
    Triples(triples::TriplesArgs),
    Fuse(fuse::Args),
    Report(report::Args),
    Datasets(datasets::DatasetsArgs),
    Bench(bench::BenchArgs),
    Parity(parity::ParityArgs),
    Test(test::TestArgs),
    Tidy(tidy::TidyArgs),
}

fn main() -> ExitCode {
    let done = ExitCode::SUCCESS;
    let result = match Arguments::parse().command {
        Command::Train(args) => train::train(&args),
        Command::Watch(args) => watch::watch(&args).map(|()| done),
        Command::Prepare(args) => prepare::prepare(&args).map(|()| done),
        Command::Rerank(args) => rerank::rerank(&args).map(|()| done),
        Command::Serve(options) => tamis_serve::serve(&options).map(|()| done),
        Command::Index(args) => index::index(&args).map(|()| done),
        Command::Mine(args) => mine::mine(&args).map(|()| done),
        Command::Score(args) => score::score(&args).map(|()| done),
        Command::Eval(args) => evaluate::run(args),
        Command::Compare(args) => compare::run(args),
        Command::Convert(args) => convert::run(args),
        Command::Triples(args) => triples::triples(&args),
        Command::Fuse(args) => fuse::run(args),
        Command::Report(args) => report::run(args),
        Command::Datasets(args) => datasets::datasets(&args),
        Command::Bench(args) => bench::bench(&args).map(|()| done),
        Command::Parity(args) => parity::parity(&args),
        Command::Test(args) => test::test(&args),
        Command::Tidy(args) => tidy::tidy(&args),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            progress::say(&format!("error: {}", message(&error)));
            ExitCode::from(2)
        }
    }
}

/// An error and its causes in one line. Causes that an error has already told are not told again.
fn message(error: &anyhow::Error) -> String {
    let mut message = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if message.is_empty() {
            message = cause;
        } else if !message.contains(&cause) {
            message = format!("{message}: {cause}");
        }
    }
    message
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    /// `docs/cli.md` is made from the commands themselves.
    #[test]
    fn the_page_of_commands_is_current() {
        let header = "<!-- Made from xtask: UPDATE_DOCS=1 cargo nextest run --workspace \
                      page_of_commands. Do not edit. -->\n";
        let options =
            clap_markdown::MarkdownOptions::new().title("Commands".to_owned()).show_footer(false);
        let page = clap_markdown::help_markdown_custom::<super::Arguments>(&options);
        // Anchors have no spaces.
        let page = page.replace("](#cargo xtask", "](#cargo-xtask");
        let page = format!("{header}{}\n", page.trim_end());
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/cli.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, &page).unwrap();
        }
        let found = std::fs::read_to_string(path).unwrap_or_default();
        assert!(found == page, "docs/cli.md is old: run with UPDATE_DOCS=1");
    }

    #[test]
    fn causes_are_told_once() {
        let missing = std::fs::read("/nowhere").map_err(|error| anyhow::anyhow!("x: {error}"));
        let error = missing.context("reading").unwrap_err();
        assert_eq!(super::message(&error), "reading: x: No such file or directory (os error 2)");
        let twice = anyhow::anyhow!("file: broken").context("file: broken at line 1");
        assert_eq!(super::message(&twice), "file: broken at line 1");
        let same = anyhow::anyhow!("broken").context("file: broken");
        assert_eq!(super::message(&same), "file: broken");
    }
}
