//! `tollgate healthcheck`: for containers, which have no other HTTP client.
//!
//! In: where to ask. Out: 0 or 1, and nothing else: Docker keeps 2 for itself.
//! Not here: whether the file is fine. Only its address counts: a file that is
//! being mended must not make a gateway that serves look ill.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::clock::Clock;
use crate::config::scalar::Scheme;
use crate::config::section::admin::Admin;
use crate::outbound::{Call, Client, Target, wait};

use super::operator::url_of_file;
use super::{Ending, say};

const TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
#[command(before_help = "\
Examples:
  tollgate healthcheck -c conf/tollgate.yaml
  tollgate healthcheck --url http://127.0.0.1:9901/readyz")]
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
        (None, Some(path)) => format!("{}/readyz", url_of_file(path)?),
    };
    let target: Target = url.parse().map_err(anyhow::Error::msg)?;
    if target.scheme() != Scheme::Http {
        bail!("only http:// can be asked");
    }
    // As it may be shown, without its query.
    let shown = target.to_string();
    let call = Call { connect_time: TIMEOUT, ..Call::get(target).within(TIMEOUT) };
    let answer =
        wait(Client::direct(Clock::system()).call(&call))?.with_context(|| format!("{shown} does not answer"))?;
    if answer.status == http::StatusCode::OK {
        return Ok(Ending::Success);
    }
    say(&format!("{shown}: {}", answer.status));
    Ok(Ending::Problems)
}
