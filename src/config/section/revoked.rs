//! A record of `revoked.yaml`: tokens and certificates that are refused though they are valid.
//!
//! In: one item of the list. Out: a [`Revoked`]. Not here: the file as a whole
//! (`config::keys`), looking a token up.

use serde::Deserialize;

use crate::config::scalar::Moment;
use crate::config::section::keys::Words;

/// Tokens that no longer count.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub struct Revoked {
    /// Which of them.
    pub what: RevokedCredentials,
    /// Only those of this issuer; none: of any.
    pub issuer: Option<String>,
    /// For people only.
    pub note: Option<String>,
}

/// Which tokens or certificates a record is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RevokedCredentials {
    /// The certificate with this fingerprint, and every one below it.
    Fingerprint {
        /// SHA-256 of it, 64 small hexadecimal digits.
        sha256: String,
    },
    /// Those of a subject.
    OfSubject {
        /// `sub` of the tokens.
        sub: String,
        /// Those that were issued earlier (`iat`, and those without one); none: all.
        before: Option<Moment>,
    },
    /// One.
    One {
        /// `jti` of the token.
        jti: String,
    },
    /// The certificate with this serial number.
    Serial {
        /// In small hexadecimal digits, without zeros before it.
        serial: String,
    },
}

/// As it stands in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    jti: Option<Words>,
    sub: Option<Words>,
    before: Option<Moment>,
    issuer: Option<Words>,
    serial: Option<Words>,
    sha256: Option<Words>,
    note: Option<Words>,
}

impl TryFrom<Written> for Revoked {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        let text = |words: Option<Words>| words.map(|words| words.as_str().to_owned());
        let Written { jti, sub, before, issuer, serial, sha256, note } = written;
        let (issuer, note) = (text(issuer), text(note));
        let of_certificate = match (serial, sha256, jti.is_some() || sub.is_some() || before.is_some()) {
            (None, None, _) => None,
            (Some(_), Some(_), _) | (Some(_), None, true) | (None, Some(_), true) => {
                return Err(
                    "more than one of `jti`, `sub`, `serial` and `sha256` stands in one record: write two records",
                );
            }
            (Some(serial), None, false) => Some(RevokedCredentials::Serial { serial: number(serial.as_str())? }),
            (None, Some(sha256), false) => Some(RevokedCredentials::Fingerprint { sha256: hash(sha256.as_str())? }),
        };
        if of_certificate.is_some() && issuer.is_some() {
            return Err("`issuer` belongs to tokens: leave it out, because a provider has its own authorities");
        }
        let what = match of_certificate {
            Some(what) => what,
            None => of_tokens(text(jti), text(sub), before)?,
        };
        Ok(Revoked { what, issuer, note })
    }
}

fn of_tokens(
    jti: Option<String>,
    sub: Option<String>,
    before: Option<Moment>,
) -> Result<RevokedCredentials, &'static str> {
    match (jti, sub, before) {
        (Some(jti), None, None) => Ok(RevokedCredentials::One { jti }),
        (None, Some(sub), before) => Ok(RevokedCredentials::OfSubject { sub, before }),
        (Some(_), None, Some(_)) => Err("`before` belongs to `sub`: leave it out, because a `jti` names one token"),
        (None, None, _) => Err(
            "nothing says what is meant: write `jti: ID`, `sub: NAME` for all of a subject, or `serial` or `sha256` of a certificate",
        ),
        (Some(_), Some(_), _) => Err("`jti` and `sub` stand in one record: write two records"),
    }
}

/// A serial number as `openssl x509 -serial` and browsers write it.
fn number(text: &str) -> Result<String, &'static str> {
    const WRONG: &str =
        "`serial` is no serial number: write its hexadecimal digits, as `openssl x509 -noout -serial` prints them";
    let digits = digits(text).filter(|digits| !digits.is_empty()).ok_or(WRONG)?;
    Ok(Some(digits.trim_start_matches('0')).filter(|digits| !digits.is_empty()).unwrap_or("0").to_owned())
}

/// A fingerprint as `openssl x509 -fingerprint -sha256` and browsers write it.
fn hash(text: &str) -> Result<String, &'static str> {
    const WRONG: &str = "`sha256` is no fingerprint: write its 64 hexadecimal digits, as `openssl x509 -noout -fingerprint -sha256` prints them";
    digits(text).filter(|digits| digits.len() == 64).ok_or(WRONG)
}

/// Hexadecimal digits, which may have colons or blanks between them.
fn digits(text: &str) -> Option<String> {
    let digits: String = text.chars().filter(|c| !matches!(c, ':' | ' ')).map(|c| c.to_ascii_lowercase()).collect();
    digits.chars().all(|c| c.is_ascii_hexdigit()).then_some(digits)
}
