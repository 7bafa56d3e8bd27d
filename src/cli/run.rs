//! `tollgate run -c FILE`.

use std::fs::File;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use crate::app::{App, Circumstances, Origin, Predecessor, Recipe, Supervisor, VARIABLE, apart};
use crate::clock::Clock;
use crate::config::interpolate::Environment;
use crate::config::section::auth::AuthRule;
use crate::config::section::listeners::Listener;
use crate::config::{Config, ConfigFile};
use crate::proxy::server::{Signals, survive_early_signals};
use crate::telemetry::program_log::{self, Times};

use super::{Ending, count, explain};

#[derive(Debug, clap::Args)]
#[command(before_help = "\
Examples:
  tollgate run -c conf/tollgate.yaml")]
pub(super) struct Arguments {
    /// The configuration to serve
    #[arg(short = 'c', long = "config", value_name = "FILE")]
    config: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Ending> {
    survive_early_signals()?;
    let predecessor = std::env::var_os(VARIABLE).map(|_| Predecessor::meet()).transpose()?;
    let file = ConfigFile::new(arguments.config.clone(), Environment::of_process());
    // The rest of what was loaded is not needed, and a large file's tree takes more than the configuration.
    let (config, touched) = apart(|| {
        let (loaded, touched) = file.load();
        (explain(loaded, &arguments.config).map(|loaded| loaded.config), touched)
    })?;
    let config = match config {
        Ok(config) => config,
        // Nothing was started, so this is a failure whatever the file's problem.
        Err(_) => return Ok(Ending::Problems),
    };
    let times = predecessor.as_ref().map_or_else(times, |before| times_on(before.talk()));
    program_log::start(&config.log, times);
    // What came from a pipe is gone.
    let origin = (!touched.is_nothing()).then_some(Origin { file, touched });
    let circumstances =
        Circumstances { origin, signals: Signals::Heed, told: supervisor(), recipe: recipe(), predecessor };
    let app = App::begin(circumstances, &config, Clock::system())?;
    log::info!("tollgate {} serves {}", env!("CARGO_PKG_VERSION"), arguments.config.display());
    announce(&config, &app);
    drop(config);
    app.wait();
    log::info!("stopped");
    log::logger().flush();
    Ok(Ending::Success)
}

/// How the process was started. The program is what was called: behind a link there may be a newer one by now.
fn recipe() -> Option<Recipe> {
    let mut arguments = std::env::args_os();
    let called = PathBuf::from(arguments.next()?);
    let is_path = called.components().count() > 1;
    let program = if is_path { std::path::absolute(called).ok()? } else { std::env::current_exe().ok()? };
    Some(Recipe { program, arguments: arguments.collect() })
}

/// The journal has its own times, and so has who looks on at a terminal.
pub(super) fn times() -> Times {
    times_on(&std::io::stderr())
}

fn times_on(stream: &(impl IsTerminal + AsFd)) -> Times {
    let is_known = stream.is_terminal() || is_journal(stream);
    if is_known { Times::LeftOut } else { Times::Written }
}

/// Whether a stream is systemd's journal: the variable names the device and the inode of that stream, and is handed on to
/// children that write elsewhere (systemd.exec(5)).
#[expect(clippy::disallowed_methods, reason = "it is about this process, and no setting")]
fn is_journal(stream: &impl AsFd) -> bool {
    let copy = stream.as_fd().try_clone_to_owned().map(File::from);
    let (named, stream) = (std::env::var("JOURNAL_STREAM"), copy.and_then(|copy| copy.metadata()));
    named.ok().zip(stream.ok()).is_some_and(|(named, stream)| named == format!("{}:{}", stream.dev(), stream.ino()))
}

/// Who started the process and waits to hear that it is up, if somebody does.
fn supervisor() -> Supervisor {
    let Some(address) = std::env::var_os("NOTIFY_SOCKET").filter(|address| !address.is_empty()) else {
        return Supervisor::none();
    };
    Supervisor::at(&address).unwrap_or_else(|error| {
        log::warn!("nobody can be told that the gateway is up: NOTIFY_SOCKET: {error}");
        Supervisor::none()
    })
}

/// What an operator wants to know when it starts.
pub(super) fn announce(config: &Config, app: &App) {
    let scheme = |listener: &Listener| if listener.tls { "https" } else { "http" };
    let addresses = config.listeners.iter().zip(app.addresses());
    let addresses: Vec<String> =
        addresses.map(|(listener, address)| format!("{}://{address}", scheme(listener))).collect();
    log::info!("listening on {}", addresses.join(", "));
    log::info!("{}, {}", count(config.all_routes().count(), "route"), count(config.served_paths().len(), "path"));
    if !config.hosts.is_empty() {
        log::info!("only for {} under `hosts`", count(config.hosts.len(), "host"));
    }
    for (name, upstream) in &config.upstreams {
        log::info!("upstream {name}: {}", upstream.places());
    }
    log::info!("health and metrics on http://{} (/livez, /readyz, /metrics)", app.admin_address());
    if config.all_routes().next().is_some() && is_open(config) && !app.addresses().iter().all(is_local) {
        log::warn!("every route is public, and other machines can reach the gateway");
    }
}

/// Whether everybody may call every route.
fn is_open(config: &Config) -> bool {
    let is_public = |rule: Option<&AuthRule>| rule.map_or(config.auth.is_empty(), |rule| *rule == AuthRule::Public);
    let is_for_all = |at| config.callers_of(at).into_iter().all(|(_, rule)| is_public(rule));
    // The same for all routes of the top level that say nothing; every host is looked at for it.
    let mut unsaid = None;
    config.all_routes().all(|at| match (&at.route.auth, at.host) {
        // Nobody can call it.
        (Some(_), None) if !config.serves_top_level() => true,
        (Some(rule), _) => is_public(Some(rule)),
        (None, Some(_)) => is_for_all(at),
        (None, None) => *unsaid.get_or_insert_with(|| is_for_all(at)),
    })
}

fn is_local(address: &SocketAddr) -> bool {
    address.ip().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::is_open;
    use crate::config::interpolate::Environment;
    use crate::config::load_text;

    #[test]
    fn a_gateway_is_open_where_every_route_is() {
        let (auth, routes) = (
            "auth: { p: { type: api_key, keys: keys.yaml } }\n",
            "upstreams: { t: { url: 'https://api.example.com' } }\nroutes: { /a: { pipe: a, auth: public }, /b: { pipe: b } }\n",
        );
        let unserved = "upstreams: { t: { url: 'https://api.example.com' } }\nroutes: { /a: { pipe: a, auth: p } }\n\
            hosts: { a.test: { routes: { /b: { pipe: b, auth: public } } } }\n";
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("keys.yaml"), "").unwrap();
        for (text, open) in [
            (routes.to_owned(), true),
            (format!("{routes}default_auth: public\n"), true),
            (format!("{auth}{routes}default_auth: p\n"), false),
            (format!("{auth}{routes}default_auth: public\nhosts: {{ a.test: {{}}, b.test: {{ auth: p }} }}\n"), false),
            (format!("{auth}{unserved}"), true),
        ] {
            let loaded = load_text("a.yaml", &text, folder.path().to_owned(), &Environment::of([]));
            let config = loaded.unwrap_or_else(|issues| panic!("{issues}")).config;
            assert_eq!(is_open(&config), open, "{text}");
        }
    }
}
