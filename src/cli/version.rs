//! `tollgate version`.

use super::{Ending, print};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// As JSON, for programs
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Ending> {
    let version = env!("CARGO_PKG_VERSION");
    match arguments.json {
        true => print(&serde_json::json!({ "name": "tollgate", "version": version }).to_string()),
        false => print(&format!("tollgate {version}")),
    }
    Ok(Ending::Success)
}
