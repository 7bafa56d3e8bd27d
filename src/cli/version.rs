//! `tollgate version`.

use super::{Ending, Form, print};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Form of the answer: text for people, json for programs
    #[arg(long, value_enum, default_value_t = Form::Text)]
    format: Form,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Ending> {
    let version = env!("CARGO_PKG_VERSION");
    match arguments.format {
        Form::Json => print(&serde_json::json!({ "name": "tollgate", "version": version }).to_string()),
        Form::Text => print(&format!("tollgate {version}")),
    }
    Ok(Ending::Success)
}
