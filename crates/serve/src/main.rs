//! `tamis-serve`: a reranking server.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tamis_serve::ServeOptions;

/// Gives freed memory back to the next allocation instead of to the system: every activation of a
/// forward pass is a fresh large block, and with the system's allocator a fresh page fault.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Serves rerankers over HTTP, in the wire formats of the clients that people have.
///
/// Every option is also an environment variable: TAMIS_MODEL, TAMIS_PORT ...
#[derive(Parser)]
#[command(
    name = "tamis-serve",
    version,
    max_term_width = 100,
    args_conflicts_with_subcommands = true
)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    options: ServeOptions,
}

#[derive(Subcommand)]
enum Command {
    /// Says whether a server could start with these options, and starts none.
    Check(ServeOptions),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match arguments.command {
        Some(Command::Check(options)) => tamis_serve::check(&options),
        None => tamis_serve::serve(&arguments.options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            use std::io::Write;
            // Standard error may be gone; there is nobody else to tell.
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
