//! Why Redis did not answer, in words for the operator.
//!
//! In: what the connection or the server says. Out: a [`Trouble`], which reads
//! on behind "Redis at …", without a credential in it. Not here: what happens
//! then (`mod`, `breaker`).

use std::fmt;
use std::time::Duration;

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::outbound::Failure;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// It serves others, and does not let this gateway in or do what it has to.
    Denied(String),
    /// It is starting, and reads its data first.
    Loading,
    /// These keys are on another server of the cluster: its host, where it says one, and port.
    Moved(String, u16),
    /// It says something that is none of the others.
    Other(String),
    /// It takes no writes.
    ReadOnly,
    /// Nothing came in that time.
    Slow(Duration),
    /// There is no connection, or it broke.
    Unreachable(String),
    /// It cannot keep anything more.
    Unwilling(String),
}

impl Trouble {
    /// Whether the connection is of no use any more.
    pub(super) fn ends_connection(&self) -> bool {
        match self {
            Trouble::Denied(_)
            | Trouble::Loading
            | Trouble::Moved(..)
            | Trouble::ReadOnly
            | Trouble::Unreachable(_)
            | Trouble::Unwilling(_) => true,
            Trouble::Other(_) | Trouble::Slow(_) => false,
        }
    }

    fn of_code(code: &str, error: &RedisError) -> Self {
        let detail = error.detail().unwrap_or_default().to_owned();
        let is = |words: &str| code == words || detail.contains(words);
        if is("WRONGPASS") || is("invalid password") || is("without any password configured") {
            return Trouble::Denied("does not accept the user or the password in `state.counters`".to_owned());
        }
        if is("NOAUTH") {
            return Trouble::Denied("wants a password: write redis://:PASSWORD@HOST in `state.counters`".to_owned());
        }
        if is("NOPERM") {
            return Trouble::Denied(format!(
                "does not let this user run scripts, or use keys that begin with {{tollgate}}: {detail}"
            ));
        }
        if is("READONLY") {
            return Trouble::ReadOnly;
        }
        if is("OOM") {
            return Trouble::Unwilling("has no memory left (`maxmemory`)".to_owned());
        }
        if is("MISCONF") {
            return Trouble::Unwilling("takes no writes because it cannot save its data (MISCONF)".to_owned());
        }
        Trouble::Other(format!("says {code} {detail}").trim_end().to_owned())
    }
}

impl From<RedisError> for Trouble {
    #[expect(clippy::wildcard_enum_match_arm, reason = "both enums are open: the server's own words do for the others")]
    fn from(error: RedisError) -> Self {
        if let Some((node, _)) = error.redirect_node()
            && let Some((host, port)) = node.rsplit_once(':')
            && let Ok(port) = port.parse()
        {
            return Trouble::Moved(host.trim_matches(['[', ']']).to_owned(), port);
        }
        match error.kind() {
            ErrorKind::Io => Trouble::Unreachable(match error.is_connection_dropped() {
                true => "the connection was closed".to_owned(),
                false => error.to_string(),
            }),
            ErrorKind::Parse => Trouble::Other("does not speak the protocol of Redis".to_owned()),
            ErrorKind::AuthenticationFailed => Trouble::of_code("WRONGPASS", &error),
            ErrorKind::Server(ServerErrorKind::BusyLoading) => Trouble::Loading,
            ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown) => Trouble::ReadOnly,
            _ => Trouble::of_code(error.code().unwrap_or_else(|| error.category()), &error),
        }
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Trouble::Unreachable(failure.to_string())
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Denied(words) | Trouble::Other(words) | Trouble::Unwilling(words) => f.write_str(words),
            Trouble::Loading => f.write_str("is starting: it reads its data first"),
            Trouble::Moved(host, port) => write!(f, "keeps these keys on another server, {host}:{port}"),
            Trouble::ReadOnly => {
                f.write_str("is a replica and takes no writes: `state.counters` must lead to the primary")
            }
            Trouble::Slow(time) => write!(f, "does not answer within {time:?}"),
            Trouble::Unreachable(why) => write!(f, "cannot be reached: {why}"),
        }
    }
}
