//! `tollgate check FILE`.

use std::path::PathBuf;

use super::{Ending, count, load_or_explain, print};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The configuration to check
    file: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Ending> {
    let loaded = match load_or_explain(&arguments.file) {
        Ok(loaded) => loaded,
        Err(ending) => return Ok(ending),
    };
    let config = &loaded.config;
    let warnings = match loaded.warnings.warnings() {
        0 => String::new(),
        _ => format!(", {}", loaded.warnings.count()),
    };
    print(&format!(
        "{}: fine: {} ({}), {}{warnings}",
        arguments.file.display(),
        count(config.routes.len(), "route"),
        count(config.served_paths().len(), "path"),
        count(config.upstreams.len(), "upstream"),
    ));
    Ok(Ending::Success)
}
