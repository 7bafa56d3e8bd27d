//! Sends letters: what became known after decisions.
//!
//! In: the outbox. Out: calls of `give.lua`, each until it is answered. Not
//! here: what is in them (`outbox`).

use std::time::Duration;

use super::Inner;
use super::link::{Call, Task};
use super::outbox::{Change, Forget, Letter};
use super::question::{PREFIX, Trust};
use super::trouble::Trouble;

/// What comes within this time goes into one letter.
const GATHER: Duration = Duration::from_millis(5);
/// For the answer to a letter.
const PATIENCE: Duration = Duration::from_secs(1);
/// Until a letter that was not answered is sent again.
const AGAIN: Duration = Duration::from_millis(250);

impl Inner {
    pub(super) async fn post_on(&self) {
        loop {
            tokio::select! {
                () = self.outbox.more() => tokio::time::sleep(GATHER).await,
                () = tokio::time::sleep(AGAIN) => {}
            }
            self.post().await;
        }
    }

    /// Sends all that waits, as long as Redis takes it.
    pub(super) async fn post(&self) {
        // One after the other: a number that was seen makes those below it old.
        let _turn = self.posting.lock().await;
        while let Some(link) = self.link()
            && let Some(letter) = self.outbox.letter()
        {
            let answer = tokio::time::timeout(PATIENCE, link.call(self.call(&letter))).await;
            match answer.unwrap_or(Err(Trouble::Slow(PATIENCE))) {
                Ok(_) => {
                    letter.changes.iter().for_each(|(key, _)| self.was_told(key));
                    self.outbox.answered();
                }
                Err(trouble) => return self.failed(&trouble),
            }
        }
    }

    fn call(&self, letter: &Letter) -> Call {
        let parts = || {
            letter.changes.iter().flat_map(|(key, waiting)| {
                let forget = waiting.forget.map(Part::Forget);
                forget.into_iter().chain(waiting.change.map(Part::Change)).map(move |part| (key, part))
            })
        };
        let mut call = Task::Give.call(1 + parts().count());
        call.word(&format!("{PREFIX}:letters:{}", self.name));
        for (key, _) in parts() {
            call.word(key);
        }
        call.number(letter.number).number(0);
        for (key, part) in parts() {
            part.write(&mut call, self.trust(key));
        }
        call
    }
}

enum Part {
    Change(Change),
    Forget(Forget),
}

impl Part {
    fn write(self, call: &mut Call, trust: Trust) {
        match self {
            Part::Forget(Forget { life, stretches }) => {
                call.word("forget").number(life);
                for moment in stretches {
                    call.number(moment);
                }
            }
            Part::Change(Change::Rate { nanos }) => _ = call.word("rate").number(nanos),
            Part::Change(Change::Quota { stretch: (began, ends), added, floor }) => {
                call.word("quota").signed(added).number(began).number(ends).number(floor).word(trust.word());
            }
        }
    }
}
