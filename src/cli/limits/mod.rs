//! `tollgate limits show` and `limits reset`: what somebody has left, asked of the gateway that runs.
//!
//! In: whose. Out: the gateway's own words. Not here: which limits hold, and
//! how they stand (`admin`).

mod reset;
mod show;

use std::net::IpAddr;

use http::StatusCode;
use serde_json::{Value, json};

use super::operator::{Question, Whom};
use super::{Ending, say};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Forget what was counted: exit 0 done, 1 there was nothing, 2 not reached
    Reset(reset::Arguments),
    /// Show every limit that counts somebody, and what is left of it
    Show(show::Arguments),
}

/// Whose limits are meant.
#[derive(Debug, clap::Args)]
struct Whose {
    /// Whose rows are asked for; '' for requests without a tenant
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
    /// Whose credential it is, and its provider; '' for requests without a credential
    #[arg(long, value_name = "PROVIDER:ID")]
    caller: Option<String>,
    /// Where requests come from
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<IpAddr>,
    /// Only this host of `hosts`
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// Only this route: its key under `routes`, or a path that it serves
    #[arg(long, value_name = "ROUTE")]
    route: Option<String>,
    /// The plan that the credential names, where providers have `plan`
    #[arg(long, value_name = "PLAN")]
    plan: Option<String>,
    /// Only this limit; may be given several times
    #[arg(long = "limit", value_name = "LIMIT")]
    limits: Vec<String>,
}

impl Whose {
    /// The words that were given, by their names in a query.
    fn words(&self) -> Vec<(&'static str, String)> {
        let Whose { tenant, caller, ip, host, route, plan, limits } = self;
        let ip = ip.map(|ip| ip.to_string());
        let words =
            [("tenant", tenant), ("caller", caller), ("ip", &ip), ("host", host), ("route", route), ("plan", plan)];
        let words = words.into_iter().filter_map(|(name, word)| Some((name, word.clone()?)));
        words.chain(limits.iter().map(|limit| ("limit", limit.clone()))).collect()
    }

    fn query(&self) -> String {
        form_urlencoded::Serializer::new(String::new()).extend_pairs(self.words()).finish()
    }

    fn document(&self) -> Value {
        let words = self.words().into_iter().filter(|(name, _)| *name != "limit");
        let mut document: serde_json::Map<String, Value> =
            words.map(|(name, word)| (name.to_owned(), word.into())).collect();
        document.insert("limits".to_owned(), json!(self.limits));
        Value::Object(document)
    }
}

/// The answer of the gateway, which has this member; what it says of words that lead nowhere is said.
fn ask(whom: &Whom, member: &str, (path, question): (&str, Question)) -> Result<Value, Ending> {
    let answer = whom.ask(path, question).map_err(|error| Ending::could_not(&error))?;
    let said = String::from_utf8_lossy(&answer.body);
    if answer.status == StatusCode::BAD_REQUEST {
        say(&format!("tollgate: {}", said.trim_end()));
        return Err(Ending::Impossible);
    }
    let document = serde_json::from_slice::<Value>(&answer.body).ok();
    document.filter(|document| document.get(member).is_some()).ok_or_else(|| {
        let first = said.lines().next().unwrap_or_default();
        Ending::could_not(&anyhow::anyhow!("the answer ({}) is not that of a gateway: {first}", answer.status))
    })
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Ending> {
    match &arguments.command {
        Command::Reset(arguments) => reset::run(arguments),
        Command::Show(arguments) => show::run(arguments),
    }
}
