//! `tollgate demo` and `tollgate demo-upstream`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::SystemTime;

use anyhow::Context;
use serde_json::json;

use crate::app::App;
use crate::clock::Clock;
use crate::config::interpolate::Environment;
use crate::config::load_text;
use crate::config::section::log::Log;
use crate::demo::{ADMIN_TOKEN, Demo, DemoOptions, WORKSPACE_ID, sign};
use crate::proxy::server::Signals;
use crate::proxy::sockets::Claim;
use crate::telemetry::program_log;

use super::{Ending, print, say, show};

const CONFIG: &str = include_str!("../../conf/demo.yaml");

/// Looks like a static token of Tinybird's, and opens the bundled upstream only.
const TOKEN: &str = "p.eyJ1IjoiZGVtbyIsImhvc3QiOiJsb2NhbCJ9.tollgate-demo-token";

#[derive(Debug, clap::Args)]
#[command(before_help = "\
Examples:
  tollgate demo
  tollgate demo --listen 127.0.0.1:9090")]
pub(super) struct Arguments {
    /// Where the gateway listens; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", value_parser = address, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Where health and metrics are; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", value_parser = address, default_value = "127.0.0.1:0")]
    admin: SocketAddr,
}

#[derive(Debug, clap::Args)]
pub(super) struct UpstreamArguments {
    /// Where the API listens
    #[arg(long, value_name = "ADDRESS", value_parser = address, default_value = "127.0.0.1:7181")]
    listen: SocketAddr,
    /// The token that it accepts
    #[arg(long, value_name = "TOKEN", default_value = TOKEN)]
    token: String,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Ending> {
    // Said here, because the remedy is not in a file: `App` would name `listeners`.
    for (address, option) in [(arguments.listen, "--listen (with make: LISTEN=ADDRESS)"), (arguments.admin, "--admin")]
    {
        Claim::stake(address).with_context(|| {
            format!("cannot listen on {address}; stop the program that uses it, or choose another by {option}")
        })?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let options = DemoOptions { address, token: TOKEN.to_owned(), clock: Clock::system() };
    let demo = runtime.block_on(Demo::start(options)).context("the bundled upstream cannot start")?;
    let environment = Environment::of([
        ("DEMO_LISTEN", arguments.listen.to_string().as_str()),
        ("DEMO_ADMIN", arguments.admin.to_string().as_str()),
        ("DEMO_UPSTREAM", format!("http://{}", demo.address()).as_str()),
        ("DEMO_TOKEN", TOKEN),
        ("DEMO_ADMIN_TOKEN", ADMIN_TOKEN),
    ]);
    let loaded = match load_text("demo.yaml", CONFIG, PathBuf::new(), &environment) {
        Ok(loaded) => loaded,
        Err(issues) => {
            show(&issues);
            return Ok(Ending::Problems);
        }
    };
    program_log::start(&loaded.config.log, super::run::times());
    let app = App::start(&loaded.config, Clock::system(), Signals::Heed)?;
    if let Some(address) = app.addresses().first() {
        let acme = token_of_acme(Clock::system().wall());
        print(&welcome(*address, demo.address(), app.admin_address(), &acme));
    }
    app.wait();
    demo.stop();
    say("The demo has ended.");
    Ok(Ending::Success)
}

pub(super) fn run_upstream(arguments: &UpstreamArguments) -> anyhow::Result<Ending> {
    program_log::start(&Log::default(), super::run::times());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let options = DemoOptions { address: arguments.listen, token: arguments.token.clone(), clock: Clock::system() };
        let demo = Demo::start(options).await.with_context(|| format!("cannot listen on {}", arguments.listen))?;
        say("A Tinybird-like API with bundled data, for conf/examples and for trying. Ctrl-C ends it.");
        // No secret: they are the same in every copy, and guard bundled data only.
        say(&format!(
            "Its JWTs are HS256, signed with the workspace's admin token:\n  secret: {ADMIN_TOKEN}\n  workspace_id: {WORKSPACE_ID}"
        ));
        print(&format!("http://{}", demo.address()));
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            _ = terminate.recv() => {}
            interrupted = tokio::signal::ctrl_c() => interrupted?,
        }
        demo.stop();
        Ok(Ending::Success)
    })
}

/// An address as it is written in a configuration.
fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "write it like 127.0.0.1:8080; port 0 takes a free one".to_owned())
}

/// A Tinybird JWT as a product's backend would sign it for a page of its customer, good for a day.
fn token_of_acme(now: SystemTime) -> String {
    let expires = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs() + 24 * 3600;
    sign(&json!({
        "workspace_id": WORKSPACE_ID,
        "name": "acme",
        "exp": expires,
        "scopes": [{ "type": "PIPES:READ", "resource": "events_list", "fixed_params": { "tenant_id": "acme" } }],
    }))
}

/// What a newcomer reads first. The first URL on stdout is the gateway's.
fn welcome(gateway: SocketAddr, upstream: SocketAddr, admin: SocketAddr, acme: &str) -> String {
    let base = format!("http://{gateway}");
    format!(
        "Tollgate serves {base} in front of a bundled Tinybird-like API. Ctrl-C ends it.

The main job: a pipe on your own path, the token hidden:
  curl '{base}/top-10-products?date_start=2026-01-01&date_end=2026-01-31&limit=3'
  curl '{base}/top-10-products.csv?limit=3'

What the gateway holds back: a control parameter, another tenant's rows, a neighbour of the pipes:
  curl '{base}/kpis?q=SELECT+1'
  curl '{base}/acme/top-sources?tenant_id=beta&limit=3'
  curl '{base}/v0/pipes/openapi.json'

Rows by who asks: with acme's token, acme's rows, whatever else is asked for; without one, none:
  curl -H 'Authorization: Bearer {acme}' '{base}/my/events?tenant_id=beta&limit=3'
  curl '{base}/my/events?limit=3'

Retries: the upstream fails twice, the caller sees one answer (add -i, or look at attempts= below):
  curl '{base}/flaky?fail=500&times=2&key=one'

Tinybird's own clients: give them {base} as base URL and any token.

Health and metrics:
  curl -s http://{admin}/metrics

Past the gateway, to compare (this is what callers never see):
  curl -i -H 'Authorization: Bearer {TOKEN}' 'http://{upstream}/v0/pipes/top-10-products.json?limit=1'

Requests appear here as they come:"
    )
}
