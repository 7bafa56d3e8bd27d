//! Answers to the questions that authorities ask over HTTP.
//!
//! In: tokens of orders that are under way. Out: what is to be answered at
//! [`PATH`] and the token, on port 80, without a lock. Not here: the listener
//! that answers (`proxy`).

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

/// Below this path authorities ask; the token follows.
pub const PATH: &str = "/.well-known/acme-challenge/";

/// What to answer, by token.
#[derive(Debug, Default)]
pub struct Challenges {
    answers: ArcSwap<HashMap<Box<str>, Arc<str>>>,
}

/// An answer that is given until this is dropped.
#[derive(Debug)]
pub struct Posted {
    challenges: Arc<Challenges>,
    token: Box<str>,
}

impl Challenges {
    /// The whole body of the answer, if the token is one of ours. Nobody else's tokens are ever looked at more closely.
    pub fn get(&self, token: &str) -> Option<Arc<str>> {
        self.answers.load().get(token).cloned()
    }

    /// Answers this token from now on.
    pub fn post(self: &Arc<Self>, token: &str, answer: &str) -> Posted {
        let answer: Arc<str> = answer.into();
        self.answers.rcu(|answers| {
            let mut answers = HashMap::clone(answers);
            answers.insert(token.into(), Arc::clone(&answer));
            answers
        });
        Posted { challenges: Arc::clone(self), token: token.into() }
    }
}

impl Drop for Posted {
    fn drop(&mut self) {
        self.challenges.answers.rcu(|answers| {
            let mut answers = HashMap::clone(answers);
            answers.remove(&self.token);
            answers
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_given_as_long_as_somebody_holds_it() {
        let challenges = Arc::new(Challenges::default());
        let first = challenges.post("a", "a.x");
        let second = challenges.post("b", "b.x");
        assert_eq!(challenges.get("a").as_deref(), Some("a.x"));
        drop(first);
        assert_eq!(challenges.get("a"), None);
        assert_eq!(challenges.get("b").as_deref(), Some("b.x"));
        drop(second);
        assert_eq!(challenges.get("b"), None);
    }
}
