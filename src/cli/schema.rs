//! `tollgate schema`.

use crate::config::schema;

use super::{Ending, print};

const EXAMPLES: &str = "\
Examples:
  tollgate schema > tollgate.schema.json";

#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES)]
pub(super) struct Arguments {}

pub(super) fn run(_: &Arguments) -> anyhow::Result<Ending> {
    print(schema::text().trim_end());
    Ok(Ending::Success)
}
