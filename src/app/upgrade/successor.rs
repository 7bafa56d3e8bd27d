//! The next process, as the gateway that runs sees it.
//!
//! In: a program. Out: a process that serves on our sockets, or why there is
//! none. Not here: what becomes of this process then (`app`).

use std::ffi::OsString;
use std::fs::Metadata;
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::clock::Clock;
use crate::config::Config;
use crate::proxy::sockets::Sockets;

use super::VARIABLE;
use super::wire::{Heard, Message, VERSION, Wire};

/// Between two looks whether this process is to end.
const LOOK: Duration = Duration::from_millis(100);
/// What the next process says before it serves: the end of it is told.
const MOST_TALK: usize = 8 << 10;

/// How this process was started, and how the next one is.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
}

/// What the next process gets.
#[derive(Clone, Debug)]
pub(in crate::app) struct Estate {
    /// The addresses as the file has them, and the sockets.
    pub(in crate::app) listeners: (Vec<String>, Arc<Sockets>),
    pub(in crate::app) admin: (String, Arc<Sockets>),
}

impl Estate {
    /// What a gateway with this configuration has.
    pub(in crate::app) fn of(config: &Config, sockets: &Arc<Sockets>, admin: &Arc<Sockets>) -> Self {
        let names = config.listeners.iter().map(|listener| listener.address.to_string()).collect();
        Estate { listeners: (names, Arc::clone(sockets)), admin: (config.admin.address.to_string(), Arc::clone(admin)) }
    }
}

/// A process that may go on.
#[derive(Debug)]
pub(super) struct Successor {
    child: Child,
    wire: Wire,
    /// What it says on standard error, to its end.
    talk: Receiver<String>,
    clock: Clock,
}

/// Why there is none.
#[derive(Debug)]
pub(super) enum Failure {
    /// This process is to end.
    Stopping,
    /// In a sentence.
    Told(String),
}

impl Successor {
    /// Starts it, and gives it what it needs.
    pub(super) fn start(recipe: &Recipe, estate: &Estate, clock: &Clock) -> Result<Self, Failure> {
        let program = recipe.program.display();
        let told = |error: std::io::Error| Failure::Told(format!("`{program}` cannot be started: {error}"));
        let (wire, theirs) = Wire::pair().map_err(told)?;
        let (mut reader, writer) = std::io::pipe().map_err(told)?;
        let mut command = Command::new(&recipe.program);
        command.args(&recipe.arguments).env(VARIABLE, "stdin").stdin(Stdio::from(theirs)).stderr(Stdio::from(writer));
        let child = command.spawn().map_err(told)?;
        // Our copies of what it was given: its end would not be noticed.
        drop(command);
        let (tell, talk) = sync_channel(1);
        let listen = move || {
            let (mut all, mut piece) = (Vec::new(), [0; 4096]);
            while let Ok(length @ 1..) = reader.read(&mut piece) {
                let piece = piece.get(..length).unwrap_or_default();
                // Whoever reads our own talk may be gone.
                drop(std::io::stderr().write_all(piece));
                all.extend_from_slice(piece);
                all.drain(..all.len().saturating_sub(MOST_TALK));
            }
            drop(tell.send(String::from_utf8_lossy(&all).trim().to_owned()));
        };
        // One that cannot be listened to would wait for us.
        std::thread::Builder::new().name("successor".to_owned()).spawn(listen).map_err(told)?;
        let successor = Successor { child, wire, talk, clock: clock.clone() };
        match successor.hand_over(estate) {
            Ok(()) => Ok(successor),
            Err(error) => Err(successor.failed(&format!("`{program}` takes no sockets ({error})"))),
        }
    }

