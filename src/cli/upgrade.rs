//! `tollgate upgrade -c FILE`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::operator::{Question, Whom, text_of};
use super::{Ending, Form, print, say};

/// The next process reads its file and everything that this names before it serves.
const TIMEOUT: Duration = Duration::from_secs(120);

#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("gateway").args(["config", "admin_url"]).required(true).multiple(true)))]
#[command(before_help = "\
Examples:
  tollgate upgrade -c /etc/tollgate/tollgate.yaml
  tollgate upgrade -c /etc/tollgate/tollgate.yaml --binary /opt/tollgate-0.2/tollgate")]
pub(super) struct Arguments {
    #[command(flatten)]
    whom: Whom,
    /// The program that is to go on; left out: the file that the gateway was started from, as it is now
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
    /// Form of the answer: text for people, json for programs
    #[arg(long, value_enum, default_value_t = Form::Text)]
    format: Form,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Ending> {
    let binary = arguments.binary.as_ref().map(whole).transpose()?;
    let wish = binary.map_or_else(|| json!({}), |binary| json!({ "binary": binary }));
    let outcome: Value = match arguments.whom.ask_for("result", "/upgrade", Question::TellWithin(wish, TIMEOUT)) {
        Ok(outcome) => outcome,
        Err(ending) => return Ok(ending),
    };
    match arguments.format {
        Form::Json => print(&outcome.to_string()),
        Form::Text => say(text_of(&outcome, "text").trim_end()),
    }
    Ok(if text_of(&outcome, "result") == "upgraded" { Ending::Success } else { Ending::Impossible })
}

/// The gateway has another working directory.
fn whole(path: &PathBuf) -> anyhow::Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("`{}`", path.display()))
}
