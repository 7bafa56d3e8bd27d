//! `tollgate version`.

use super::{Ending, print};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Form of the answer: text for people, json for programs
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Json,
    Text,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Ending> {
    let version = env!("CARGO_PKG_VERSION");
    match arguments.format {
        Format::Json => print(&serde_json::json!({ "name": "tollgate", "version": version }).to_string()),
        Format::Text => print(&format!("tollgate {version}")),
    }
    Ok(Ending::Success)
}
