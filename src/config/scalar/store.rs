//! Where the ledger is kept: `sqlite`, `postgres://user@ledger.internal:5432/tollgate`.
//!
//! In: the word or the URL. Out: what is needed to connect. Not here:
//! connecting (`state::usage`).

use std::fmt;
use std::str::FromStr;

use http::Uri;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};

use super::Secret;
use super::endpoint::login_and_place;

/// Where the ledger is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Store {
    /// In a Postgres that several gateways share.
    Postgres(PostgresAddress),
    /// In a file of this gateway's.
    #[default]
    Sqlite,
}

/// Where a Postgres is, and as whom it is used. It shows neither user nor password.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresAddress {
    /// Whether the connection is made with TLS.
    pub tls: bool,
    /// Host name or address, without brackets.
    pub host: Box<str>,
    /// Its port.
    pub port: u16,
    /// The user.
    pub user: Box<str>,
    /// The password; none where Postgres knows the user otherwise.
    pub password: Option<Secret>,
    /// The name of the database.
    pub database: Box<str>,
}

/// What is written as it is in the name of a database.
const NAME: &AsciiSet = &NON_ALPHANUMERIC.remove(b'_').remove(b'-').remove(b'.');
/// The port of Postgres, with TLS or without.
const PORT: u16 = 5432;

const NO_PLACE: &str =
    "this is not a place for the ledger: write `sqlite` or postgres://USER:PASSWORD@HOST:5432/DATABASE";
const ODD_LOGIN: &str = "this is not a place for the ledger: write postgres://USER:PASSWORD@HOST:5432/DATABASE, with / @ : # ? % in user and password as %2F %40 %3A %23 %3F %25";
const ODD_QUERY: &str =
    "this URL has more behind its `?` than `sslmode`: write `?sslmode=disable`, or nothing, which is with TLS";
const WEAK_MODE: &str = "this `sslmode` would believe any certificate, or go on without TLS: write `sslmode=verify-full`, or `sslmode=disable` where every machine on the way is yours";

impl FromStr for Store {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "sqlite" => Ok(Store::Sqlite),
            _ => text.parse().map(Store::Postgres),
        }
    }
}

impl FromStr for PostgresAddress {
    type Err = String;

    // Never quotes the text: a password may stand in it.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || if text.contains('@') { ODD_LOGIN.to_owned() } else { NO_PLACE.to_owned() };
        let uri: Uri = text.parse().map_err(|_| wrong())?;
        if !matches!(uri.scheme_str(), Some("postgres" | "postgresql")) {
            return Err(wrong());
        }
        let place = uri.authority().and_then(|authority| login_and_place(authority, PORT));
        let (Some(login), host, port) = place.ok_or_else(wrong)? else { return Err(wrong()) };
        if text.contains('#') {
            return Err(ODD_QUERY.to_owned());
        }
        let database = decoded(uri.path().trim_start_matches('/'))?;
        if database.is_empty() || uri.path().trim_start_matches('/').contains('/') {
            let sentence = "the path of this URL is not the name of a database: write it like postgres://USER:PASSWORD@HOST:5432/DATABASE";
            return Err(sentence.to_owned());
        }
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        let (user, password) = (decoded(user)?, decoded(password)?);
        if user.is_empty() {
            return Err("this URL has no user: write postgres://USER:PASSWORD@HOST:5432/DATABASE".to_owned());
        }
        let password = Some(password).filter(|password| !password.is_empty());
        let password = password.map(|password| password.parse()).transpose().map_err(|_: String| {
            "the password of this URL cannot be used: write it in printable ASCII, without blanks around it".to_owned()
        })?;
        let tls = is_tls(uri.query(), &host)?;
        Ok(PostgresAddress { tls, host: host.into(), port, user: user.into(), password, database: database.into() })
    }
}

