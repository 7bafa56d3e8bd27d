//! Tells who started the process what becomes of it: systemd, or whoever speaks
//! its protocol (sd_notify(3)).
//!
//! In: the address in `NOTIFY_SOCKET`. Out: one datagram for each change. Not
//! here: reading the environment (`cli`). A package for it exists; it reads and
//! changes the environment itself, and this is all that is needed of it.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;

use crate::clock::Clock;

/// Who is told, if there is somebody.
#[derive(Clone, Debug)]
pub struct Supervisor(Option<Arc<Told>>);

#[derive(Debug)]
struct Told {
    socket: UnixDatagram,
    address: SocketAddr,
}

impl Supervisor {
    /// Nobody is told.
    pub fn none() -> Self {
        Supervisor(None)
    }

    /// Who listens at the address that `NOTIFY_SOCKET` has.
    ///
    /// # Errors
    /// It is no address of a socket, or the system gives none.
    pub fn at(address: &OsStr) -> io::Result<Self> {
        let (address, socket) = (address_of(address)?, UnixDatagram::unbound()?);
        // A supervisor that does not read must not hold the gateway.
        socket.set_nonblocking(true)?;
        Ok(Supervisor(Some(Arc::new(Told { socket, address }))))
    }

    /// The gateway serves callers, and nothing is being loaded.
    pub(super) fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={status}"));
    }

    /// The file is being loaded again.
    pub(super) fn reloading(&self, clock: &Clock) {
        // Which of its own wishes this answers, systemd tells by the time.
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={}\nSTATUS=Reloading", clock.since_boot().as_micros()));
    }

    /// Another process serves callers from now on; by the next message of this one the end of the service would be meant.
    pub(super) fn followed_by(&self, pid: u32) {
        self.tell(&format!("MAINPID={pid}\nREADY=1\nSTATUS=Serving"));
    }

    /// The gateway was asked to end.
    pub(super) fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=Finishing the requests under way");
    }

    fn tell(&self, state: &str) {
        if let Some(told) = &self.0
            && let Err(error) = told.socket.send_to_addr(state.as_bytes(), &told.address)
        {
            log::warn!("the service manager cannot be told what becomes of the gateway (NOTIFY_SOCKET): {error}");
        }
    }
}

/// A path, or behind `@` a name without a file.
fn address_of(address: &OsStr) -> io::Result<SocketAddr> {
    match address.as_bytes().split_first() {
        #[cfg(target_os = "linux")]
        Some((b'@', name)) => <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name),
        _ => SocketAddr::from_pathname(address),
    }
}
