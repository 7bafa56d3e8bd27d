//! Plays an answer on a connection, literally, and sees to what comes after it.
//!
//! In: [`Steps`]. Out: bytes on the socket, the request's [`Fate`], how the connection ended if it did.
//! Not here: reading requests (`connection`).

use tokio::io::AsyncWriteExt as _;

use super::super::pattern;
use super::Answer;
use super::ConnectionEnd;
use super::Fate;
use super::Then;
use super::connection::Connection;
use super::connection::Facts;
use super::connection::Over;
use super::connection::READ_AHEAD;
use super::connection::ended_by_peer;
use super::connection::fill;
use super::connection::keep;
use super::steps::Step;
use super::steps::Steps;

impl Connection {
    /// Sends the answer to the request of this number.
    pub(super) async fn play(&mut self, answer: &Answer, facts: &Facts, number: usize) -> Result<(), Over> {
        let steps = Steps::of(answer, facts.to_head);
        for step in steps.steps {
            if let Err(over) = self.step(step).await {
                self.set_fate(number, Fate::HungUp);
                return Err(over);
            }
        }
        let close = facts.wants_close && steps.then == Then::KeepAlive;
        let then = if close { Then::Close } else { steps.then };
        if !(steps.cut && then == Then::Stall) {
            self.set_fate(number, if steps.cut { Fate::Aborted } else { Fate::Answered });
        }
        self.aftermath(then, number).await
    }

    async fn aftermath(&mut self, then: Then, number: usize) -> Result<(), Over> {
        match then {
            Then::Close => Err(Over(ConnectionEnd::ClosedByOrigin)),
            Then::CloseOnReuse => Err(Over(self.next_bytes().await.unwrap_or(ConnectionEnd::ClosedByOrigin))),
            Then::KeepAlive => Ok(()),
            Then::Reset => Err(Over(ConnectionEnd::ResetByOrigin)),
            Then::ResetOnReuse => Err(Over(self.next_bytes().await.unwrap_or(ConnectionEnd::ResetByOrigin))),
            Then::Stall => {
                let end = self.swallow().await;
                self.shared.seen.update(|seen| {
                    if let Some(request) = seen.request_mut(number).filter(|request| request.fate == Fate::Pending) {
                        request.fate = Fate::HungUp;
                    }
                });
                Err(Over(end))
            }
        }
    }

    async fn step(&mut self, step: Step) -> Result<(), Over> {
        match step {
            Step::Bytes(bytes) => self.write(&bytes).await,
            Step::Delay(delay) => self.unless_hung_up(tokio::time::sleep(delay)).await,
            Step::Drip(bytes, delay) => {
                for byte in &bytes {
                    self.unless_hung_up(tokio::time::sleep(delay)).await?;
                    self.write(&[*byte]).await?;
                }
                Ok(())
            }
            Step::Pattern { mut offset, length } => {
                let end = offset + length;
                while offset < end {
                    let run = pattern::slice(offset, end - offset);
                    self.write(run).await?;
                    offset += run.len() as u64;
                }
                Ok(())
            }
            Step::Wait(gate) => self.unless_hung_up(gate.pass()).await,
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Over> {
        self.stream.write_all(bytes).await.map_err(|error| Over(ended_by_peer(&error)))
    }

    /// Waits, and meanwhile reads ahead, since that is the only way to learn that the peer is gone.
    async fn unless_hung_up(&mut self, pause: impl Future<Output = ()>) -> Result<(), Over> {
        tokio::pin!(pause);
        loop {
            let room = self.buffer.len() < READ_AHEAD;
            tokio::select! {
                biased;
                () = &mut pause => return Ok(()),
                end = fill(&mut self.stream, &mut self.buffer), if room => {
                    if let Some(end) = end {
                        return Err(Over(end));
                    }
                }
            }
        }
    }

    /// Waits until something arrives, or until the peer ends the connection.
    async fn next_bytes(&mut self) -> Option<ConnectionEnd> {
        let end = if self.buffer.is_empty() { fill(&mut self.stream, &mut self.buffer).await } else { None };
        self.keep_stray();
        end
    }

    /// Keeps what arrives in the log until the peer ends the connection.
    async fn swallow(&mut self) -> ConnectionEnd {
        loop {
            self.keep_stray();
            if let Some(end) = fill(&mut self.stream, &mut self.buffer).await {
                return end;
            }
        }
    }

    /// Moves what was read, but is part of no request, into the log.
    pub(super) fn keep_stray(&mut self) {
        let arrived = self.buffer.split();
        if !arrived.is_empty() {
            self.shared.seen.update(|seen| keep(&mut seen.connections[self.id].stray, READ_AHEAD, &arrived));
        }
    }

    fn set_fate(&self, number: usize, fate: Fate) {
        self.shared.seen.update(|seen| {
            if let Some(request) = seen.request_mut(number) {
                request.fate = fate;
            }
        });
    }
}
