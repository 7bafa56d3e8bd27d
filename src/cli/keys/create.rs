//! `tollgate keys create -f keys.yaml`: a key, shown once.

use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, anyhow};

use crate::clock::Clock;
use crate::config::keys::Unchangeable;
use crate::config::scalar::api_key::generate;
use crate::config::scalar::{ApiKey, KeyPrefix, Moment, Period, TenantName};
use crate::config::section::keys::{KeyRecord, Scope, Words};

use super::super::{Ending, Form, print, say};
use super::file::{Change, Missing, change};
use super::{Which, say_when};

#[derive(Debug, clap::Args)]
#[command(before_help = "\
Examples:
  tollgate keys create -f keys.yaml --tenant acme --expires 90d
  tollgate keys create -f keys.yaml --tenant acme --scope reports.read --meta plan=pro --name 'Partner A'
  tollgate keys create -c tollgate.yaml --provider partners --tenant acme
  tollgate keys create -f keys.yaml --tenant acme --format json")]
pub(super) struct Arguments {
    #[command(flatten)]
    which: Which,
    /// What the key begins with, as the provider's `prefix` says: a small letter, then small letters and digits [default: that of the provider, or tgk]
    #[arg(long, value_name = "PREFIX")]
    prefix: Option<KeyPrefix>,
    /// Whose rows the key opens
    #[arg(long, value_name = "TENANT")]
    tenant: Option<TenantName>,
    /// What the key may do, as routes ask for it; may be given several times
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<Scope>,
    /// A value for `{key.meta.NAME}`; may be given several times
    #[arg(long = "meta", value_name = "NAME=VALUE")]
    meta: Vec<Pair>,
    /// When the key ends: after a time like 90d, or at a date like 2027-01-31; left out: never
    #[arg(long, value_name = "TIME|DATE")]
    expires: Option<End>,
    /// Who has the key, in words
    #[arg(long, value_name = "TEXT")]
    name: Option<Words>,
    /// Form of the answer: text is the key alone
    #[arg(long, value_enum, default_value_t = Form::Text)]
    format: Form,
}

/// `plan=pro`.
#[derive(Clone, Debug)]
struct Pair(String, Words);

impl FromStr for Pair {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "write NAME=VALUE, like plan=pro; a name has letters, digits and `_`".to_owned();
        let (name, value) = text.split_once('=').ok_or_else(wrong)?;
        let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !is_name {
            return Err(wrong());
        }
        Ok(Pair(name.to_owned(), value.parse()?))
    }
}

/// When a key ends.
#[derive(Clone, Copy, Debug)]
enum End {
    After(Period),
    At(Moment),
}

impl FromStr for End {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let moment = text.parse().map(End::At);
        moment.or_else(|_| text.parse().map(End::After)).map_err(|why: String| match why.contains("too long") {
            true => format!("{why}, or a date like 2029-01-31"),
            false => format!("`{text}` is no time and no date: write 90d, 2027-01-31 or 2027-01-31T10:00:00Z"),
        })
    }
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Ending> {
    let mut meta = BTreeMap::new();
    for Pair(name, value) in &arguments.meta {
        if meta.insert(name.clone(), value.clone()).is_some() {
            say(&format!("tollgate: --meta {name}= is given twice: keep one of them"));
            return Ok(Ending::WrongCall);
        }
    }
    let now = Moment::of(Clock::system().wall()).context("the clock of this machine is not set")?;
    let expires = match arguments.expires {
        None => None,
        Some(End::After(period)) => now.after(period.duration()),
        Some(End::At(moment)) => Some(moment),
    };
    if expires.is_some_and(|expires| expires <= now) {
        say("tollgate: --expires is not in the future: such a key would never count");
        return Ok(Ending::WrongCall);
    }
    let chosen = match arguments.which.choose() {
        Ok(chosen) => chosen,
        Err(ending) => return Ok(ending),
    };
    let key =
        generate(arguments.prefix.as_ref().unwrap_or(&chosen.prefix)).context("the system gives no randomness")?;
    let record = KeyRecord {
        id: key.id().clone(),
        sha256: key.hash(),
        tenant: arguments.tenant.clone(),
        scopes: arguments.scopes.clone(),
        meta,
        created: Some(now.day()),
        expires,
        enabled: true,
        name: arguments.name.clone(),
    };
    let added = change(&chosen.file, Missing::IsMade, |keys| match keys.adding(&record) {
        Ok(text) => Ok(Change::Write(text, ())),
        Err(Unchangeable) => Err(anyhow!(
            "no line can be added at the end of {}: write the list with one `- ` line for each key; nothing was changed",
            chosen.file.display()
        )),
    })?;
    if let Err(ending) = added {
        say("No key was made: mend the file first.");
        return Ok(ending);
    }
    tell(arguments.format, &chosen.file, &key, &record);
    Ok(Ending::Success)
}

/// The key on stdout, and what to do with it on stderr.
fn tell(form: Form, file: &Path, key: &ApiKey, record: &KeyRecord) {
    match form {
        Form::Text => print(key.expose()),
        Form::Json => {
            let mut answer = super::list::as_json(record);
            if let Some(members) = answer.as_object_mut() {
                members.insert("key".to_owned(), key.expose().into());
            }
            print(&answer.to_string());
        }
    }
    let tenant = record.tenant.as_ref().map(|tenant| format!(" for the tenant {tenant}")).unwrap_or_default();
    let until = match record.expires {
        None => "it does not expire".to_owned(),
        Some(expires) => format!("it counts until {expires}"),
    };
    say(&format!("Made the key {}{tenant}; {until}.", key.id()));
    say(&format!("It is shown this once: {} has only its hash.", file.display()));
    if record.tenant.is_none() {
        say("It has no tenant: where `{key.tenant}` is asked for, it is refused.");
    }
    say_when();
    say("Try it, with the key in the variable KEY:");
    say("  curl -H \"Authorization: Bearer $KEY\" http://127.0.0.1:8080/YOUR-ROUTE");
}
