//! Tells how much is asked of the gateway, and looks what memory it has.
//!
//! In: the connections that are there, the memory of the process. Out: metrics,
//! and a line of the log when something begins or ends. Not here: what is too
//! much (`state::load`).

use std::sync::Arc;

use crate::state::load::{Full, Load, Memory};
use crate::telemetry::metrics::Metrics;

/// Where Linux tells what memory a process has.
const STATUS: &str = "/proc/self/status";

/// What was told so far.
#[derive(Debug)]
pub(super) struct LoadReport {
    metrics: Metrics,
    load: Arc<Load>,
    /// Connections that had been turned away, by reason, and whether that is news.
    refused: [(u64, News); 3],
}

/// Whether connections were turned away at the last look, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum News {
    Told,
    Untold,
}

impl LoadReport {
    pub(super) fn new(metrics: Metrics, load: &Arc<Load>) -> Self {
        LoadReport { metrics, load: Arc::clone(load), refused: [(0, News::Untold); 3] }
    }

    /// Looks again.
    pub(super) fn tell(&mut self) {
        self.metrics.set_connections(self.load.connections());
        for (why, (before, news)) in Full::EACH.into_iter().zip(&mut self.refused) {
            let refused = self.load.refused(why);
            self.metrics.set_connections_refused(why.as_str(), refused);
            if why == Full::Memory {
                // Said below, once for connections and requests.
                continue;
            }
            match (refused > *before, *news) {
                (true, News::Untold) => {
                    log::warn!("connections are turned away: {}", advice(why, &self.load));
                    *news = News::Told;
                }
                (false, News::Told) => {
                    log::info!("no connections are turned away any more by server.overload.{}", why.as_str());
                    *news = News::Untold;
                }
                (true, News::Told) | (false, News::Untold) => {}
            }
            *before = refused;
        }
        let mark = self.load.marks().memory;
        // What cannot be read is no reason to refuse anybody, nor what nobody asks for.
        let bytes = mark.and_then(|_| memory()).unwrap_or(0);
        let (now, mark) = (bytes >> 20, mark.unwrap_or_default() >> 20);
        match self.load.note_memory(bytes) {
            Memory::AsBefore => {}
            Memory::GotShort => log::error!(
                "the process has {now} MiB of memory, more than the {mark} MiB of server.overload.memory: requests are refused \
                 with 429, and new connections with 503, until it has less"
            ),
            Memory::Recovered => log::info!("the process has {now} MiB of memory again: requests are taken"),
        }
    }
}

fn advice(why: Full, load: &Load) -> String {
    let marks = load.marks();
    match why {
        Full::All => format!(
            "{} are there, as many as server.overload.connections allows. Allow more open files (ulimit -n), or raise that mark",
            marks.connections
        ),
        Full::Address => format!(
            "one address has {}, as many as server.overload.connections_per_address allows. If that is a proxy of yours, add it \
             to server.trusted_proxies",
            marks.connections_per_address
        ),
        Full::Memory => "the process has as much memory as server.overload.memory allows".to_owned(),
    }
}

/// The memory of the process in bytes, as far as the system tells.
fn memory() -> Option<u64> {
    let status = std::fs::read_to_string(STATUS).ok()?;
    // What is in files can be given back at any time.
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_tells_what_memory_there_is() {
        assert!(memory().expect("on Linux") > 1 << 20);
    }
}
