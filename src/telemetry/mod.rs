//! What the gateway tells its operator: metrics, access log, traces.
//!
//! In: outcomes. Out: Prometheus families, log lines, trace identifiers, spans. Not
//! here: the program's own log (`log` macros at the edge). Nothing here blocks
//! a request: what cannot be written or sent is dropped and counted.

pub mod access_line;
pub mod access_log;
mod exemplars;
pub mod meters;
pub mod metrics;
pub mod names;
pub mod open_metrics;
pub mod program_log;
mod repeats;
pub mod trace;
pub mod traces;
mod tracestate;
pub mod usage;
