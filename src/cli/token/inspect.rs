//! `tollgate token inspect FILE`: what a credential says, believed or not.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::clock::Clock;
use crate::jose::compact::Compact;

use super::super::{Ending, print, say};
use super::look::{Checksum, Look};
use super::{read, steers};

#[derive(Debug, clap::Args)]
#[command(before_help = "\
Examples:
  tollgate token inspect token.txt
  tollgate token inspect - < token.txt")]
pub(super) struct Arguments {
    /// The file with the token or key; `-` is the standard input. It is never an argument: the list of processes shows those
    #[arg(value_name = "FILE")]
    credential: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Ending> {
    let text = match read(&arguments.credential, "the token") {
        Ok(text) => text,
        Err(error) => return Ok(Ending::could_not(&error)),
    };
    let look = Look::at(&text);
    let now = Clock::system().wall();
    say(&format!("This is {}.", look.kind()));
    if !matches!(look, Look::Encrypted | Look::Unknown) {
        say("It is shown as it is, and not verified: `tollgate token verify` does that.");
    }
    let said = match &look {
        Look::ApiKey { prefix, id, checksum } => {
            json!({ "prefix": prefix, "id": id, "checksum": if *checksum == Checksum::Right { "right" } else { "wrong" } })
        }
        Look::Static(says) => {
            let public = ["u", "id", "host"].map(|name| (name.to_owned(), says.get(name).cloned().unwrap_or_default()));
            Value::Object(public.into_iter().filter(|(_, value)| !value.is_null()).collect())
        }
        Look::Jwt(jwt) => {
            jwt.times(now).iter().for_each(|line| say(line));
            jwt.warnings(now).iter().for_each(|line| say(&format!("warning: {line}")));
            if let Err(why) = Compact::parse(&text) {
                say(&format!("warning: a gateway refuses it as it stands: {why}"));
            }
            json!({ "header": jwt.header, "claims": jwt.claims })
        }
        Look::Encrypted | Look::Unknown => return Ok(Ending::Problems),
    };
    print(&harmless(&serde_json::to_string_pretty(&said)?));
    Ok(Ending::Success)
}

/// The same JSON, in which nothing steers a terminal: such characters stand in its texts only.
fn harmless(json: &str) -> String {
    let escaped = |c: char| match c {
        '\n' => c.to_string(),
        _ if c.is_control() || steers(c) => format!("\\u{:04x}", u32::from(c)),
        _ => c.to_string(),
    };
    json.chars().map(escaped).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_token_says_cannot_steer_a_terminal() {
        let said = json!({ "a\u{1b}[2J": "\u{9b}31m\u{202e}\u{7f}\n" });
        let shown = harmless(&serde_json::to_string_pretty(&said).unwrap());
        assert!(shown.chars().all(|c| c == '\n' || (!c.is_control() && !steers(c))), "{shown:?}");
        assert_eq!(serde_json::from_str::<Value>(&shown).unwrap(), said);
    }
}
