//! `tollgate healthcheck`: for containers, which have no other HTTP client.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::clock::Clock;
use crate::config::scalar::Scheme;
use crate::config::section::admin::Admin;
use crate::outbound::{Call, Client, Target, wait};

use super::{Ending, load_or_explain, say};

const TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The configuration whose `admin.address` is asked
    #[arg(short = 'c', long = "config", value_name = "FILE", conflicts_with = "url")]
    config: Option<PathBuf>,
    /// What to ask instead, like http://127.0.0.1:9901/readyz
    #[arg(long)]
    url: Option<String>,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Ending> {
    let url = match (&arguments.url, &arguments.config) {
        (Some(url), _) => url.clone(),
        (None, None) => format!("http://{}/readyz", Admin::default().address),
        (None, Some(path)) => match load_or_explain(path) {
            Err(ending) => return Ok(ending),
            Ok(loaded) => format!("http://{}/readyz", local(loaded.config.admin.address)),
        },
    };
    let target: Target = url.parse().map_err(anyhow::Error::msg)?;
    if target.scheme() != Scheme::Http {
        bail!("only http:// can be asked");
    }
    let call = Call { connect_time: TIMEOUT, ..Call::get(target).within(TIMEOUT) };
    let answer =
        wait(Client::direct(Clock::system()).call(&call))?.with_context(|| format!("{url} does not answer"))?;
    if answer.status == http::StatusCode::OK {
        return Ok(Ending::Success);
    }
    say(&format!("{url}: {}", answer.status));
    Ok(Ending::Problems)
}

/// Where an address that is listened on can be reached from this machine.
fn local(address: SocketAddr) -> SocketAddr {
    match address.ip().is_unspecified() {
        true => SocketAddr::from(([127, 0, 0, 1], address.port())),
        false => address,
    }
}
