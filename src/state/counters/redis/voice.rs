//! What the operator is told of shared counters: each change once.
//!
//! In: troubles, and that Redis is back. Out: lines of the log. Not here: when
//! that is so (`breaker`).

use std::mem::{Discriminant, discriminant};
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};

use crate::config::section::state::OnCounterFailure;

use super::Inner;
use super::trouble::Trouble;

/// What was said since Redis last answered.
#[derive(Debug, Default)]
pub(super) struct Voice(Mutex<Said>);

#[derive(Debug, Default)]
struct Said {
    troubles: Vec<Discriminant<Trouble>>,
    ever_up: bool,
}

impl Voice {
    /// Redis does not decide; each kind of reason is said once.
    pub(super) fn complain(&self, about: &Inner, trouble: &Trouble) {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if said.troubles.contains(&discriminant(trouble)) {
            return;
        }
        said.troubles.push(discriminant(trouble));
        let gateways = about.gateways.load(Ordering::Relaxed);
        let meanwhile = match (about.on_failure, gateways) {
            (OnCounterFailure::Allow, _) => "limits let everybody in".to_owned(),
            (OnCounterFailure::Local, ..=1) => "this gateway counts for itself, as it knows of no other".to_owned(),
            (OnCounterFailure::Local, _) => {
                format!("this gateway counts for itself, and gives 1/{gateways} of every limit")
            }
            (OnCounterFailure::Refuse, _) => "requests that have limits are refused".to_owned(),
        };
        log::warn!("Redis at {} {trouble}. Until it decides again, {meanwhile}", about.address);
    }

    /// Redis decides.
    pub(super) fn rejoice(&self, about: &Inner) {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let again = if said.ever_up { " again" } else { "" };
        *said = Said { troubles: Vec::new(), ever_up: true };
        log::info!("limits are counted{again} by Redis at {}", about.address);
    }
}