    fn hand_over(&self, estate: &Estate) -> std::io::Result<()> {
        let (names, sockets) = &estate.listeners;
        for (name, socket) in names.iter().zip(sockets.copies()?) {
            self.wire.say(&Message::Listener(name.clone()), Some(socket.as_fd()))?;
        }
        let (name, sockets) = &estate.admin;
        for socket in sockets.copies()? {
            self.wire.say(&Message::Admin(name.clone()), Some(socket.as_fd()))?;
        }
        self.wire.say(&Message::Talk, Some(std::io::stderr().as_fd()))?;
        self.wire.say(&Message::Begin(VERSION), None)
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it could serve; its version.
    pub(super) fn prepared(self, within: Duration, is_stopping: impl Fn() -> bool) -> Result<(Self, String), Failure> {
        match self.next(within, is_stopping) {
            Ok(Some(Message::Prepared(version))) => Ok((self, version)),
            Ok(Some(message)) => Err(self.failed(&format!("it says {message:?}, which makes no sense here"))),
            Ok(None) => Err(self.failed(&format!("it was not ready within {within:?}"))),
            Err(Failure::Stopping) => Err(self.abandoned()),
            Err(Failure::Told(why)) => Err(self.failed(&why)),
        }
    }

    /// Lets it serve, and waits until it does.
    pub(super) fn go(self, within: Duration) -> Result<Self, Failure> {
        if let Err(error) = self.wire.say(&Message::Go, None) {
            return Err(self.failed(&format!("it does not listen ({error})")));
        }
        // No looking whether this process is to end: the other one may be serving already.
        match self.next(within, || false) {
            Ok(Some(Message::Serving)) => Ok(self),
            Ok(Some(message)) => Err(self.failed(&format!("it says {message:?}, which makes no sense here"))),
            Ok(None) => Err(self.failed(&format!("it did not serve within {within:?}"))),
            Err(Failure::Stopping) => Err(self.abandoned()),
            Err(Failure::Told(why)) => Err(self.failed(&why)),
        }
    }

    /// Waits for ever: the other one notices that this process has ended by the end of the wire.
    pub(super) fn outlive(self) -> ! {
        loop {
            std::thread::park();
        }
    }

    fn next(&self, within: Duration, is_stopping: impl Fn() -> bool) -> Result<Option<Message>, Failure> {
        let end = self.clock.now() + within;
        while self.clock.now() < end {
            match self.wire.hear(Some(LOOK)) {
                Ok(Heard::Message(message, _)) => return Ok(Some(message)),
                Ok(Heard::Nothing) if is_stopping() => return Err(Failure::Stopping),
                Ok(Heard::Nothing) => {}
                Ok(Heard::Nobody) => return Err(Failure::Told("it ended before it served".to_owned())),
                Err(error) => return Err(Failure::Told(format!("what it says cannot be understood ({error})"))),
            }
        }
        Ok(None)
    }

    /// Has it end as this process does: it serves already, and may finish the requests that it has.
    pub(super) fn dismissed(self) -> Failure {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        // One that has ended already needs nothing.
        _ = pid.map(|pid| kill_process(pid, Signal::TERM));
        Failure::Stopping
    }

    fn abandoned(mut self) -> Failure {
        drop((self.child.kill(), self.child.wait()));
        Failure::Stopping
    }

    /// Ends it, and tells why with what it said itself.
    fn failed(mut self, why: &str) -> Failure {
        // Whoever is ending is let end, so that its last words are not cut off.
        let end = self.clock.now() + LOOK * 10;
        let mut status = None;
        while status.is_none() && self.clock.now() < end {
            std::thread::sleep(LOOK / 20);
            status = self.child.try_wait().ok().flatten();
        }
        drop(self.child.kill());
        let ended = self.child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
        let ended = if status.is_some() { format!(" ({ended})") } else { String::new() };
        let said = self.talk.recv_timeout(LOOK * 10).unwrap_or_default();
        let said = if said.is_empty() { "it said nothing".to_owned() } else { format!("it said:\n{said}") };
        Failure::Told(format!("the new process did not come up: {why}{ended}; {said}"))
    }
}

/// Whether a program that somebody named over the admin address may be run: whoever has the token may reload a gateway, and
/// must not thereby become its user.
pub(super) fn may_be_run(program: &Path) -> Result<(), String> {
    let shown = program.display();
    if !program.is_absolute() {
        return Err(format!("`{shown}`: a program is named by its whole path, from / on"));
    }
    let real = std::fs::canonicalize(program).map_err(|error| format!("`{shown}`: {error}"))?;
    let found = std::fs::metadata(&real).map_err(|error| format!("`{shown}`: {error}"))?;
    let us = rustix::process::geteuid().as_raw();
    let is_foreign = |found: &Metadata| found.uid() != 0 && found.uid() != us;
    if !found.is_file() || found.mode() & 0o111 == 0 {
        return Err(format!("`{shown}` is no program"));
    }
    if is_foreign(&found) {
        return Err(format!(
            "`{shown}` belongs to another user: only programs of root, and of the gateway's user, are run"
        ));
    }
    if found.mode() & 0o022 != 0 {
        return Err(format!("`{shown}` can be changed by other users: chmod go-w it"));
    }
    for folder in real.ancestors().skip(1) {
        let found = std::fs::metadata(folder).map_err(|error| format!("`{}`: {error}", folder.display()))?;
        // In one with the sticky bit nobody replaces what is another's.
        if is_foreign(&found) || found.mode() & 0o1002 == 0o002 {
            return Err(format!("`{shown}` can be replaced by other users, in {}", folder.display()));
        }
    }
    Ok(())
}
