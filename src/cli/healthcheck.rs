//! `tollgate healthcheck`: for containers, which have no other HTTP client.
//!
//! In: where to ask. Out: 0 or 1, and nothing else: Docker keeps 2 for itself.
//! Not here: whether the file is fine. A gateway whose file was broken after it
//! started serves as before, and must not be ended for it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::clock::Clock;
use crate::config::admin_address;
use crate::config::interpolate::Environment;
use crate::config::scalar::Scheme;
use crate::config::section::admin::Admin;
use crate::outbound::{Call, Client, Target, wait};

use super::{Ending, say};

const TIMEOUT: Duration = Duration::from_secs(5);

const EXAMPLES: &str = "\
Examples:
  tollgate healthcheck -c conf/tollgate.yaml
  tollgate healthcheck --url http://127.0.0.1:9901/readyz";

#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES)]
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
        (None, None) => readiness(Admin::default().address),
        (None, Some(path)) => readiness(admin_address(path, &Environment::of_process()).unwrap_or_else(|| {
            let usual = Admin::default().address;
            say(&format!("{} cannot be read, so {usual} is asked: `tollgate check` says why", path.display()));
            usual
        })),
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

/// What is asked of a gateway whose admin address is this one, as it can be reached from this machine.
fn readiness(address: SocketAddr) -> String {
    let address = match address.ip().is_unspecified() {
        true => SocketAddr::from(([127, 0, 0, 1], address.port())),
        false => address,
    };
    format!("http://{address}/readyz")
}
