//! Answers that come after the request has gone on without them.
//!
//! In: the rest of a call. Out: what it took is given back, where it counts
//! twice. Not here: calls that Redis reads too late, which do nothing
//! (`decide.lua`).

use std::sync::Arc;
use std::time::Duration;

use crate::state::counters::{Answer, Rule};

use super::outbox::Change;
use super::question::{Question, Taking, Verdict};
use super::{Inner, Rest};

/// How long an answer is waited for.
const LATE: Duration = Duration::from_secs(2);

impl Inner {
    /// Waits beside the request for an answer that is late, and gives back what is counted twice then.
    pub(super) fn give_back_late(self: &Arc<Self>, rest: Rest, questions: &[Question<'_, '_>], answer: &Answer) {
        let Ok(permit) = Arc::clone(&self.late).try_acquire_owned() else { return };
        // A rate that let the request in here took nothing that Redis is told of; a quota does.
        let (inner, rates_too) = (Arc::clone(self), answer.spent.is_err());
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
                    (Taking::Taken, Rule::Rate(pace)) if rates_too => {
                        inner.outbox.put(key, Change::Rate { nanos: pace.interval.min(shown.value) });
                    }
                    (Taking::Left | Taking::Taken, Rule::Rate(_)) | (Taking::Left, Rule::Quota(_)) => {}
                }
            }
        });
    }
}
