//! Who may ask what on the admin address.
//!
//! In: the head of a request, where it comes from, the token. Out: leave, or the
//! refusal. Not here: what is asked. No web page gets anywhere: a foreign name
//! in `Host` is DNS rebinding, an `Origin` is a page, and a form cannot send JSON.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use http::{HeaderMap, Method, StatusCode, header};

use crate::clock::Clock;
use crate::config::scalar::Secret;
use crate::state::throttle::{self, Throttle};

/// What may be asked of whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Everybody who reaches the address.
    Nothing,
    /// From other machines, the token.
    TokenFromElsewhere,
    /// Always the token, and the marks of a program rather than a page.
    TokenAndProgram,
}

/// What a caller is told instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) status: StatusCode,
    pub(super) text: &'static str,
    /// Seconds until another try makes sense.
    pub(super) retry_after: Option<u64>,
}

/// One who asks.
#[derive(Debug)]
pub(super) struct Asker<'a> {
    /// Where the connection comes from, if it is an internet address.
    pub(super) address: Option<IpAddr>,
    pub(super) method: &'a Method,
    pub(super) headers: &'a HeaderMap,
}

impl Asker<'_> {
    /// The address as the log has it.
    pub(super) fn name(&self) -> String {
        self.address.map_or_else(|| "?".to_owned(), |address| address.to_canonical().to_string())
    }

    /// Whether the connection comes from this machine.
    pub(super) fn is_local(&self) -> bool {
        self.address.is_some_and(|address| address.to_canonical().is_loopback())
    }
}

/// Wrong tokens that an address may send in a minute.
const MAX_WRONG: u32 = 10;

/// The token and who guessed at it.
#[derive(Debug)]
pub(super) struct Access {
    token: Arc<ArcSwapOption<Secret>>,
    throttle: Throttle,
}

impl Access {
    pub(super) fn new(token: Arc<ArcSwapOption<Secret>>, clock: Clock) -> Self {
        Access { token, throttle: Throttle::new(clock, MAX_WRONG, throttle::FEW) }
    }

    /// Whether this request may be answered.
    pub(super) fn check(&self, asker: &Asker<'_>, need: Need) -> Result<(), Refused> {
        if !is_own_host(asker.headers.get(header::HOST).and_then(|host| host.to_str().ok())) {
            return Err(refused(StatusCode::FORBIDDEN, "this is not the name of an admin address\n"));
        }
        match need {
            Need::Nothing => Ok(()),
            Need::TokenFromElsewhere if asker.is_local() => Ok(()),
            Need::TokenFromElsewhere => self.token(asker),
            Need::TokenAndProgram => {
                if asker.headers.contains_key(header::ORIGIN) {
                    return Err(refused(StatusCode::FORBIDDEN, "web pages have no business here\n"));
                }
                self.token(asker)?;
                if *asker.method == Method::POST && !is_json(asker.headers) {
                    let text = "send it with Content-Type: application/json\n";
                    return Err(refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
                }
                Ok(())
            }
        }
    }

    /// Whether the request brings the token, whatever it asks.
    pub(super) fn is_trusted(&self, asker: &Asker<'_>) -> bool {
        asker.is_local() || self.token(asker).is_ok()
    }

    fn token(&self, asker: &Asker<'_>) -> Result<(), Refused> {
        let wait = self.throttle.must_wait(asker.address);
        // A guess from elsewhere must not be told from the truth. Who sits at the machine is not locked out by a program
        // there that has the wrong token.
        if let Some(wait) = wait.filter(|_| !asker.is_local()) {
            return Err(too_many(wait));
        }
        let Some(given) = asker.headers.get(header::AUTHORIZATION) else {
            return Err(refused(StatusCode::UNAUTHORIZED, "a token is needed: Authorization: Bearer ...\n"));
        };
        let token = self.token.load();
        let is_right = given
            .as_bytes()
            .strip_prefix(b"Bearer ")
            .zip(token.as_ref())
            .is_some_and(|(given, token)| is_same(given, token.expose().as_bytes()));
        match (is_right, wait) {
            (true, _) => Ok(()),
            (false, Some(wait)) => Err(too_many(wait)),
            (false, None) => {
                self.throttle.count(asker.address);
                Err(refused(StatusCode::UNAUTHORIZED, "this is not the admin token\n"))
            }
        }
    }
}

fn too_many(wait: Duration) -> Refused {
    let text = "too many wrong tokens from this address: wait a minute\n";
    Refused { status: StatusCode::TOO_MANY_REQUESTS, text, retry_after: Some(wait.as_secs() + 1) }
}

/// Whether a Host header names an address or a plain machine name: DNS
/// rebinding needs a name with a domain.
fn is_own_host(host: Option<&str>) -> bool {
    let Some(host) = host else { return false };
    if host.parse::<SocketAddr>().is_ok() || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
        return true;
    }
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let inside = [".localhost", ".svc", ".local", ".internal", ".cluster.local"];
    !name.contains('.') || inside.iter().any(|suffix| name.ends_with(suffix))
}

fn is_json(headers: &HeaderMap) -> bool {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    given.split(';').next().is_some_and(|media| media.trim().eq_ignore_ascii_case("application/json"))
}

/// Compares in a time that does not tell where two texts differ.
fn is_same(given: &[u8], wanted: &[u8]) -> bool {
    given.len() == wanted.len() && given.iter().zip(wanted).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

fn refused(status: StatusCode, text: &'static str) -> Refused {
    Refused { status, text, retry_after: None }
}

#[cfg(test)]
mod tests {
    use crate::clock::TestClock;

    use super::*;

    fn access(time: &TestClock) -> Access {
        let token = "right".parse().unwrap();
        Access::new(Arc::new(ArcSwapOption::from_pointee(Some(token))), time.clock())
    }

    fn try_token(access: &Access, address: &str, token: &str) -> u16 {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, "localhost".parse().unwrap());
        headers.insert(header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
        headers.insert(header::CONTENT_TYPE, "application/json".parse().unwrap());
        let asker = Asker { address: address.parse().ok(), method: &Method::POST, headers: &headers };
        access.check(&asker, Need::TokenAndProgram).map_or_else(|refused| refused.status.as_u16(), |()| 200)
    }

    #[test]
    fn a1_only_addresses_and_local_names_reach_the_admin_address() {
        for host in [
            "127.0.0.1:9901",
            "[::1]:9901",
            "[::1]",
            "localhost:9901",
            "localhost",
            "gateway:9901",
            "tollgate.ns.svc",
            "10.1.2.3:1",
        ] {
            assert!(is_own_host(Some(host)), "{host}");
        }
        for host in [Some("evil.example.com"), Some("evil.com:9901"), None] {
            assert!(!is_own_host(host), "{host:?}");
        }
    }

    #[test]
    fn a2_guessing_ends_after_ten_wrong_tokens_a_minute() {
        let time = TestClock::new();
        let access = access(&time);
        for _ in 0..10 {
            assert_eq!(try_token(&access, "10.0.0.1", "wrong"), 401);
        }
        assert_eq!(try_token(&access, "10.0.0.1", "wrong"), 429);
        assert_eq!(try_token(&access, "10.0.0.1", "right"), 429, "or a guess would still be told from the truth");
        assert_eq!(try_token(&access, "10.0.0.2", "right"), 200, "others are not held up");
        time.advance(Duration::from_secs(60));
        assert_eq!(try_token(&access, "10.0.0.1", "right"), 200);
    }
}
