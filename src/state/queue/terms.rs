//! What an operator allows an upstream to be sent.
//!
//! In: an `upstreams` section. Out: [`Terms`], in numbers. Not here: keeping them (`kept`).

use std::time::Duration;

use crate::config::section::upstreams::{Concurrency, Upstream, UpstreamAuth};
use crate::state::counters::Pace;

/// How much an upstream gets at once, how often, and who may wait for that.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Requests on their way at once.
    pub(super) max: u32,
    /// Requests that may wait.
    pub(super) room: usize,
    /// For how long.
    pub(super) wait: Duration,
    /// How often a request may go.
    pub(super) pace: Option<Pace>,
    /// Whether the upstream can close the tap; where callers bring their own credentials its 429 may be one caller's.
    pub(super) tap: Tap,
    /// The rest of the section; none where everything is allowed.
    upstream: Option<Box<Upstream>>,
}

/// Whose requests an upstream means that answers 429.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tap {
    /// One caller's.
    Callers,
    /// Everybody's: all come with the gateway's credential.
    Everybodys,
}

impl Terms {
    /// The terms of an upstream; none where nothing is limited, and what it says about one caller means nothing for others.
    pub fn compile(section: &Upstream) -> Option<Self> {
        let Upstream { concurrency, rate, auth, .. } = section;
        if concurrency.is_none() && rate.is_none() && *auth == UpstreamAuth::Passthrough {
            return None;
        }
        let Concurrency { max, queue, wait } = concurrency.clone().unwrap_or(Concurrency::unlimited());
        Some(Terms {
            max: max.max(1),
            room: usize::try_from(queue).unwrap_or(usize::MAX),
            wait: wait.duration(),
            pace: rate.map(|rate| Pace::of(rate, None)),
            tap: match auth {
                UpstreamAuth::Mint | UpstreamAuth::Token => Tap::Everybodys,
                UpstreamAuth::Passthrough => Tap::Callers,
            },
            upstream: Some(Box::new(Upstream { concurrency: None, rate: None, ..section.clone() })),
        })
    }

    /// Whether anything but the upstream's own word holds requests back.
    pub fn is_limited(&self) -> bool {
        self.max != u32::MAX || self.pace.is_some()
    }

    /// Everything is allowed.
    pub(super) fn open() -> Self {
        Terms { max: u32::MAX, room: 0, wait: Duration::ZERO, pace: None, tap: Tap::Callers, upstream: None }
    }

    /// Whether they are for an upstream with the same address, credential and so on, so that what it said still holds.
    pub(super) fn is_same_upstream(&self, other: &Terms) -> bool {
        self.upstream == other.upstream
    }
}
