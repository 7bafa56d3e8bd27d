//! The gateway that runs, as the next one sees it.
//!
//! In: what it sends. Out: its sockets, and when to serve. Not here: what the one
//! that runs does (`successor`).

use std::collections::VecDeque;
use std::fs::File;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, OwnedFd};

use anyhow::{Context as _, anyhow, bail};

use super::wire::{Heard, Message, VERSION, Wire};

/// The gateway that started this process to be followed by it.
#[derive(Debug)]
pub struct Predecessor {
    wire: Wire,
    listeners: VecDeque<(String, OwnedFd)>,
    admin: VecDeque<(String, OwnedFd)>,
    /// Where it writes to; what this process writes before it serves, the other one reads.
    talk: File,
}

impl Predecessor {
    /// Takes what it sends. It speaks over standard input, which is empty from then on.
    ///
    /// # Errors
    /// Nobody speaks there, or in another way.
    pub fn meet() -> anyhow::Result<Self> {
        let wire = Wire::of(std::io::stdin().as_fd().try_clone_to_owned()?);
        if !wire.is_a_wire() {
            bail!("no gateway is there whose sockets could be taken over: this variable is not for people");
        }
        rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
        let (mut listeners, mut admin, mut talk) = (VecDeque::new(), VecDeque::new(), None);
        loop {
            match wire.hear(None).context("what the running gateway says")? {
                Heard::Message(Message::Listener(name), Some(socket)) => listeners.push_back((name, socket)),
                Heard::Message(Message::Admin(name), Some(socket)) => admin.push_back((name, socket)),
                Heard::Message(Message::Talk, Some(stderr)) => talk = Some(File::from(stderr)),
                Heard::Message(Message::Begin(VERSION), _) => break,
                Heard::Message(Message::Begin(version), _) => {
                    bail!(
                        "the running gateway hands over in another way ({version}) than this one ({VERSION}): restart it"
                    )
                }
                Heard::Message(message, _) => bail!("the running gateway says {message:?}, which makes no sense here"),
                Heard::Nobody => return Err(gone()),
                Heard::Nothing => {}
            }
        }
        Ok(Predecessor { wire, listeners, admin, talk: talk.context("the running gateway has no standard error")? })
    }

    /// Where it writes to, and where this process will write to.
    pub fn talk(&self) -> &File {
        &self.talk
    }

    /// Its socket for a listener whose address is written so.
    pub(in crate::app) fn listener(&mut self, address: SocketAddr) -> Option<OwnedFd> {
        take(&mut self.listeners, address)
    }

    /// Its socket for the admin address, if that is written so.
    pub(in crate::app) fn admin(&mut self, address: SocketAddr) -> Option<OwnedFd> {
        take(&mut self.admin, address)
    }

    /// Says that this process could serve, and waits until it shall.
    ///
    /// # Errors
    /// It is not wanted any more.
    pub(in crate::app) fn prepared(&mut self) -> anyhow::Result<()> {
        // Of addresses that the file does not have any more. Nobody would be let in there.
        self.listeners.clear();
        self.admin.clear();
        self.wire.say(&Message::Prepared(env!("CARGO_PKG_VERSION").to_owned()), None).map_err(|_| gone())?;
        loop {
            match self.wire.hear(None)? {
                Heard::Message(Message::Go, _) => return Ok(()),
                Heard::Message(message, _) => bail!("the running gateway says {message:?}, which makes no sense here"),
                Heard::Nobody => return Err(gone()),
                Heard::Nothing => {}
            }
        }
    }

    /// Says that this process serves.
    ///
    /// # Errors
    /// It is not wanted any more.
    pub(in crate::app) fn serving(&self) -> anyhow::Result<()> {
        rustix::stdio::dup2_stderr(&self.talk)?;
        self.wire.say(&Message::Serving, None).map_err(|_| gone())
    }

    /// Waits until the other process has ended.
    pub(in crate::app) fn wait_for_end(&self) {
        self.wire.wait_for_end();
    }
}

fn take(sockets: &mut VecDeque<(String, OwnedFd)>, address: SocketAddr) -> Option<OwnedFd> {
    let address = address.to_string();
    let index = sockets.iter().position(|(name, _)| *name == address)?;
    sockets.remove(index).map(|(_, socket)| socket)
}

fn gone() -> anyhow::Error {
    anyhow!("the gateway that was to be followed does not want it any more, or has ended")
}
