//! `tollgate reload -c FILE`.

use std::path::Path;

use serde_json::{Value, json};

use super::operator::{Question, Whom, text_of};
use super::{Ending, Form, print, say};

#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("gateway").args(["config", "admin_url"]).required(true).multiple(true)))]
#[command(before_help = "\
Examples:
  tollgate reload -c /etc/tollgate/tollgate.yaml
  tollgate reload --admin-url http://10.1.2.3:9901 --token-file ./admin.token")]
pub(super) struct Arguments {
    #[command(flatten)]
    whom: Whom,
    /// Form of the answer: text for people, json for programs
    #[arg(long, value_enum, default_value_t = Form::Text)]
    format: Form,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Ending> {
    let report = match arguments.whom.ask_for("result", "/reload", Question::Tell(json!({}))) {
        Ok(report) => report,
        Err(ending) => return Ok(ending),
    };
    match arguments.format {
        Form::Json => print(&report.to_string()),
        Form::Text => {
            say(text_of(&report, "text").trim_end());
            let loaded = text_of(&report, "file");
            if arguments.whom.config().is_some_and(|named| !is_same(named, Path::new(loaded))) {
                say(&format!("note: the gateway runs {loaded}, as it sees it, and loaded that"));
            }
        }
    }
    Ok(match text_of(&report, "result") {
        "applied" | "unchanged" if needs_restart(&report) => Ending::NeedsRestart,
        "applied" | "unchanged" => Ending::Success,
        "rejected" => Ending::Problems,
        _ => Ending::Impossible,
    })
}

/// In a container the same file has another path, which cannot be told from here.
fn is_same(a: &Path, b: &Path) -> bool {
    let whole = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    whole(a) == whole(b)
}

fn needs_restart(report: &Value) -> bool {
    report.get("needs_restart").and_then(Value::as_array).is_some_and(|paths| !paths.is_empty())
}
