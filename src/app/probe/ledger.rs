//! Tries to reach the Postgres that has the ledger, as a gateway would.
//!
//! In: a configuration. Out: a finding. Nothing is made or changed there. Not
//! here: the file that a ledger is otherwise, which is made when it is needed.

use crate::config::Config;
use crate::config::issue::IssueCode;
use crate::state::usage::Place;

use super::{Grade, Problem, Trial, Trials};

pub(super) async fn probe(config: &Config) -> Trials {
    let mut found = Trials::default();
    let place = Place::of(&config.state);
    if !config.usage.ledger {
        return found;
    }
    let subject = format!("ledger {place}");
    // It has a runtime of its own.
    let tried = tokio::task::spawn_blocking(move || place.try_out()).await;
    let tried = tried.unwrap_or_else(|_| Some(Err("the trial itself broke off".to_owned())));
    match tried {
        None => {}
        Some(Ok(words)) => found.note(&subject, Trial::Write, Grade::Ok, words),
        Some(Err(why)) => {
            let title = format!("the ledger cannot be written: {why}");
            let help = "until it can, usage waits in `state.dir`; requests are answered all the same";
            let problem = Problem::new(IssueCode::LedgerUnusable, &["state", "store"], title, help);
            found.problem(&subject, Trial::Write, problem);
        }
    }
    found
}
