//! Why a credential is not accepted: for operators in words, for callers in a code.
//!
//! In: what a provider found. Out: sentences that name no credential, and a
//! [`Refusal`] that does not help who guesses. Not here: finding it.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderName, StatusCode};

use crate::config::scalar::Algorithm;
use crate::exchange::refusal::{Means, Refusal};
use crate::jose::compact::Malformed;
use crate::state::jwks::Keys;
use crate::x509::Fault;

/// Why it is not known who calls.
#[derive(Clone, Debug)]
pub enum Rejection {
    /// Two credentials, or one that can be read in two ways; the sentence says which.
    Ambiguous(&'static str),
    /// A provider looked at it and refused it.
    Judged(Finding, StatusCode),
    /// It is no token, and nothing else that a provider of the route gives out.
    Malformed(Malformed),
    /// There is none; it should stand in this header, or be a certificate.
    Missing(Option<HeaderName>),
    /// Too many wrong ones came from the same address: this one was not looked at, and may be after this time.
    MustWait(Duration),
    /// Its key is not known yet, and may be among newer ones.
    NewerKeys {
        /// The keys that may be out of date.
        keys: Arc<Keys>,
        /// The key's id in the token.
        kid: String,
        /// What the provider answers if the key is not among them.
        status: StatusCode,
    },
    /// `Authorization` holds something that is not behind `Bearer`.
    NotBearer,
    /// No provider of the route gives such credentials out.
    Unrecognised,
}

/// What a provider found wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// The algorithm of the header is not one that the keys or the provider allow.
    Algorithm(Option<String>),
    /// Its `aud` is for somebody else.
    Audience,
    /// It is a certificate that is not believed.
    Certificate(Box<UnbelievedCertificate>),
    /// A claim is missing or is not what it must be.
    Claim(&'static str),
    /// Its time is over.
    Expired(SystemTime),
    /// The key with this id exists, and its time is over.
    KeyExpired(Box<str>),
    /// The key with this id exists, and is switched off.
    KeyRevoked(Box<str>),
    /// It has the prefix of a key and not the form of one: some of it is missing.
    KeyCut,
    /// There is no such key in the file, or its secret is another one.
    KeyUnknown,
    /// The public keys cannot be fetched, or not for too long.
    KeysUnavailable,
    /// None of the keys has the id of its header.
    NoSuchKey,
    /// Its time has not come.
    NotYet(SystemTime),
    /// It is on the list of those that are not accepted any more.
    Revoked,
    /// It was not signed with any of the keys.
    Signature(Algorithm),
    /// It is a token for something else, by its `typ`.
    Type(String),
}

/// A certificate that opens nothing here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnbelievedCertificate {
    /// Of whom it speaks.
    pub subject: Box<str>,
    /// Who should have signed it, by name.
    pub authorities: String,
    /// What is wrong with it.
    pub why: WrongCertificate,
}

/// What is wrong with a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WrongCertificate {
    /// Nothing in it names any of the authorities: it was not looked at.
    Foreign,
    /// A provider looked at it.
    Judged(Fault),
    /// Several providers believe it, and whose caller it is cannot be told.
    OfSeveral,
    /// It, or one above it, is on the list of those that are not accepted any more.
    Revoked,
}

impl Rejection {
    /// What the caller is told.
    pub fn refusal(&self) -> Refusal {
        match self {
            Rejection::Ambiguous(sentence) => Refusal::BadRequest(sentence),
            Rejection::Missing(header) => Refusal::CredentialMissing { header: header.clone() },
            Rejection::MustWait(wait) => Refusal::rate_limited(*wait),
            Rejection::Malformed(_) | Rejection::NotBearer | Rejection::Unrecognised => {
                Refusal::CredentialInvalid { status: StatusCode::UNAUTHORIZED, means: Means::Text }
            }
            Rejection::Judged(Finding::KeysUnavailable, _) => Refusal::KeysUnavailable,
            Rejection::Judged(Finding::Expired(_), status) => {
                Refusal::CredentialExpired { status: *status, means: Means::Text }
            }
            Rejection::Judged(Finding::Certificate(wrong), status) => match wrong.why {
                WrongCertificate::Judged(Fault::Expired(_)) => {
                    Refusal::CredentialExpired { status: *status, means: Means::Certificate }
                }
                WrongCertificate::Foreign
                | WrongCertificate::Judged(Fault::NotYet(_) | Fault::Purpose | Fault::Unsupported | Fault::Untrusted)
                | WrongCertificate::OfSeveral
                | WrongCertificate::Revoked => {
                    Refusal::CredentialInvalid { status: *status, means: Means::Certificate }
                }
            },
            Rejection::Judged(_, status) | Rejection::NewerKeys { status, .. } => {
                Refusal::CredentialInvalid { status: *status, means: Means::Text }
            }
        }
    }

