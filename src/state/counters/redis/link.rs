//! One connection to Redis, shared by all requests, and what is said on it.
//!
//! In: where Redis is; questions. Out: the numbers that its scripts answer, or
//! a [`Trouble`]. Not here: when to connect, how long to wait, what numbers
//! mean (`mod`, `question`).

use std::future::Future;
use std::sync::LazyLock;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, ErrorKind, RedisConnectionInfo, Script, ServerErrorKind};
use tokio::task::AbortHandle;

use crate::config::scalar::{RedisAddress, Scheme};
use crate::outbound::{Client, Dial};

use super::trouble::Trouble;

/// To connect, log in and load the scripts.
const CONNECT: Duration = Duration::from_secs(1);
/// Questions that may wait to be written.
const QUEUE: usize = 1_024;

static DECIDE: LazyLock<Script> =
    LazyLock::new(|| Script::new(concat!(include_str!("bucket.lua"), include_str!("decide.lua"))));
static GIVE: LazyLock<Script> =
    LazyLock::new(|| Script::new(concat!(include_str!("bucket.lua"), include_str!("give.lua"))));
static BEAT: LazyLock<Script> =
    LazyLock::new(|| Script::new(concat!(include_str!("bucket.lua"), include_str!("beat.lua"))));

/// What Redis is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// Register this gateway.
    Beat,
    /// Decide.
    Decide,
    /// Take a letter.
    Give,
}

impl Task {
    fn script(self) -> &'static Script {
        match self {
            Task::Beat => &BEAT,
            Task::Decide => &DECIDE,
            Task::Give => &GIVE,
        }
    }

    /// A call of its script; keys and arguments are added to it.
    pub(super) fn call(self, keys: usize) -> Call {
        let mut command = redis::cmd("EVALSHA");
        command.arg(self.script().get_hash()).arg(keys);
        Call { task: self, command }
    }
}

/// A call of a script.
pub(super) struct Call {
    task: Task,
    command: Cmd,
}

impl Call {
    /// Adds a key or an argument.
    pub(super) fn word(&mut self, word: &str) -> &mut Self {
        self.command.arg(word);
        self
    }

    /// Adds a number.
    pub(super) fn number(&mut self, number: u64) -> &mut Self {
        self.command.arg(number);
        self
    }

    /// Adds a number that may be below 0.
    pub(super) fn signed(&mut self, number: i64) -> &mut Self {
        self.command.arg(number);
        self
    }
}

/// An open connection; dropping it ends what is under way on it.
pub(super) struct Link {
    connection: MultiplexedConnection,
    driver: AbortHandle,
    is_elsewhere: bool,
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
    /// Connects, to `elsewhere` if Redis said that the keys are there.
    pub(super) async fn open(
        address: &RedisAddress,
        elsewhere: Option<(String, u16)>,
        client: &Client,
    ) -> Result<Self, Trouble> {
        let is_elsewhere = elsewhere.is_some();
        let (host, port) = match elsewhere {
            // A server that does not know its own name says only the port.
            Some((host, port)) if host.is_empty() => (address.host.to_string(), port),
            Some(node) => node,
            None => (address.host.to_string(), address.port),
        };
        let scheme = if address.tls { Scheme::Https } else { Scheme::Http };
        let stream = client.dial(&Dial { scheme, host, port, time: CONNECT }).await?;
        let config = AsyncConnectionConfig::new().set_response_timeout(None).set_pipeline_buffer_size(QUEUE);
        let login = login(address);
        let hello = MultiplexedConnection::new_with_config(&login, stream, config);
        let hello = tokio::time::timeout(CONNECT, hello).await.map_err(|_| Trouble::Slow(CONNECT))?;
        let (connection, driver) = hello?;
        let driver = tokio::spawn(driver).abort_handle();
        let link = Link { connection, driver, is_elsewhere };
        for script in [&DECIDE, &GIVE, &BEAT] {
            let mut connection = link.connection.clone();
            let load = script.load_async(&mut connection);
            tokio::time::timeout(CONNECT, load).await.map_err(|_| Trouble::Slow(CONNECT))??;
        }
        Ok(link)
    }

    /// Whether Redis led here.
    pub(super) fn is_elsewhere(&self) -> bool {
        self.is_elsewhere
    }

    /// Calls a script. The future owns what it needs: it may outlive who asked.
    pub(super) fn call(&self, call: Call) -> impl Future<Output = Result<Vec<i64>, Trouble>> + Send + 'static {
        let mut connection = self.connection.clone();
        async move {
            let Call { task, command } = call;
            match command.query_async(&mut connection).await {
                // Somebody emptied the cache of scripts.
                Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                    task.script().load_async(&mut connection).await?;
                    Ok(command.query_async(&mut connection).await?)
                }
                answer => Ok(answer?),
            }
        }
    }
}

fn login(address: &RedisAddress) -> RedisConnectionInfo {
    let mut login = RedisConnectionInfo::default()
        .set_db(i64::from(address.database))
        .set_lib_name(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
    if let Some(user) = &address.user {
        login = login.set_username(user);
    }
    if let Some(password) = &address.password {
        login = login.set_password(password.expose());
    }
    login
}
