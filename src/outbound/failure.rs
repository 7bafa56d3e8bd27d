//! Why a call brought no answer: at which stage, and in words.
//!
//! In: what the system, TLS or HTTP say. Out: a sentence for an operator, with
//! nothing of the query or a credential in it. Not here: what to do about it,
//! which depends on what the call was for.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::{Duration, SystemTime};

use tokio_rustls::rustls::{self, CertificateError};

use super::Facts;

/// The stages of a call, in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Finding the addresses of the host.
    #[default]
    Lookup,
    /// Opening a connection.
    Connect,
    /// Asking a proxy for a way to the host.
    Proxy,
    /// Shaking hands and verifying the certificate.
    Tls,
    /// Sending the request and reading the answer.
    Answer,
}

/// No whole answer came.
#[derive(Clone, Debug)]
pub struct Failure {
    /// How far it came.
    pub stage: Stage,
    /// Why, in words that stand behind a colon.
    pub why: String,
    /// What is wrong with the certificate, if that is it.
    pub certificate: Option<CertificateFault>,
    /// Whether time ran out.
    pub timed_out: bool,
    /// What was learned before it failed.
    pub facts: Facts,
}

/// What is wrong with a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateFault {
    /// Its time is over, or has not come.
    Expired,
    /// It is for another host.
    OtherName,
    /// Who signed it is not trusted.
    Untrusted,
}

/// A failure before it is known how far the call came.
#[derive(Debug)]
pub(super) struct Trouble {
    why: String,
    certificate: Option<CertificateFault>,
    timed_out: bool,
}

impl Trouble {
    pub(super) fn new(why: impl Into<String>) -> Self {
        Trouble { why: why.into(), certificate: None, timed_out: false }
    }

    pub(super) fn timed_out(time: Duration) -> Self {
        Trouble { why: format!("nothing came within {time:?}"), certificate: None, timed_out: true }
    }

    /// What the system says, without the number behind it.
    pub(super) fn system(error: &io::Error) -> Self {
        let text = error.to_string();
        Trouble::new(match text.split_once(" (os error") {
            Some((words, _)) => words.to_lowercase(),
            None => text,
        })
    }

    /// What TLS says; the errors of rustls travel inside those of the system.
    pub(super) fn tls(error: &io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::InvalidCertificate(fault)) => Trouble::certificate(fault),
            Some(error) => Trouble::new(error.to_string()),
            None if error.kind() == io::ErrorKind::UnexpectedEof => {
                Trouble::new("the connection was closed during the handshake")
            }
            None => Trouble::system(error),
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "rustls adds variants; its own words do for the rare ones")]
    fn certificate(fault: &CertificateError) -> Self {
        let (why, certificate) = match fault {
            CertificateError::Expired => ("its certificate has expired".to_owned(), Some(CertificateFault::Expired)),
            CertificateError::ExpiredContext { not_after, .. } => {
                let date = date(SystemTime::UNIX_EPOCH + Duration::from_secs(not_after.as_secs()));
                (format!("its certificate expired on {date}"), Some(CertificateFault::Expired))
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => (
                "its certificate is not valid yet, or the clock of this machine is wrong".to_owned(),
                Some(CertificateFault::Expired),
            ),
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                ("its certificate is for another host name".to_owned(), Some(CertificateFault::OtherName))
            }
            // Of another authority with the same name.
            CertificateError::BadSignature | CertificateError::UnknownIssuer => (
                "its certificate is not signed by an authority that is trusted here".to_owned(),
                Some(CertificateFault::Untrusted),
            ),
            other => (format!("its certificate cannot be verified: {other}"), None),
        };
        Trouble { why, certificate, timed_out: false }
    }

    /// What HTTP says, with its causes, which have the telling part.
    pub(super) fn http(error: &(dyn Error + 'static)) -> Self {
        let mut words = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            // Some repeat what is below them.
            let below = error.to_string();
            if !words.contains(&below) {
                words = format!("{words}: {below}");
            }
            cause = error.source();
        }
        Trouble::new(words)
    }
}

impl Failure {
    pub(super) fn new(stage: Stage, trouble: Trouble, facts: Facts) -> Self {
        let Trouble { why, certificate, timed_out } = trouble;
        Failure { stage, why, certificate, timed_out, facts }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match self.stage {
            Stage::Lookup => "the host name cannot be resolved",
            Stage::Connect => "no connection",
            Stage::Proxy => "the proxy does not let it through",
            Stage::Tls => "no TLS",
            Stage::Answer => "no answer",
        };
        write!(f, "{stage}: {}", self.why)
    }
}

impl Error for Failure {}

/// `2027-01-31`.
fn date(time: SystemTime) -> String {
    chrono::DateTime::<chrono::Utc>::from(time).format("%Y-%m-%d").to_string()
}
