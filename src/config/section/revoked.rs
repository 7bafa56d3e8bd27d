//! A record of `revoked.yaml`: tokens that are refused though they are valid.
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
    /// Which tokens.
    pub what: RevokedTokens,
    /// Only those of this issuer; none: of any.
    pub issuer: Option<String>,
    /// For people only.
    pub note: Option<String>,
}

/// Which tokens a record is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RevokedTokens {
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
}

/// As it stands in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    jti: Option<Words>,
    sub: Option<Words>,
    before: Option<Moment>,
    issuer: Option<Words>,
    note: Option<Words>,
}

impl TryFrom<Written> for Revoked {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        let text = |words: Option<Words>| words.map(|words| words.as_str().to_owned());
        let what = match (text(written.jti), text(written.sub), written.before) {
            (Some(jti), None, None) => RevokedTokens::One { jti },
            (None, Some(sub), before) => RevokedTokens::OfSubject { sub, before },
            (Some(_), None, Some(_)) => {
                return Err("`before` belongs to `sub`: leave it out, because a `jti` names one token");
            }
            (None, None, _) => {
                return Err(
                    "nothing says which tokens are meant: write `jti: ID`, or `sub: NAME` for all of a subject",
                );
            }
            (Some(_), Some(_), _) => return Err("`jti` and `sub` stand in one record: write two records"),
        };
        Ok(Revoked { what, issuer: text(written.issuer), note: text(written.note) })
    }
}