/// TLS, and with it a certificate that is believed, unless the URL says otherwise, or the server is on this machine.
fn is_tls(query: Option<&str>, host: &str) -> Result<bool, String> {
    match query {
        None | Some("") => Ok(!super::is_this_machine(host)),
        Some("sslmode=disable") => Ok(false),
        // What `require` means elsewhere is a certificate that nobody looks at; here it is looked at all the same.
        Some("sslmode=require" | "sslmode=verify-full") => Ok(true),
        Some("sslmode=allow" | "sslmode=prefer" | "sslmode=verify-ca") => Err(WEAK_MODE.to_owned()),
        Some(_) => Err(ODD_QUERY.to_owned()),
    }
}

fn decoded(text: &str) -> Result<String, String> {
    let decoded = percent_encoding::percent_decode_str(text).decode_utf8();
    // Postgres' protocol ends its texts with it.
    decoded.ok().filter(|text| !text.contains('\0')).map(std::borrow::Cow::into_owned).ok_or_else(|| {
        "the user name, the password or the database of this URL is no text that Postgres takes".to_owned()
    })
}

impl PostgresAddress {
    /// Where it is, and nothing of the login.
    pub fn place(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.to_string() };
        let database = percent_encoding::utf8_percent_encode(&self.database, NAME);
        format!("postgres://{host}:{}/{database}", self.port)
    }
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Store::Postgres(address) => address.fmt(f),
            Store::Sqlite => f.write_str("sqlite"),
        }
    }
}

// Without user and password, and still a URL that can be read.
impl fmt::Display for PostgresAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let login = if self.password.is_some() { "***:***" } else { "***" };
        let mode = if self.tls { "verify-full" } else { "disable" };
        let place = self.place();
        write!(f, "postgres://{login}@{}?sslmode={mode}", place.trim_start_matches("postgres://"))
    }
}

// A user may be a password that was written in the wrong place.
impl fmt::Debug for PostgresAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

super::from_text!(Store, "`sqlite` or a URL like postgres://tollgate:PASSWORD@ledger.internal:5432/tollgate");
super::as_text!(Store);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_taken_apart_and_not_shown() {
        let address: PostgresAddress = "postgresql://us%40er:p%3A%2Fw@[::1]:7000/a%20b".parse().expect("an address");
        assert_eq!((&*address.host, address.port, &*address.database, address.tls), ("::1", 7000, "a b", false));
        assert_eq!((&*address.user, address.password.as_ref().map(Secret::expose)), ("us@er", Some("p:/w")));
        assert_eq!(address.to_string(), "postgres://***:***@[::1]:7000/a%20b?sslmode=disable");
        let address: PostgresAddress = "postgres://tollgate@ledger.internal/tollgate_1".parse().expect("an address");
        assert_eq!((address.password.as_ref(), address.port, address.tls), (None, PORT, true), "TLS unless it is said");
        assert_eq!(address.to_string(), "postgres://***@ledger.internal:5432/tollgate_1?sslmode=verify-full");
        assert_eq!(address.to_string().parse::<PostgresAddress>().map(|again| again.database), Ok("tollgate_1".into()));
    }

    #[test]
    fn what_is_no_place_is_told_without_its_password() {
        for (url, why) in [
            ("mysql://u:SECRET@h/d", ODD_LOGIN),
            ("postgres://h/d", NO_PLACE),
            ("postgres://:SECRET@h/d", "this URL has no user: write postgres://USER:PASSWORD@HOST:5432/DATABASE"),
            ("postgres://u:SE/CRET@h/d", NO_PLACE),
            ("postgres://u:SECRET@h:0/d", ODD_LOGIN),
            ("postgres://u:SECRET@h/d?sslmode=prefer", WEAK_MODE),
            ("postgres://u:SECRET@h/d?password=SECRET", ODD_QUERY),
            ("postgres://u:SECRET@h/d#x", ODD_QUERY),
        ] {
            let said = url.parse::<Store>().expect_err(url);
            assert!(said == why || said == ODD_LOGIN, "{url}: {said}");
            assert!(!said.contains("SECRET"), "{said}");
        }
        let said = "postgres://u:SECRET@h".parse::<Store>().expect_err("no database");
        assert!(said.contains("name of a database"), "{said}");
    }
}
