//! Why there is no certificate yet, and what the operator should look at.
//!
//! In: errors of `instant_acme`, problems that an authority describes. Out: one
//! sentence, and when the authority wants to be asked again. Not here: when we
//! do (`schedule`). What an authority says is quoted, short and on one line.

use std::fmt::Display;
use std::sync::Arc;
use std::time::SystemTime;

use instant_acme::{Error, Problem};

use super::name::Name;
use super::wire::NoAnswer;

/// Of an authority's own words, so many characters.
const QUOTED: usize = 240;
/// Of a sentence. What to look at stands at its end, and is not to be cut off.
const TOLD: usize = 600;
/// What all types of problems begin with (RFC 8555, section 6.7).
const TYPES: &str = "urn:ietf:params:acme:error:";

/// Kinds of trouble: a change of kind is worth another line in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The account, or what it is bound to.
    Account,
    /// A CAA record.
    Caa,
    /// Files of our own.
    Disk,
    /// What DNS says of the name.
    Dns,
    /// The program that sets records.
    Hook,
    /// Too many of something.
    Limit,
    /// Anything else that an authority says.
    Other,
    /// Who answers under the name is not this gateway.
    Proof,
    /// Nobody answers under the name.
    Reach,
    /// The authority itself does not answer.
    Silence,
    /// It took too long.
    Time,
}

/// Why an order failed.
#[derive(Clone, Debug)]
pub(super) struct Trouble {
    pub(super) kind: Kind,
    /// What is wrong and what to look at.
    pub(super) sentence: Arc<str>,
    /// When the authority wants to be asked again, if it says so.
    pub(super) retry_at: Option<SystemTime>,
}

impl Trouble {
    pub(super) fn new(kind: Kind, sentence: impl AsRef<str>) -> Self {
        Trouble { kind, sentence: line(sentence.as_ref()).into(), retry_at: None }
    }

    /// Files that cannot be written.
    pub(super) fn disk(error: &impl Display) -> Self {
        Trouble::new(Kind::Disk, format!("{error}: check that `state.dir` can be written and is not full"))
    }

    /// What came in the way of speaking to the authority about `name`.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the crate adds errors; their own words do for the rare ones")]
    pub(super) fn of(error: &Error, name: &Name) -> Self {
        match error {
            // What is said of the proof comes with its challenge.
            Error::Api(problem) if kind_of(problem) == "unauthorized" => {
                let detail = quoted(problem);
                Trouble::new(
                    Kind::Other,
                    format!("the authority does not let our account do this for {name}: {detail}"),
                )
            }
            Error::Api(problem) => Trouble::said(problem, name),
            Error::Other(inner) if inner.is::<NoAnswer>() => Trouble::new(
                Kind::Silence,
                format!("the authority does not answer properly: {inner}: check that this machine may connect to it"),
            ),
            error => Trouble::new(Kind::Other, format!("the authority answers what cannot be used: {error}")),
        }
    }

    /// What the authority says.
    pub(super) fn said(problem: &Problem, name: &Name) -> Self {
        let detail = quoted(problem);
        let base = name.base();
        let (kind, sentence) = match kind_of(problem) {
            "connection" => (
                Kind::Reach,
                format!(
                    "the authority gets no answer from {base}: {detail}: check that its A and AAAA records point to this gateway, and that port 80 can be reached from the Internet"
                ),
            ),
            "unauthorized" | "incorrectResponse" | "tls" => (
                Kind::Proof,
                format!(
                    "the authority got another answer than ours for {base}: {detail}: check that {base} points to this gateway and to nothing else, and that nothing in between answers for it"
                ),
            ),
            "dns" => (
                Kind::Dns,
                format!(
                    "the authority cannot look up {base}: {detail}: set its A, AAAA or CNAME record so that it points to this gateway"
                ),
            ),
            "caa" => (
                Kind::Caa,
                format!(
                    "a CAA record of {base} does not allow this authority: {detail}: add one that does, or use another authority"
                ),
            ),
            "rateLimited" => (
                Kind::Limit,
                format!(
                    "the authority's limit is reached: {detail}: it is asked again later; the staging directory is the one to try things with"
                ),
            ),
            "accountDoesNotExist" => (Kind::Account, format!("the authority does not know our account: {detail}")),
            "externalAccountRequired" => (
                Kind::Account,
                format!(
                    "the authority wants an account at its own site: {detail}: set `eab` with the key that it shows there"
                ),
            ),
            "invalidContact" | "unsupportedContact" => {
                (Kind::Account, format!("the authority does not take the address of mail: {detail}: correct `email`"))
            }
            "userActionRequired" => {
                (Kind::Account, format!("the authority wants the operator to do something: {detail}"))
            }
            "rejectedIdentifier" | "unsupportedIdentifier" => {
                (Kind::Other, format!("the authority does not issue certificates for {base}: {detail}"))
            }
            _ => (Kind::Other, format!("the authority refuses: {problem}")),
        };
        Trouble::new(kind, sentence)
    }

