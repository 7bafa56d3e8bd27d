//! What the running gateway and the next one say to each other, and the sockets
//! that go along with it.
//!
//! In: messages. Out: the same in the other process. Not here: what follows from
//! them. The two processes share a pair of sockets and nothing else: no path that
//! a third could take, and the end of either is noticed at once by the other.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use serde::{Deserialize, Serialize};

/// Two gateways of different versions understand each other if they have this in common.
pub(super) const VERSION: u32 = 1;
/// Bytes of a message: none has more than an address or a version.
const MOST: usize = 1024;

/// One end.
#[derive(Debug)]
pub(super) struct Wire(OwnedFd);

/// What is said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Message {
    /// By the one that runs: this comes with the socket of a listener, which is written so in its file.
    Listener(String),
    /// By the one that runs: this comes with the socket of the admin address, which is written so in its file.
    Admin(String),
    /// By the one that runs: this comes with its standard error.
    Talk,
    /// By the one that runs: that was all, and it speaks this version.
    Begin(u32),
    /// By the next one: it could serve, and is this version of the program.
    Prepared(String),
    /// By the one that runs: the next one shall serve.
    Go,
    /// By the next one: it serves.
    Serving,
}

/// What came.
#[derive(Debug)]
pub(super) enum Heard {
    /// A message, with a descriptor if one came along.
    Message(Message, Option<OwnedFd>),
    /// The other process has ended, or does not want to go on.
    Nobody,
    /// Nothing yet.
    Nothing,
}

impl Wire {
    /// Both ends.
    pub(super) fn pair() -> io::Result<(Wire, OwnedFd)> {
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Wire(ours), theirs))
    }

    /// The end that this process was given.
    pub(super) fn of(end: OwnedFd) -> Self {
        Wire(end)
    }

    /// Says something, and sends a descriptor along.
    pub(super) fn say(&self, message: &Message, along: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let text = serde_json::to_vec(message)?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let along: Vec<BorrowedFd<'_>> = along.into_iter().collect();
        if !along.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&along)) {
            return Err(io::Error::other("there is no room for a descriptor"));
        }
        sendmsg(&self.0, &[IoSlice::new(&text)], &mut control, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// What the other one says within this time; none: whenever that is.
    pub(super) fn hear(&self, within: Option<Duration>) -> io::Result<Heard> {
        set_socket_timeout(&self.0, Timeout::Recv, within)?;
        let mut text = [0; MOST];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let length = match recvmsg(&self.0, &mut [IoSliceMut::new(&mut text)], &mut control, RecvFlags::CMSG_CLOEXEC) {
            Ok(received) => received.bytes,
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return Ok(Heard::Nothing),
            Err(rustix::io::Errno::CONNRESET) => return Ok(Heard::Nobody),
            Err(error) => return Err(error.into()),
        };
        let along = control.drain().find_map(|message| {
            let RecvAncillaryMessage::ScmRights(mut descriptors) = message else { return None };
            descriptors.next()
        });
        match text.get(..length).unwrap_or_default() {
            [] => Ok(Heard::Nobody),
            text => Ok(Heard::Message(serde_json::from_slice(text)?, along)),
        }
    }

    /// Waits until the other process has ended.
    pub(super) fn wait_for_end(&self) {
        while !matches!(self.hear(None), Ok(Heard::Nobody) | Err(_)) {}
    }

    /// Whether it can be used at all.
    pub(super) fn is_a_wire(&self) -> bool {
        rustix::net::sockopt::socket_type(self.0.as_fd()).is_ok_and(|kind| kind == SocketType::SEQPACKET)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_socket_goes_along_with_what_is_said_and_the_end_of_the_other_is_heard() {
        let (ours, theirs) = Wire::pair().unwrap();
        let theirs = Wire::of(theirs);
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        ours.say(&Message::Listener("a".to_owned()), Some(socket.as_fd())).unwrap();
        ours.say(&Message::Begin(VERSION), None).unwrap();
        let Heard::Message(Message::Listener(name), Some(copy)) = theirs.hear(None).unwrap() else { panic!() };
        assert_eq!(name, "a");
        assert_eq!(TcpListener::from(copy).local_addr().unwrap(), socket.local_addr().unwrap());
        assert!(matches!(theirs.hear(None).unwrap(), Heard::Message(Message::Begin(VERSION), None)));
        assert!(matches!(theirs.hear(Some(Duration::from_millis(1))).unwrap(), Heard::Nothing));
        assert!(theirs.is_a_wire());
        drop(ours);
        assert!(matches!(theirs.hear(None).unwrap(), Heard::Nobody));
        theirs.wait_for_end();
        assert!(theirs.say(&Message::Serving, None).is_err(), "and no signal ends this process");
    }
}
