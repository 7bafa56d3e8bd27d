//! `tollgate schema`.

use crate::config::schema;

use super::{Ending, print};

#[derive(Debug, clap::Args)]
#[command(before_help = "\
Examples:
  tollgate schema > tollgate.schema.json")]
pub(super) struct Arguments {}

pub(super) fn run(_: &Arguments) -> anyhow::Result<Ending> {
    print(schema::text().trim_end());
    Ok(Ending::Success)
}
