//! `tollgate run -c FILE`.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::app::{App, Origin, apart};
use crate::clock::Clock;
use crate::config::interpolate::Environment;
use crate::config::{Config, ConfigFile};
use crate::proxy::server::{Signals, survive_hangups};
use crate::telemetry::program_log;

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
    survive_hangups()?;
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
    program_log::start(&config.log);
    // What came from a pipe is gone.
    let origin = (!touched.is_nothing()).then_some(Origin { file, touched });
    let app = App::start_from(origin, &config, Clock::system(), Signals::Heed)?;
    log::info!("tollgate {} serves {}", env!("CARGO_PKG_VERSION"), arguments.config.display());
    announce(&config, &app);
    drop(config);
    app.wait();
    log::info!("stopped");
    Ok(Ending::Success)
}

/// What an operator wants to know when it starts.
pub(super) fn announce(config: &Config, app: &App) {
    let addresses: Vec<String> = app.addresses().iter().map(|address| format!("http://{address}")).collect();
    log::info!("listening on {}", addresses.join(", "));
    log::info!("{}, {}", count(config.all_routes().count(), "route"), count(config.served_paths().len(), "path"));
    if !config.hosts.is_empty() {
        log::info!("only for {} under `hosts`", count(config.hosts.len(), "host"));
    }
    for (name, upstream) in &config.upstreams {
        log::info!("upstream {name}: {}", upstream.url);
    }
    log::info!("health and metrics on http://{} (/livez, /readyz, /metrics)", app.admin_address());
    if config.all_routes().next().is_some() && !app.addresses().iter().all(is_local) {
        log::warn!("every route is public, and other machines can reach the gateway");
    }
}

fn is_local(address: &SocketAddr) -> bool {
    address.ip().is_loopback()
}
