//! Tries whom certificates depend on: authorities (ACME), and who approves of names.
//!
//! In: a configuration. Out: findings. Nothing is ordered, and no account is
//! made. Not here: whether a host's name leads here, which only the gateway that
//! it leads to can see.

use std::time::Duration;

use http::StatusCode;
use serde_json::Value;

use crate::clock::Clock;
use crate::config::Config;
use crate::config::issue::IssueCode;
use crate::config::section::hosts::Host;
use crate::config::section::tls::{Acme, HostTls};
use crate::outbound::{Answer, Call, Client, Target, Trust};

use super::{Grade, Problem, TIME, Trial, Trials};

pub(super) async fn probe(config: &Config, clock: &Clock) -> Trials {
    let client = Client::direct(clock.clone());
    let (mut found, asked) = tokio::join!(directories(&client, config), approval(&client, config));
    found.findings.extend(asked.findings);
    found.problems.extend(asked.problems);
    found
}

/// Whether authorities answer, if somebody wants a certificate of them.
async fn directories(client: &Client, config: &Config) -> Trials {
    let (mut found, default) = (Trials::default(), [Acme::default()]);
    let is_wanted = |host: &Host| matches!(host.tls, Some(HostTls::Auto | HostTls::OnDemand));
    if !config.hosts.values().any(is_wanted) {
        return found;
    }
    let all = if config.tls.acme.is_empty() { &default[..] } else { &config.tls.acme };
    // One behind the other, and all of them in time: there are hardly ever more than two.
    let time = TIME / u32::try_from(all.len()).unwrap_or(u32::MAX);
    for acme in all {
        directory(client, (acme, time), &mut found).await;
    }
    found
}

/// Whether an authority answers as one.
async fn directory(client: &Client, (acme, time): (&Acme, Duration), found: &mut Trials) {
    let (url, subject) = (acme.directory.url(), format!("authority {}", acme.directory));
    let Ok(target) = url.parse::<Target>() else { return };
    let trust = acme.ca.as_ref().map_or(Trust::System, |_| Trust::Given(acme.ca_certificates.clone()));
    let why = match client.call(&Call { trust, ..Call::get(target).within(time) }).await {
        Ok(answer) if is_directory(&answer) => {
            return found.note(&subject, Trial::Answer, Grade::Ok, "takes orders for certificates");
        }
        Ok(answer) => format!("{url} answers {}, and not as a directory of ACME", answer.status.as_u16()),
        Err(failure) => format!("{url}: {failure}"),
    };
    let help = "until it does, no certificate is got or renewed; for an authority of your own, mind `ca`";
    let title = format!("the authority does not answer: {why}");
    found.problem(&subject, Trial::Answer, Problem::new(IssueCode::NoAuthority, &["tls", "acme"], title, help));
}

fn is_directory(answer: &Answer) -> bool {
    let body = serde_json::from_slice::<Value>(&answer.body).unwrap_or_default();
    answer.status.is_success() && body.get("newOrder").is_some()
}

/// Whether names are approved of by somebody who also says no.
async fn approval(client: &Client, config: &Config) -> Trials {
    let (subject, path, mut found) = ("tls.on_demand.ask", ["tls", "on_demand", "ask"], Trials::default());
    let is_on_demand = |host: &Host| host.tls == Some(HostTls::OnDemand);
    let pattern = config.hosts.iter().find_map(|(pattern, host)| pattern.suffix().filter(|_| is_on_demand(host)));
    let ask = config.tls.on_demand.ask.as_ref().and_then(|ask| ask.as_str().parse::<Target>().ok());
    let (Some(ask), Some(domain)) = (ask, pattern) else { return found };
    let name = format!("nobody-{:016x}.{domain}", rand::random::<u64>());
    let query = match ask.query() {
        Some(query) => format!("{query}&domain={name}"),
        None => format!("domain={name}"),
    };
    let (title, help) = match client.call(&Call::get(ask.with_query(Some(&query))).within(TIME)).await {
        Ok(answer) if answer.status == StatusCode::OK => (
            format!("{ask} approves of `{name}`, which is nobody's"),
            "answer 200 for names of customers only: else anybody can have the gateway ask for certificates",
        ),
        Ok(answer) => {
            let words = format!("says no to a name that is nobody's ({})", answer.status.as_u16());
            found.note(subject, Trial::Answer, Grade::Ok, words);
            return found;
        }
        Err(failure) => (
            format!("{ask} cannot be asked: {failure}"),
            "until it can, no name gets a certificate when its first caller comes",
        ),
    };
    found.problem(subject, Trial::Answer, Problem::new(IssueCode::NoAuthority, &path, title, help));
    found
}
