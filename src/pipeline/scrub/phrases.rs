//! Sentences of the operator's own in errors.
//!
//! In: `errors` of `white_label` and of a host, which wins. Out: the sentence for
//! a code, where there is one. Not here: the gateway's own (`exchange::refusal`).

use std::collections::BTreeMap;

use crate::config::section::white_label::{ErrorCode, Errors};
use crate::exchange::refusal::RefusalCode;

/// How a host speaks, where it differs from the gateway.
#[derive(Debug, Default)]
pub struct Phrases(BTreeMap<&'static str, Box<str>>);

impl Phrases {
    /// What is said in general, and what a host says itself.
    pub fn compile(general: &Errors, own: &Errors) -> Self {
        let each = general.iter().chain(own);
        Phrases(each.map(|(code, sentence)| (code.as_str(), sentence.as_str().into())).collect())
    }

    /// The sentence for a refusal.
    pub fn of(&self, code: RefusalCode) -> Option<&str> {
        self.0.get(code.as_str()).map(|sentence| &**sentence)
    }

    /// The sentence for an upstream's error whose text does not pass.
    pub fn upstream_error(&self) -> Option<&str> {
        self.0.get(ErrorCode::UPSTREAM).map(|sentence| &**sentence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_can_have_a_sentence() {
        let mut codes: Vec<&str> = RefusalCode::ALL.iter().map(|code| code.as_str()).collect();
        codes.push(ErrorCode::UPSTREAM);
        codes.sort_unstable();
        assert_eq!(codes, ErrorCode::ALL);
    }
}
