//! Why a request was not let through to an upstream: for the operator's log, and for how long it should stay away.

use std::fmt;
use std::time::Duration;

/// A request that gets no place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TurnedAway {
    /// For the log.
    pub why: Why,
    /// Until it makes sense to come again.
    pub retry_after: Duration,
}

/// What was in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The shared counters cannot be asked, and nobody is to be let in then.
    CountersUnknown,
    /// It waited, and had to make room for a tenant with less.
    MadeRoom,
    /// Its tenant has its share of the queue already.
    OverShare {
        /// How many that is.
        share: usize,
    },
    /// The queue has no room, and nobody in it has more than a share.
    QueueFull {
        /// Its length.
        room: usize,
    },
    /// The upstream asked for a pause that is longer than a request may wait.
    TapClosed {
        /// How long it lasts still.
        left: Duration,
    },
    /// Its turn by `rate` would come later than it may wait.
    TooFast,
    /// No place came free in time.
    WaitedTooLong {
        /// How long it waited.
        waited: Duration,
    },
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::CountersUnknown => f.write_str("not sent: the shared counters of `rate` cannot be asked"),
            Why::MadeRoom => f.write_str("not sent: made room in the full queue for a tenant below its share"),
            Why::OverShare { share } => {
                write!(f, "not sent: the tenant has its share of the queue already, which is {share}")
            }
            Why::QueueFull { room } => write!(f, "not sent: the queue is full, {room} wait"),
            Why::TapClosed { left } => {
                write!(
                    f,
                    "not sent: the tap is closed for {:.1} s more, as the upstream asked by 429",
                    left.as_secs_f64()
                )
            }
            Why::TooFast => f.write_str("not sent: its turn by `rate` would come later than it may wait"),
            Why::WaitedTooLong { waited } => {
                write!(f, "not sent: waited too long in the queue, {:.1} s", waited.as_secs_f64())
            }
        }
    }
}