    /// Whether it may be a guess, or work that somebody makes: who sends many is slowed down. What is told apart at no cost
    /// is not: a page with an old token must hear so, whoever else sits behind its address.
    pub fn may_be_a_guess(&self) -> bool {
        match self {
            Rejection::Judged(finding, _) => finding.may_be_a_guess(),
            Rejection::Ambiguous(_)
            | Rejection::Malformed(_)
            | Rejection::Missing(_)
            | Rejection::MustWait(_)
            | Rejection::NewerKeys { .. }
            | Rejection::NotBearer
            | Rejection::Unrecognised => false,
        }
    }
}

impl Finding {
    fn may_be_a_guess(&self) -> bool {
        match self {
            Finding::KeyCut | Finding::KeyExpired(_) | Finding::KeyRevoked(_) | Finding::KeyUnknown => true,
            Finding::Signature(algorithm) => !algorithm.is_symmetric(),
            // What names no authority, or was good in its time, is no guess.
            Finding::Certificate(wrong) => wrong.why == WrongCertificate::Judged(Fault::Untrusted),
            Finding::Algorithm(_)
            | Finding::Audience
            | Finding::Claim(_)
            | Finding::Expired(_)
            | Finding::KeysUnavailable
            | Finding::NoSuchKey
            | Finding::NotYet(_)
            | Finding::Revoked
            | Finding::Type(_) => false,
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rejection::Ambiguous(sentence) => f.write_str(sentence.trim_end_matches('.')),
            Rejection::Judged(finding, _) => finding.fmt(f),
            Rejection::Malformed(why) => write!(f, "it is not a token: {why}"),
            Rejection::Missing(Some(_)) => f.write_str("there is no credential"),
            Rejection::Missing(None) => f.write_str("there is no client certificate"),
            Rejection::MustWait(_) => f.write_str(
                "its signature was not looked at, because too many wrong credentials came from this address",
            ),
            Rejection::NewerKeys { kid, .. } => {
                write!(f, "its key `{}` is not among those fetched last", presentable(kid))
            }
            Rejection::NotBearer => f.write_str("`Authorization` does not begin with `Bearer`"),
            Rejection::Unrecognised => f.write_str(
                "no provider of this route gives out such credentials: its prefix, `iss` or `workspace_id` is none of theirs",
            ),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Finding::Algorithm(None) => f.write_str("its header names no algorithm (`alg`)"),
            Finding::Algorithm(Some(name)) => {
                write!(f, "its algorithm `{}` is not one that the provider's keys are for", presentable(name))
            }
            Finding::Audience => f.write_str("its `aud` is not the provider's `audience`"),
            Finding::Certificate(wrong) => wrong.fmt(f),
            Finding::Claim(what) => f.write_str(what),
            Finding::Expired(at) => write!(f, "it expired at {}", moment(*at)),
            Finding::KeyExpired(id) => write!(f, "the key {id} has expired (`expires` in the file of keys)"),
            Finding::KeyRevoked(id) => write!(f, "the key {id} is revoked (`enabled: false` in the file of keys)"),
            Finding::KeyCut => {
                f.write_str("it begins like a key, and its checksum is wrong: some of it is missing or changed")
            }
            Finding::KeyUnknown => f.write_str("the file of keys has no such key, or its hash there is another one"),
            Finding::KeysUnavailable => f.write_str("the provider's public keys could not be fetched"),
            Finding::NoSuchKey => f.write_str("the provider has no key with the id (`kid`) of its header"),
            Finding::NotYet(at) => write!(f, "it is not good before {} (`nbf`)", moment(*at)),
            Finding::Revoked => f.write_str("it stands in the provider's list of revoked tokens"),
            Finding::Signature(algorithm) => {
                write!(f, "its {algorithm} signature was not made with the provider's key")
            }
            Finding::Type(name) => {
                write!(f, "its `typ` is `{}`: that is not an access or identity token", presentable(name))
            }
        }
    }
}

impl fmt::Display for UnbelievedCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let UnbelievedCertificate { subject, authorities, why } = self;
        match why {
            WrongCertificate::Foreign => {
                write!(f, "the certificate of `{subject}` was not signed by any authority of this route: {authorities}")
            }
            WrongCertificate::Judged(fault) => {
                write!(f, "the certificate of `{subject}` {fault}; its authority here is {authorities}")
            }
            WrongCertificate::OfSeveral => {
                write!(
                    f,
                    "the certificate of `{subject}` is believed by several providers of this route: {authorities}"
                )
            }
            WrongCertificate::Revoked => {
                write!(f, "the certificate of `{subject}` stands in the provider's list of revoked ones")
            }
        }
    }
}

fn moment(at: SystemTime) -> String {
    httpdate::fmt_http_date(at)
}

/// A word of the token in a form that is safe to repeat.
fn presentable(text: &str) -> String {
    text.chars().take(64).map(|c| if c.is_ascii_graphic() && c != '`' { c } else { '?' }).collect()
}
