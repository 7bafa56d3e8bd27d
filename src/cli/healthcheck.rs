//! `tollgate healthcheck`: for containers, which have no other HTTP client.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::config::section::admin::Admin;

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
    let status = ask(&url).with_context(|| format!("{url} does not answer"))?;
    if status.contains(" 200 ") {
        return Ok(Ending::Success);
    }
    say(&format!("{url}: {status}"));
    Ok(Ending::Problems)
}

/// The status line of a GET.
fn ask(url: &str) -> anyhow::Result<String> {
    let uri: http::Uri = url.parse()?;
    if uri.scheme_str() != Some("http") {
        bail!("only http:// can be asked");
    }
    let host = uri.host().context("the URL has no host")?;
    let port = uri.port_u16().unwrap_or(80);
    let address = (host.trim_matches(['[', ']']), port).to_socket_addrs()?.next().context("the host has no address")?;
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    write!(stream, "GET {target} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(4096).read_to_string(&mut answer)?;
    Ok(answer.lines().next().unwrap_or_default().to_owned())
}

fn local(address: SocketAddr) -> SocketAddr {
    match address.ip().is_unspecified() {
        true => SocketAddr::from(([127, 0, 0, 1], address.port())),
        false => address,
    }
}
