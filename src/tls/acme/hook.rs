//! Runs the operator's program that sets and removes records in DNS.
//!
//! In: a record. Out: it stands, or why it does not, in the program's own words.
//! No shell is involved, and it may not run for ever. Not here: whether the
//! record can be seen by others: the program returns when it can.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::clock::Clock;

use super::issuer::Hook;

/// A record has to spread to all servers of its zone, which takes a minute or two at some providers.
const TIME: Duration = Duration::from_secs(300);
/// Of what the program says, so much is repeated.
const TOLD: usize = 300;

/// What the program is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Cleanup,
    Present,
}

impl Hook {
    /// Runs the program.
    ///
    /// # Errors
    /// In words that stand behind a colon, why the record cannot be there.
    pub(super) async fn run(&self, clock: &Clock, action: Action, name: &str, value: &str) -> Result<(), String> {
        let word = match action {
            Action::Cleanup => "cleanup",
            Action::Present => "present",
        };
        let program = self.program.display();
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).args([word, name, value]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let child = command.spawn().map_err(|error| format!("{program} cannot be started: {error}"))?;
        let output = tokio::select! {
            output = child.wait_with_output() => output.map_err(|error| format!("{program} got lost: {error}"))?,
            () = clock.sleep(TIME) => {
                return Err(format!("{program} {word} {name} did not end within {} s", TIME.as_secs()));
            }
        };
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.trim();
        // What went wrong stands at the end.
        let from = said.char_indices().rev().nth(TOLD - 1).map_or(0, |(at, _)| at);
        let said = said.get(from..).unwrap_or_default();
        let said = if said.is_empty() { "it says nothing" } else { said };
        Err(format!("{program} {word} {name} ended with {}: {said}", output.status))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::TestClock;

    fn shell(script: &str) -> Hook {
        Hook { program: "/bin/sh".into(), arguments: vec!["-c".to_owned(), script.to_owned(), "hook".to_owned()] }
    }

    #[tokio::test]
    async fn a_hook_is_told_what_to_do_in_arguments() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("said");
        let hook = shell(&format!("printf '%s|' \"$@\" > {}", file.display()));
        let clock = Clock::system();
        hook.run(&clock, Action::Present, "_acme-challenge.a.example", "$(id) v").await.unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "present|_acme-challenge.a.example|$(id) v|");
    }

    #[tokio::test]
    async fn a_hook_that_fails_is_quoted() {
        let clock = Clock::system();
        let why = shell("echo 'no such zone' >&2; exit 3").run(&clock, Action::Cleanup, "n", "v").await.unwrap_err();
        assert!(why.contains("cleanup n ended with exit status: 3: no such zone"), "{why}");
        let why = shell("yes é | head -c 100000 >&2; exit 1").run(&clock, Action::Present, "n", "v").await.unwrap_err();
        assert!(why.chars().count() < 400, "{why}");
        let missing = Hook { program: "/nowhere/dns".into(), arguments: vec![] };
        let why = missing.run(&clock, Action::Present, "n", "v").await.unwrap_err();
        assert!(why.contains("/nowhere/dns cannot be started"), "{why}");
    }

    #[tokio::test]
    async fn a_hook_that_hangs_is_ended() {
        let clock = TestClock::new();
        let hook = shell("exec sleep 1000");
        let (running, turned) = (clock.clock(), async {
            while clock.sleepers() == 0 {
                tokio::task::yield_now().await;
            }
            clock.advance(TIME);
            std::future::pending::<()>().await;
        });
        let outcome = tokio::select! {
            outcome = hook.run(&running, Action::Present, "n", "v") => outcome,
            () = turned => unreachable!("it never ends"),
        };
        assert!(outcome.unwrap_err().contains("did not end within 300 s"));
    }
}
