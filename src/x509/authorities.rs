//! Who may sign certificates of callers, and whether one was signed so.
//!
//! In: certificates of authorities, a [`Chain`], the time. Out: until when it
//! is believed, or what is wrong with it. Not here: the system's authorities,
//! which sign for everybody and are never asked; names of hosts, which callers
//! are not.

use std::fmt;
use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio_rustls::rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, Error, KeyUsage, VerifiedPath, anchor_from_trusted_cert};
use x509_parser::extensions::KeyUsage as Uses;

use super::chain::{self, Chain};

/// Authorities that a sentence names.
const NAMED: usize = 3;

/// The authorities of one provider.
#[derive(Debug)]
pub struct Authorities {
    anchors: Box<[TrustAnchor<'static>]>,
    each: Box<[Authority]>,
}

/// What is known of one, in the order of the anchors.
#[derive(Debug)]
struct Authority {
    /// Its name as certificates say it that it signed.
    subject: Box<[u8]>,
    name: Box<str>,
    valid: Range<i64>,
}

/// Why a chain is not believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Its time is over.
    Expired(SystemTime),
    /// Its time has not come.
    NotYet(SystemTime),
    /// It, or its key, is for something else than to call others, such as for a server.
    Purpose,
    /// It is older, or signed otherwise, than what can be judged.
    Unsupported,
    /// No authority signed it, or one whose own time is over; or what lies between is not there, or not right.
    Untrusted,
}

impl Authorities {
    /// These authorities, DER. What cannot be one was an issue of the file.
    pub fn compile(certificates: &[Vec<u8>]) -> Self {
        let read = |der: &Vec<u8>| {
            let certificate = chain::read(der)?;
            let known = Authority {
                subject: certificate.subject().as_raw().into(),
                name: chain::shown(&certificate.subject().to_string()),
                valid: chain::valid(&certificate),
            };
            let der = CertificateDer::from(der.as_slice());
            let anchor = anchor_from_trusted_cert(&der).ok()?.to_owned();
            Some((anchor, known))
        };
        let (anchors, each): (Vec<_>, Vec<_>) = certificates.iter().filter_map(read).unzip();
        Authorities { anchors: anchors.into(), each: each.into() }
    }

    /// Their names, the first few.
    pub fn names(&self) -> String {
        let named: Vec<String> = self.each.iter().take(NAMED).map(|known| format!("`{}`", known.name)).collect();
        match self.each.len().saturating_sub(NAMED) {
            0 => named.join(", "),
            more => format!("{} and {more} more", named.join(", ")),
        }
    }

    /// Whether one of them is named as who signed; nothing of that is believed yet, and finding out costs little.
    pub fn are_named_in(&self, chain: &Chain) -> bool {
        chain.issuers().any(|issuer| self.each.iter().any(|known| *known.subject == *issuer))
    }

