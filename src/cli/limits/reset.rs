//! `tollgate limits reset -c FILE --tenant acme`: forgets what was counted.

use serde_json::Value;

use super::super::operator::{Question, Whom, text_of};
use super::super::{Ending, Form, print};
use super::{Whose, ask};

#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("gateway").args(["config", "admin_url"]).required(true).multiple(true)))]
#[command(before_help = "\
Examples:
  tollgate limits reset -c tollgate.yaml --tenant acme                every count that is this tenant's alone
  tollgate limits reset -c tollgate.yaml --tenant acme --limit daily  only this one
  tollgate limits reset -c tollgate.yaml --limit everybody            a count that all share, by its name")]
pub(super) struct Arguments {
    #[command(flatten)]
    whose: Whose,
    #[command(flatten)]
    whom: Whom,
    /// Form of the answer: text for people, json for programs
    #[arg(long, value_enum, default_value_t = Form::Text)]
    format: Form,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Ending> {
    let question = Question::Tell(arguments.whose.document());
    let mut told = match ask(&arguments.whom, "reset", ("/limits/reset", question)) {
        Ok(told) => told,
        Err(ending) => return Ok(ending),
    };
    let is_done = told.get("reset").and_then(Value::as_array).is_some_and(|reset| !reset.is_empty());
    match arguments.format {
        Form::Text => print(text_of(&told, "text").trim_end()),
        Form::Json => {
            told.as_object_mut().map(|told| told.remove("text"));
            print(&serde_json::to_string_pretty(&told)?);
        }
    }
    Ok(if is_done { Ending::Success } else { Ending::Problems })
}
