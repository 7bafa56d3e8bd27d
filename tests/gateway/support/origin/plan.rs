//! Which answer a request gets.
//!
//! In: what the test ordered. Out: an [`Answer`] for a request: by path first, then by script, then by default.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use super::Answer;
use super::Received;

/// The orders of the test.
#[derive(Debug)]
pub(super) struct Plan {
    paths: Vec<PathOrder>,
    script: VecDeque<Answer>,
    fallback: Fallback,
}

#[derive(Debug)]
struct PathOrder {
    prefix: String,
    script: VecDeque<Answer>,
    always: Option<Answer>,
}

#[derive(Clone)]
enum Fallback {
    Answer(Box<Answer>),
    Respond(Arc<dyn Fn(&Received) -> Answer + Send + Sync>),
}

/// An answer, or the function that has to be asked for it once the body is there.
pub(super) enum Choice {
    Answer(Box<Answer>),
    Ask(Arc<dyn Fn(&Received) -> Answer + Send + Sync>),
}

impl Plan {
    pub(super) fn always(&mut self, answer: Answer) {
        self.fallback = Fallback::Answer(Box::new(answer));
    }

    pub(super) fn respond_with(&mut self, respond: impl Fn(&Received) -> Answer + Send + Sync + 'static) {
        self.fallback = Fallback::Respond(Arc::new(respond));
    }

    pub(super) fn script(&mut self, answers: impl IntoIterator<Item = Answer>) {
        self.script.extend(answers);
    }

    pub(super) fn on_path(&mut self, prefix: &str, answer: Answer) {
        self.path(prefix).always = Some(answer);
    }

    pub(super) fn script_on_path(&mut self, prefix: &str, answers: impl IntoIterator<Item = Answer>) {
        self.path(prefix).script.extend(answers);
    }

    /// Decides for a request of which only the head is there yet; uses a script's next answer up.
    pub(super) fn choose(&mut self, path: &str) -> Choice {
        let claimed = self.paths.iter_mut().filter(|order| path.starts_with(&order.prefix));
        let order = claimed.filter(|order| order.has_answer()).max_by_key(|order| order.prefix.len());
        if let Some(answer) = order.and_then(PathOrder::next).or_else(|| self.script.pop_front()) {
            return Choice::Answer(Box::new(answer));
        }
        match &self.fallback {
            Fallback::Answer(answer) => Choice::Answer(answer.clone()),
            Fallback::Respond(respond) => Choice::Ask(Arc::clone(respond)),
        }
    }

    fn path(&mut self, prefix: &str) -> &mut PathOrder {
        let known = self.paths.iter().position(|order| order.prefix == prefix);
        let at = known.unwrap_or_else(|| {
            self.paths.push(PathOrder { prefix: prefix.to_owned(), script: VecDeque::new(), always: None });
            self.paths.len() - 1
        });
        &mut self.paths[at]
    }
}

impl Default for Plan {
    fn default() -> Self {
        Self { paths: Vec::new(), script: VecDeque::new(), fallback: Fallback::Answer(Box::new(Answer::ok())) }
    }
}

impl PathOrder {
    fn has_answer(&self) -> bool {
        self.always.is_some() || !self.script.is_empty()
    }

    fn next(&mut self) -> Option<Answer> {
        self.script.pop_front().or_else(|| self.always.clone())
    }
}

impl fmt::Debug for Fallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer(answer) => f.debug_tuple("Answer").field(answer).finish(),
            Self::Respond(_) => f.write_str("Respond"),
        }
    }
}