    /// Until when a chain is believed.
    ///
    /// # Errors
    /// Why it is not.
    pub fn judge(&self, chain: &Chain, now: SystemTime) -> Result<SystemTime, Fault> {
        let leaf = chain.leaf().ok_or(Fault::Untrusted)?;
        let read = chain::read(leaf).ok_or(Fault::Untrusted)?;
        let own = chain::valid(&read);
        let now = seconds(now);
        // That its time is over is only said of one that was good in its time: of others, nobody knows.
        let at = now.clamp(own.start, own.end.max(own.start));
        let certificate = EndEntityCert::try_from(leaf).map_err(|error| fault(&error))?;
        let is_good = |path: &VerifiedPath<'_>| {
            // An authority may be younger than what was over when it came.
            let is_in_time = at != now || self.known(path.anchor()).any(|known| holds(&known.valid, at));
            let may_sign = path.intermediate_certificates().all(|one| may(&one.der(), Uses::key_cert_sign));
            if is_in_time && may_sign { Ok(()) } else { Err(Error::UnknownIssuer) }
        };
        let path = certificate
            .verify_for_usage(
                ALL_VERIFICATION_ALGS,
                &self.anchors,
                chain.intermediates(),
                UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(at).unwrap_or_default())),
                KeyUsage::client_auth(),
                None,
                Some(&is_good),
            )
            .map_err(|error| fault(&error))?;
        match () {
            () if now > own.end => Err(Fault::Expired(moment(own.end))),
            () if now < own.start => Err(Fault::NotYet(moment(own.start))),
            // The handshake has its key sign.
            () if !may(leaf, Uses::digital_signature) => Err(Fault::Purpose),
            () => Ok(moment(self.end(&path, own.end, now))),
        }
    }

    /// Several, where one has got a new certificate for the same key.
    fn known(&self, anchor: &TrustAnchor<'_>) -> impl Iterator<Item = &Authority> {
        self.anchors.iter().zip(&self.each).filter(move |(known, _)| *known == anchor).map(|(_, known)| known)
    }

    /// When the first one of a path ends.
    fn end(&self, path: &VerifiedPath<'_>, own: i64, now: i64) -> i64 {
        let between = path.intermediate_certificates().map(|one| {
            let der = one.der();
            // What was verified can be read.
            chain::read(&der).map_or(0, |one| chain::valid(&one).end)
        });
        let above = self.known(path.anchor()).filter(|known| holds(&known.valid, now)).map(|known| known.valid.end);
        between.chain(above.max()).fold(own, i64::min)
    }
}

/// Whose certificate it is, and from when to when it is valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    /// Its subject.
    pub subject: Box<str>,
    /// When it begins.
    pub start: SystemTime,
    /// When it ends.
    pub end: SystemTime,
}

impl Term {
    /// That of a certificate, DER; none of what is none.
    pub fn of(der: &[u8]) -> Option<Self> {
        let certificate = chain::read(der)?;
        let valid = chain::valid(&certificate);
        let subject = chain::shown(&certificate.subject().to_string());
        Some(Term { subject, start: moment(valid.start), end: moment(valid.end) })
    }
}

fn holds(valid: &Range<i64>, at: i64) -> bool {
    (valid.start..=valid.end).contains(&at)
}

/// Whether the key of a certificate may be used so; it may where nothing is said (RFC 5280 section 4.2.1.3).
fn may(der: &[u8], usage: impl Fn(&Uses) -> bool) -> bool {
    let certificate = chain::read(der);
    let said = certificate.as_ref().and_then(|certificate| certificate.key_usage().ok().flatten());
    said.is_none_or(|said| usage(said.value))
}

fn fault(error: &Error) -> Fault {
    // A server's, or an authority's own.
    if matches!(error, Error::RequiredEkuNotFoundContext(_) | Error::CaUsedAsEndEntity) {
        return Fault::Purpose;
    }
    let is_strange = matches!(
        error,
        Error::UnsupportedCertVersion
            | Error::UnsupportedSignatureAlgorithmContext(_)
            | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_)
    );
    if is_strange { Fault::Unsupported } else { Fault::Untrusted }
}

fn seconds(time: SystemTime) -> i64 {
    i64::try_from(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()).unwrap_or(i64::MAX)
}

fn moment(seconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Expired(at) => write!(f, "expired at {}", httpdate::fmt_http_date(*at)),
            Fault::NotYet(at) => write!(f, "is not good before {}", httpdate::fmt_http_date(*at)),
            Fault::Purpose => f.write_str("is not for callers: it is a server's, or an authority's own, or its key is not for signatures"),
            Fault::Unsupported => f.write_str(
                "is of a kind that is not supported: it must be of version 3, and signed with SHA-256 or more by RSA of 2048 bits or more, P-256, P-384 or Ed25519",
            ),
            Fault::Untrusted => f.write_str("was not signed by it, or not by what lies between"),
        }
    }
}
