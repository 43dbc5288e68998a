//! `cargo xtask bench`: speed, measured beside peers on the same inputs in one session.

mod forward;
mod peer;
mod prettr;
mod serve;
mod shape;
mod train;

/// Measure speed beside peers.
#[derive(clap::Args)]
pub struct BenchArgs {
    #[command(subcommand)]
    workload: Workload,
}

#[derive(clap::Subcommand)]
enum Workload {
    Forward(forward::ForwardArgs),
    Train(train::TrainArgs),
    Prettr(prettr::PrettrArgs),
    Serve(serve::ServeArgs),
}

pub fn bench(args: &BenchArgs) -> anyhow::Result<()> {
    match &args.workload {
        Workload::Forward(args) => forward::forward(args),
        Workload::Train(args) => train::train(args),
        Workload::Prettr(args) => prettr::prettr(args),
        Workload::Serve(args) => serve::serve(args),
    }
}
