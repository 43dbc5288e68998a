//! `cargo xtask bench`: speed, measured beside peers on the same inputs in one session.

mod forward;

/// Measure speed beside peers.
#[derive(clap::Args)]
pub struct BenchArgs {
    #[command(subcommand)]
    workload: Workload,
}

#[derive(clap::Subcommand)]
enum Workload {
    Forward(forward::ForwardArgs),
}

pub fn bench(args: &BenchArgs) -> anyhow::Result<()> {
    match &args.workload {
        Workload::Forward(args) => forward::forward(args),
    }
}
