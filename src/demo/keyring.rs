//! Who asks: the credential of a request, judged.
//!
//! In: a request, the time. Out: a `Credential`; what it opens is for `surface` to say.
//! **Not here**: how a JWT is read (`jwt`).

use http::StatusCode;

use crate::clock::Clock;

use super::answer::Failure;
use super::jwt::{ADMIN_TOKEN, Claims};
use super::received::Received;
use super::surface::Request;

/// What a request showed.
#[derive(Clone, Debug, PartialEq)]
pub enum Credential {
    /// Nothing.
    Absent,
    /// The workspace's admin token, which opens everything and signs JWTs.
    Admin,
    /// A JWT that was found right.
    Jwt(Claims),
    /// Something that opens nothing, with what was said of it.
    Refused(&'static str),
    /// The static token of `DemoOptions`.
    Static,
}

/// The credentials that are known.
#[derive(Debug)]
pub(super) struct Keyring {
    token: String,
    clock: Clock,
}

impl Keyring {
    /// Knows one static token besides the workspace's own.
    pub(super) fn new(token: String, clock: Clock) -> Self {
        Self { token, clock }
    }

    /// Judges what a request shows: its header before its query.
    pub(super) fn identify(&self, request: &Request) -> Credential {
        let in_query = || Received::collect(&request.query, None, &[]).ok().and_then(|received| received.text("token"));
        let Some(token) = request.bearer.clone().or_else(in_query) else {
            return Credential::Absent;
        };
        if token == ADMIN_TOKEN {
            return Credential::Admin;
        }
        if token == self.token {
            return Credential::Static;
        }
        // The vendor's static tokens have three parts, too, but this first one.
        if token.starts_with("p.") {
            return Credential::Refused("Invalid token");
        }
        Claims::read(&token, self.clock.wall()).map_or_else(Credential::Refused, Credential::Jwt)
    }
}

impl Credential {
    /// The answer to whoever shows nothing that is known.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let text = match self {
            Self::Admin | Self::Jwt(_) | Self::Static => return Ok(()),
            Self::Absent => "A token is needed: pass it as 'Authorization: Bearer' or as 'token'",
            Self::Refused(text) => text,
        };
        Err(Failure::new(StatusCode::FORBIDDEN, text))
    }
}