    /// The same, once it is known when to come back.
    pub(super) fn until(mut self, retry_at: Option<SystemTime>) -> Self {
        self.retry_at = retry_at;
        self
    }
}

/// `rateLimited`, `badNonce`, ..; empty if the problem has no type of ACME's.
pub(super) fn kind_of(problem: &Problem) -> &str {
    problem.r#type.as_deref().and_then(|kind| kind.strip_prefix(TYPES)).unwrap_or_default()
}

/// Whether an error is a problem of this type.
pub(super) fn is(error: &Error, kind: &str) -> bool {
    matches!(error, Error::Api(problem) if kind_of(problem) == kind)
}

/// One line of a log, whatever somebody said.
pub(super) fn line(text: &str) -> String {
    short(text, TOLD)
}

/// What an authority says of a problem.
fn quoted(problem: &Problem) -> String {
    short(problem.detail.as_deref().unwrap_or("no more is said"), QUOTED)
}

fn short(text: &str, most: usize) -> String {
    let cut = (text.chars().count() > most).then_some('…');
    let kept = if cut.is_some() { most - 1 } else { most };
    text.chars().take(kept).map(|c| if c.is_control() { ' ' } else { c }).chain(cut).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(kind: &str) -> Problem {
        Problem {
            r#type: Some(format!("{TYPES}{kind}")),
            detail: Some("so it is".to_owned()),
            status: None,
            subproblems: vec![],
        }
    }

    #[test]
    fn every_kind_of_trouble_says_what_to_look_at() {
        let name = Name::parse("*.a.example.com").unwrap();
        for (kind, expected, words) in [
            ("connection", Kind::Reach, "port 80"),
            ("unauthorized", Kind::Proof, "points to this gateway"),
            ("dns", Kind::Dns, "CNAME record"),
            ("caa", Kind::Caa, "CAA record"),
            ("rateLimited", Kind::Limit, "staging"),
            ("externalAccountRequired", Kind::Account, "`eab`"),
            ("invalidContact", Kind::Account, "`email`"),
            ("somethingNew", Kind::Other, "somethingNew"),
        ] {
            let trouble = Trouble::said(&problem(kind), &name);
            assert_eq!(trouble.kind, expected, "{kind}");
            assert!(trouble.sentence.contains(words) && trouble.sentence.contains("so it is"), "{}", trouble.sentence);
        }
        let account = Trouble::of(&Error::Api(problem("unauthorized")), &name);
        assert!(account.kind == Kind::Other && account.sentence.contains("our account"), "{}", account.sentence);
        let silent = Trouble::of(&Error::Other(Box::new(NoAnswer("https://ca: no connection".into()))), &name);
        assert_eq!(silent.kind, Kind::Silence);
    }

    #[test]
    fn what_to_look_at_is_not_cut_off_behind_what_an_authority_says() {
        let long = Problem { detail: Some("so it is ".repeat(100)), ..problem("connection") };
        let sentence = Trouble::said(&long, &Name::parse("a.example.com").unwrap()).sentence;
        assert!(sentence.ends_with("port 80 can be reached from the Internet"), "{sentence}");
        assert!(sentence.contains("so it is so it is") && sentence.contains("…: check"), "{sentence}");
        let whole = Trouble::said(&problem("connection"), &Name::parse("a.example.com").unwrap()).sentence;
        assert!(!whole.contains('…'), "{whole}");
    }

    #[test]
    fn what_an_authority_says_makes_one_short_line() {
        let said = line(&format!("a\n\u{1b}b{}", "é".repeat(1000)));
        assert!(said.starts_with("a  bé") && said.chars().count() == TOLD, "{said}");
    }
}
