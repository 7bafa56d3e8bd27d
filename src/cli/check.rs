//! `tollgate check FILE`.

use std::path::PathBuf;

use super::{Ending, check_online, count, load_or_explain, print, say, show};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The configuration to check
    file: PathBuf,
    /// Also try what the file names: upstreams, their certificates and tokens, addresses, the access log
    #[arg(long)]
    online: bool,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Ending> {
    let mut loaded = match load_or_explain(&arguments.file) {
        Ok(loaded) => loaded,
        Err(ending) => return Ok(ending),
    };
    if arguments.online {
        let probed = match check_online::run(&loaded) {
            Ok(probed) => probed,
            Err(error) => {
                say(&format!("{}: nothing could be tried: {error}", arguments.file.display()));
                return Ok(Ending::Impossible);
            }
        };
        print(&check_online::table(&probed.findings));
        show(&probed.issues);
        if probed.issues.has_errors() {
            say(&format!("{}: {}", arguments.file.display(), probed.issues.count()));
            return Ok(Ending::Problems);
        }
        loaded.warnings.append(probed.issues);
    }
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
