//! One connection to Postgres.
//!
//! In: where it is; statements. Out: rows, or a [`Trouble`]. Not here: which
//! statements (`mod`), when to connect again (`ledger`).

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::AbortHandle;
use tokio_postgres::config::SslMode;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Config, NoTls, Row};

use crate::config::scalar::{PostgresAddress, Scheme};
use crate::outbound::{self, Dial, Stream};

use super::trouble::Trouble;

/// To connect, and then to log in.
pub(super) const CONNECT: Duration = Duration::from_secs(5);
/// What a client sends to ask whether TLS is spoken: a length, and a number that is no version (section 55.7 of Postgres'
/// documentation).
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// A value, and how it is sent: nothing is prepared, so that what stands between may give each transaction another server.
pub(super) type Value<'a> = (&'a (dyn ToSql + Sync), Type);

/// An open connection; dropping it ends what is under way on it.
pub(super) struct Link {
    client: Client,
    driver: AbortHandle,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Link {
    pub(super) async fn open(address: &PostgresAddress, client: &outbound::Client) -> Result<Self, Trouble> {
        let PostgresAddress { tls, host, port, user, password, database } = address;
        let dial = Dial { scheme: Scheme::Http, host: host.to_string(), port: *port, time: CONNECT };
        let mut stream = client.dial(&dial).await?;
        if *tls {
            stream = secure(stream, host, client).await?;
        }
        let mut login = Config::new();
        login.user(user.as_ref()).dbname(database.as_ref()).application_name(env!("CARGO_PKG_NAME"));
        // Where it is wanted, it is spoken below.
        login.ssl_mode(SslMode::Disable);
        if let Some(password) = password {
            login.password(password.expose());
        }
        let (client, connection) = login.connect_raw(stream, NoTls).await?;
        let driver = tokio::spawn(async {
            // What ends it, whoever waits for an answer is told.
            let _ = connection.await;
        });
        Ok(Link { client, driver: driver.abort_handle() })
    }

    /// Whether it is of use, as far as that was seen.
    pub(super) fn is_open(&self) -> bool {
        !self.client.is_closed()
    }

    /// Does one thing in a transaction of its own, for which the server gives it so long; nothing waits for an answer
    /// before the next is sent.
    pub(super) async fn at_once(&self, time: Duration, text: &str, values: &[Value<'_>]) -> Result<Vec<Row>, Trouble> {
        let begin = begin(time);
        let (begun, rows, ended) = tokio::join!(
            biased;
            self.client.batch_execute(&begin),
            self.client.query_typed(text, values),
            self.client.batch_execute("COMMIT"),
        );
        begun?;
        let rows = rows?;
        ended?;
        Ok(rows)
    }

    /// Begins a transaction; the server gives each of its statements so long.
    pub(super) async fn begin(&self, time: Duration) -> Result<(), Trouble> {
        Ok(self.client.batch_execute(&begin(time)).await?)
    }

    /// A statement with values.
    pub(super) async fn ask(&self, text: &str, values: &[Value<'_>]) -> Result<Vec<Row>, Trouble> {
        Ok(self.client.query_typed(text, values).await?)
    }

    /// Statements without values.
    pub(super) async fn tell(&self, text: &str) -> Result<(), Trouble> {
        Ok(self.client.batch_execute(text).await?)
    }
}

fn begin(time: Duration) -> String {
    let time = time.as_millis();
    // A machine that vanishes in the middle of it must not hold what others wait for.
    format!("BEGIN; SET LOCAL statement_timeout = {time}; SET LOCAL idle_in_transaction_session_timeout = {time}")
}

/// Goes on with TLS; a server that has none is not given the password.
async fn secure(mut stream: Stream, host: &str, client: &outbound::Client) -> Result<Stream, Trouble> {
    let broken = |error: std::io::Error| Trouble::Broken(format!("broke the connection: {error}"));
    stream.write_all(&SSL_REQUEST).await.map_err(broken)?;
    // One byte and no more: the rest is TLS, or somebody on the way.
    match stream.read_u8().await.map_err(broken)? {
        b'S' => Ok(client.secure(stream, host, CONNECT).await?),
        b'N' => Err(Trouble::Other(
            "does not speak TLS: switch it on there (`ssl = on`), or write `?sslmode=disable` if every machine on the way \
             is yours"
                .to_owned(),
        )),
        _ => Err(Trouble::Other("does not speak as a Postgres does".to_owned())),
    }
}
