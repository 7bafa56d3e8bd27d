//! `tollgate domains`: customers' own domains, of the gateway that runs.
//!
//! In: a name, and the host that it is served as. Out: the gateway's own words.
//! Not here: what a domain is (`state::domains`), and what is found (`admin`).

use http::StatusCode;
use serde_json::{Value, json};

use super::operator::{Question, Whom, text_of};
use super::{Ending, Form, print, say};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Add a domain, say which record it needs, and look: exit 0 verified, 1 not yet or refused, 2 not reached
    Add(AddArguments),
    /// List domains and certificates, days left and last errors
    List(ListArguments),
    /// Take a domain away, and its certificate: exit 0 done, 1 there is none, 2 not reached
    Remove(NameArguments),
    /// Look whether a domain leads to the gateway: exit 0 if so, 1 if not, 2 not reached
    Verify(NameArguments),
}

#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("gateway").args(["config", "admin_url"]).required(true).multiple(true)))]
#[command(before_help = "\
Examples:
  tollgate domains add data.acme.com --host acme.customers.example.com -c tollgate.yaml
  tollgate domains add data.acme.com --host '*.customers.example.com' --tenant acme -c tollgate.yaml")]
struct AddArguments {
    /// The customer's domain, like data.acme.com
    name: String,
    /// The host of the file that it is served as, or its pattern
    #[arg(long, value_name = "HOST")]
    host: String,
    /// What stands for the `*` of the pattern
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
    #[command(flatten)]
    rest: Rest,
}

#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("gateway").args(["config", "admin_url"]).required(true).multiple(true)))]
struct NameArguments {
    /// The domain, like data.acme.com
    name: String,
    #[command(flatten)]
    rest: Rest,
}

#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("gateway").args(["config", "admin_url"]).required(true).multiple(true)))]
struct ListArguments {
    #[command(flatten)]
    rest: Rest,
}

#[derive(Debug, clap::Args)]
struct Rest {
    #[command(flatten)]
    whom: Whom,
    /// Form of the answer: text for people, json for programs
    #[arg(long, value_enum, default_value_t = Form::Text)]
    format: Form,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Ending> {
    match &arguments.command {
        Command::Add(AddArguments { name, host, tenant, rest }) => {
            rest.run("/domains/add", Question::Tell(json!({ "name": name, "host": host, "tenant": tenant })))
        }
        Command::List(ListArguments { rest }) => rest.run("/domains", Question::Read),
        Command::Remove(NameArguments { name, rest }) => {
            rest.run("/domains/remove", Question::Tell(json!({ "name": name })))
        }
        Command::Verify(NameArguments { name, rest }) => {
            rest.run("/domains/verify", Question::Tell(json!({ "name": name })))
        }
    }
}

impl Rest {
    fn run(&self, path: &str, question: Question) -> anyhow::Result<Ending> {
        let answer = match self.whom.ask(path, question) {
            Ok(answer) => answer,
            Err(error) => return Ok(Ending::could_not(&error)),
        };
        let said = String::from_utf8_lossy(&answer.body);
        if answer.status == StatusCode::BAD_REQUEST {
            say(&format!("tollgate: {}", said.trim_end()));
            return Ok(Ending::Problems);
        }
        let document = serde_json::from_slice::<Value>(&answer.body).ok();
        let Some(mut told) = document.filter(|document| document.get("text").is_some()) else {
            let first = said.lines().next().unwrap_or_default();
            let status = answer.status;
            return Ok(Ending::could_not(&anyhow::anyhow!("the answer ({status}) is not that of a gateway: {first}")));
        };
        let is_missing = told.get("leads_here").and_then(Value::as_bool) == Some(false);
        match self.format {
            Form::Text => print(text_of(&told, "text").trim_end()),
            Form::Json => {
                told.as_object_mut().map(|told| told.remove("text"));
                print(&serde_json::to_string_pretty(&told)?);
            }
        }
        Ok(if is_missing { Ending::Problems } else { Ending::Success })
    }
}
