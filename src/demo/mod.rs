//! A small upstream that speaks Tinybird's pipe API, for trying the gateway without an account.
//!
//! In: an address, the token to accept, the clock. Out: an HTTP server over bundled data: real SQL
//! on an in-memory SQLite, no file, no network, the same rows on every machine; and the last
//! requests, for tests. It checks the vendor's JWTs, signed with [`ADMIN_TOKEN`] for [`WORKSPACE_ID`].
//! It is as open as the vendor on purpose (`q=`, raw SQL, metadata neighbours, optional tenant
//! filters, loud headers): the gateway in front of it must be seen to close all of that.
//! **Not here**: anything of the gateway; keeping what is ingested; protection against a hostile network.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::clock::Clock;

mod adhoc;
mod answer;
mod dataset;
mod describe;
mod events;
mod flaky;
mod journal;
mod jwt;
mod keyring;
mod parameter;
mod pipes;
mod query;
mod rates;
mod received;
mod render;
mod server;
mod store;
mod surface;

pub use self::journal::Visit;
pub use self::jwt::{ADMIN_TOKEN, Claims, WORKSPACE_ID, sign};
pub use self::keyring::Credential;
pub use self::parameter::{Kind, Parameter, Presence};
pub use self::pipes::{Behaviour, Column, PIPES, Pipe};

/// Where the demo upstream listens and what it accepts.
pub struct DemoOptions {
    /// The address to bind; port 0 lets the system choose, see [`Demo::address`].
    pub address: SocketAddr,
    /// The static token that opens it, as `Authorization: Bearer` or `?token=`; besides it, the
    /// workspace's [`ADMIN_TOKEN`] does, and a JWT opens the pipes that it names.
    pub token: String,
    /// Measures elapsed times and ends runaway queries.
    pub clock: Clock,
}

/// A running demo upstream; it serves until stopped or dropped.
#[derive(Debug)]
pub struct Demo {
    address: SocketAddr,
    journal: Arc<journal::Journal>,
    stop: watch::Sender<bool>,
}

impl Demo {
    /// Binds, loads the data and begins to serve on the current tokio runtime.
    ///
    /// # Errors
    /// The address cannot be bound, or the bundled data cannot be loaded.
    pub async fn start(options: DemoOptions) -> Result<Self, DemoError> {
        let DemoOptions { address, token, clock } = options;
        let listener = TcpListener::bind(address).await.map_err(|source| DemoError::Bind { address, source })?;
        let address = listener.local_addr().map_err(|source| DemoError::Bind { address, source })?;
        let store = store::Store::load(clock.clone()).await?;
        let surface = surface::Surface::new(address, token, clock.clone(), store);
        let journal = surface.journal();
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(server::accept(listener, surface, clock, stopped));
        Ok(Self { address, journal, stop })
    }

    /// The address it is bound to, with the real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The last requests, oldest first, at most 256.
    pub fn visits(&self) -> Vec<Visit> {
        self.journal.read()
    }

    /// Ends accepting; open connections finish the request they are in. Dropping does the same.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Why the demo upstream could not start.
#[derive(Debug)]
pub enum DemoError {
    /// The address could not be bound.
    Bind {
        /// What was asked for.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The bundled data could not be loaded; only a lack of memory should cause it.
    Load(rusqlite::Error),
    /// The thread that loads the data died.
    Thread(tokio::task::JoinError),
}

impl fmt::Display for DemoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind { address, .. } => write!(f, "cannot listen on {address}"),
            Self::Load(_) => f.write_str("cannot load the demo data"),
            Self::Thread(_) => f.write_str("loading the demo data was interrupted"),
        }
    }
}

impl std::error::Error for DemoError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Bind { source, .. } => Some(source),
            Self::Load(source) => Some(source),
            Self::Thread(source) => Some(source),
        }
    }
}

impl fmt::Debug for DemoOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DemoOptions").field("address", &self.address).finish_non_exhaustive()
    }
}
