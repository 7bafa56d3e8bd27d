//! How far a ledger was sent, and who sends it.
//!
//! In: lines. Out: the mark behind which lines wait, as a note of a database has
//! it. Not here: databases (`spool`, `postgres`).

use super::row::Row;
use super::sql::signed;

/// Whether minutes are to be sent elsewhere before they become hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sending {
    Unwanted,
    Wanted,
}

/// Who sends lines now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Another gateway that writes into the same ledger.
    Another,
    /// Who asks.
    Ours,
}

/// Which minutes may be closed, in seconds since 1970.
#[derive(Clone, Copy, Debug)]
pub(super) struct Closing {
    /// Those that are over, by the gateway's clock.
    pub(super) over: u64,
    /// Those of which it has written everything.
    pub(super) written: u64,
}

/// What becomes of the first minute that may still change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It is an earlier one: the clock was far ahead.
    Back,
    /// It is this one.
    To(i64),
    /// It stays.
    None,
}

/// What becomes of it where it is `known`; minutes before `over` are over by the clock that counts, and those before `until`
/// may be closed.
pub(super) fn step(known: i64, over: i64, until: i64) -> Step {
    match () {
        () if until > known => Step::To(until),
        () if known - over > LONGEST_LEAP => Step::Back,
        () => Step::None,
    }
}

/// Lines behind this one wait: the beginning of its minute, tenant, provider, caller, route, class.
pub(super) type Mark = (i64, String, String, String, String, i64);

/// A clock that is set back by more than this was wrong before, in seconds.
const LONGEST_LEAP: i64 = 86_400;

/// Before every line of minutes that begin at `start` or later.
pub(super) fn before(start: i64) -> Mark {
    (start, String::new(), String::new(), String::new(), String::new(), -1)
}

/// At this line.
pub(super) fn at(line: &Row) -> Mark {
    let Row { start, span: _, tenant, provider, caller, route, class, used: _ } = line.clone();
    (signed(start), tenant, provider, caller, route, i64::from(class))
}

/// A mark as it is written; before every line where there is none.
pub(super) fn read(text: Option<&str>) -> Mark {
    text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_else(|| before(0))
}

/// A mark to be written.
pub(super) fn text(mark: &Mark) -> String {
    // Texts and numbers can always be written.
    serde_json::to_string(mark).unwrap_or_default()
}

/// What a clock that was far ahead makes of a mark: minutes that come again are not passed over. Lines that are sent again
/// thereby have the ids that they had, and no smaller sums.
pub(super) fn set_back(mark: Mark, until: i64) -> Mark {
    mark.min(before(until))
}
