//! `tollgate usage`: what the access log says of who uses how much.
//!
//! In: an access log. Out: answers. Not here: what a running gateway has
//! counted (`limits`).

mod line;
mod order;
mod plan;
mod replay;
mod report;
mod tally;

use super::Ending;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Play an access log back against other limits and plans: who would have been refused
    Plan(plan::Arguments),
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Ending> {
    match &arguments.command {
        Command::Plan(arguments) => plan::run(arguments),
    }
}
