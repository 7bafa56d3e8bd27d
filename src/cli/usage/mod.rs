//! `tollgate usage`: who used how much, as the gateway wrote it down; and what
//! that would have been under other plans.
//!
//! In: a gateway's ledger, or its access log. Out: answers. Not here: what a
//! running gateway has counted for its limits (`limits`).

mod export;
mod line;
mod order;
mod plan;
mod replay;
mod report;
mod source;
mod sums;
mod tally;

use super::Ending;

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, before_help = sums::EXAMPLES)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    sums: sums::Arguments,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Print every line of the ledger, or the data source that takes them
    Export(export::Arguments),
    /// Play an access log back against other limits and plans: who would have been refused
    Plan(plan::Arguments),
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Ending> {
    match &arguments.command {
        None => sums::run(&arguments.sums),
        Some(Command::Export(arguments)) => export::run(arguments),
        Some(Command::Plan(arguments)) => plan::run(arguments),
    }
}
