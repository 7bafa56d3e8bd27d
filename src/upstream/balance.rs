//! Which backend gets a try.
//!
//! In: the backends of an upstream, which of them this request has tried, the
//! time. Out: one of them, and why it. Two that are well are compared, and the
//! one with fewer requests under way is taken; otherwise they come in turn.
//! Not here: how a backend is doing (`condition`), its addresses (`backend`).

use std::time::{Duration, Instant};

use crate::config::section::upstreams::AllOut;

use super::Watch;
use super::backend::Backend;
use super::condition::{Role, Standing};

/// The backends that a request has tried, of the first 64; what is beyond may be tried again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tried(u64);

impl Tried {
    /// Notes one.
    pub fn add(&mut self, backend: usize) {
        self.0 |= bit(backend);
    }

    fn has(self, backend: usize) -> bool {
        self.0 & bit(backend) != 0
    }
}

fn bit(backend: usize) -> u64 {
    u32::try_from(backend).ok().and_then(|backend| 1_u64.checked_shl(backend)).unwrap_or(0)
}

/// A try that looks for a backend.
#[derive(Clone, Copy, Debug)]
pub struct Seeker {
    /// Where this request begins, see `Upstream::next_turn`.
    pub first: usize,
    /// The number of the try, from 1.
    pub number: u32,
    /// Where it has been.
    pub tried: Tried,
    /// When it goes.
    pub now: Instant,
}

/// A backend, by its index, and why it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) index: usize,
    pub(super) role: Role,
}

/// Why there is no backend to go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nowhere {
    /// All are left out, one for no longer than this.
    AllOut(Duration),
    /// No host name has an address yet.
    Unresolved,
}

pub(super) fn choose(backends: &[Backend], watch: &Watch, seeker: &Seeker) -> Result<Choice, Nowhere> {
    let fresh = |index: usize| !seeker.tried.has(index);
    let mut first = None;
    for (index, backend) in order(backends, seeker.first).filter(|(index, _)| fresh(*index)) {
        match watch.standing(backend, seeker.now) {
            Standing::In => {
                first = Some((index, backend));
                break;
            }
            // A try that follows a failure is not the one to find out more.
            Standing::Due(due) if seeker.number <= 1 => {
                let role = watch.rules.as_ref().and_then(|rules| backend.condition().ask(due, rules, seeker.now));
                if let Some(role) = role {
                    return Ok(Choice { index, role });
                }
            }
            Standing::Due(_) | Standing::Out => {}
        }
    }
    let ordinary = |index| Ok(Choice { index, role: Role::Ordinary });
    let is_in = |backend: &Backend| watch.standing(backend, seeker.now) == Standing::In;
    if let Some((index, backend)) = first {
        let other =
            order(backends, seeker.first).find(|(other, backend)| *other != index && fresh(*other) && is_in(backend));
        return ordinary(match other {
            Some((other, rival)) if rival.condition().in_flight() < backend.condition().in_flight() => other,
            Some(_) | None => index,
        });
    }
    // Whoever failed once is better than who is left out.
    if let Some((index, _)) = order(backends, seeker.first).find(|(_, backend)| is_in(backend)) {
        return ordinary(index);
    }
    desperate(backends, watch, seeker)
}

/// None is well: nothing is lost by trying one all the same, unless that is not wanted.
fn desperate(backends: &[Backend], watch: &Watch, seeker: &Seeker) -> Result<Choice, Nowhere> {
    let any = || order(backends, seeker.first).filter(|(_, backend)| backend.is_resolved()).map(|(index, _)| index);
    let fresh = any().find(|index| !seeker.tried.has(*index));
    let index = fresh.or_else(|| any().next()).ok_or(Nowhere::Unresolved)?;
    match watch.rules.as_ref().map(|rules| rules.all_out) {
        Some(AllOut::Refuse) => {
            let waits = backends.iter().filter_map(|backend| backend.condition().wait(seeker.now));
            Err(Nowhere::AllOut(waits.min().unwrap_or_default()))
        }
        Some(AllOut::Try) | None => Ok(Choice { index, role: Role::Desperate }),
    }
}

/// All of them: the one whose turn it is, then the others, beginning with another one each time. Else the neighbour of
/// one that is out would get all that the other does not.
fn order(backends: &[Backend], turn: usize) -> impl Iterator<Item = (usize, &Backend)> {
    let number = backends.len();
    let start = turn.checked_rem(number).unwrap_or_default();
    let others = number.saturating_sub(1);
    let skip = turn.checked_div(number).and_then(|round| round.checked_rem(others)).unwrap_or_default();
    let behind = (0..others).map(move |step| 1 + (skip + step) % others);
    let index = move |distance: usize| (start + distance) % number;
    let indexes = std::iter::once(0).chain(behind).map(index);
    indexes.filter_map(|index| Some((index, backends.get(index)?)))
}
