//! `tollgate limits show -c FILE --tenant acme`: what is left.

use super::super::operator::{Question, Whom, text_of};
use super::super::{Ending, Form, print};
use super::{Whose, ask};

#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("gateway").args(["config", "admin_url"]).required(true).multiple(true)))]
#[command(before_help = "\
Examples:
  tollgate limits show -c tollgate.yaml --tenant acme
  tollgate limits show -c tollgate.yaml --ip 203.0.113.7
  tollgate limits show -c tollgate.yaml --caller dashboards:reports --tenant acme --route /top")]
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
    let path = format!("/limits?{}", arguments.whose.query());
    let mut told = match ask(&arguments.whom, "limits", (&path, Question::Read)) {
        Ok(told) => told,
        Err(ending) => return Ok(ending),
    };
    match arguments.format {
        Form::Text => print(text_of(&told, "text").trim_end()),
        Form::Json => {
            told.as_object_mut().map(|told| told.remove("text"));
            print(&serde_json::to_string_pretty(&told)?);
        }
    }
    Ok(Ending::Success)
}
