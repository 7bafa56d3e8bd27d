//! Answers that come after the request has gone on without them.
//!
//! In: the rest of a call. Out: what it took is given back: the request was
//! decided here, and Redis is told of that. Not here: calls that Redis reads too late, which do nothing
//! (`decide.lua`).

use std::sync::Arc;
use std::time::Duration;

use crate::state::counters::Rule;

use super::outbox::Change;
use super::question::{Question, Taking, Verdict};
use super::{Inner, Rest};

/// How long an answer is waited for.
const LATE: Duration = Duration::from_secs(2);

impl Inner {
    /// Waits beside the request for an answer that is late, and gives back what it took.
    pub(super) fn give_back_late(self: &Arc<Self>, rest: Rest, questions: &[Question<'_, '_>]) {
        let Ok(permit) = Arc::clone(&self.late).try_acquire_owned() else { return };
        let inner = Arc::clone(self);
        let taken: Vec<(Box<str>, Rule, u64)> = questions
            .iter()
            .map(|question| (question.key.as_str().into(), question.ask.rule, question.ask.reserve))
            .collect();
        tokio::spawn(async move {
            let _permit = permit;
            let Ok(Ok(numbers)) = tokio::time::timeout(LATE, rest).await else { return };
            let Some(Verdict::Spent(shown)) = Verdict::read(&numbers, taken.len()) else { return };
            for ((key, rule, reserve), shown) in taken.iter().zip(&shown) {
                match (shown.taken, rule) {
                    (Taking::Taken, Rule::Quota(_)) => {
                        inner.add(key, shown.stretch, shown.value, 0_i64.saturating_sub_unsigned(*reserve));
                    }
                    (Taking::Taken, Rule::Rate(pace)) => {
                        let added = 0_i64.saturating_sub_unsigned(pace.interval.min(shown.value));
                        inner.outbox.put(key, Change::Rate { added, at: inner.machine.now() });
                    }
                    (Taking::Left, Rule::Rate(_) | Rule::Quota(_)) => {}
                }
            }
        });
    }
}
