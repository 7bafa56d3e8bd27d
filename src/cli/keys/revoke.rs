//! `tollgate keys revoke -f keys.yaml ID`: takes a key back.

use std::path::Path;

use anyhow::anyhow;

use crate::config::keys::{KeyFile, Unchangeable};
use crate::config::scalar::{KeyHash, KeyId, api_key};
use crate::config::section::keys::KeyRecord;

use super::super::{Ending, say};
use super::file::{Change, Missing, change};
use super::{Which, say_when};

/// So many ids are named where none is the one.
const NAMED: usize = 3;
/// Ids that differ in more characters are no slips of each other.
const NEAR: usize = 4;

#[derive(Debug, clap::Args)]
#[command(before_help = "\
Examples:
  tollgate keys revoke -f keys.yaml k7GqPz3mXw9A
  tollgate keys revoke -c tollgate.yaml k7GqPz3mXw9A
  tollgate keys revoke -f keys.yaml k7GqPz3mXw9A --delete")]
pub(super) struct Arguments {
    #[command(flatten)]
    which: Which,
    /// The id of the key, as `keys list` shows it; the whole key will do
    // Kept as it is: a value that is refused would be shown.
    #[arg(value_name = "ID")]
    key: String,
    /// Remove the record instead of keeping it with `enabled: false`
    #[arg(long)]
    delete: bool,
}

/// What came of it.
enum Found {
    /// It was revoked before.
    Already(KeyId),
    Deleted(KeyId),
    /// Why there is no such key.
    Nothing(String),
    Revoked(KeyId),
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Ending> {
    let chosen = match arguments.which.choose() {
        Ok(chosen) => chosen,
        Err(ending) => return Ok(ending),
    };
    let file = chosen.file.as_path();
    let found = change(file, Missing::Fails, |keys| decide(keys, arguments, file))?;
    match found {
        Err(ending) => return Ok(ending),
        Ok(Found::Nothing(why)) => {
            say(&format!("tollgate: {why}"));
            return Ok(Ending::Problems);
        }
        Ok(Found::Already(id)) => {
            say(&format!("The key {id} was revoked before; nothing was changed."));
            return Ok(Ending::Success);
        }
        Ok(Found::Deleted(id)) => say(&format!("Revoked the key {id}: its record is no longer in {}.", file.display())),
        Ok(Found::Revoked(id)) => {
            say(&format!("Revoked the key {id}: its record in {} says `enabled: false`.", file.display()));
        }
    }
    say_when();
    Ok(Ending::Success)
}

fn decide(keys: &KeyFile, arguments: &Arguments, file: &Path) -> anyhow::Result<Change<Found>> {
    let record = match find(keys.records(), &arguments.key, file) {
        Ok(record) => record,
        Err(why) => return Ok(Change::Leave(Found::Nothing(why))),
    };
    let id = record.id.clone();
    let text = match arguments.delete {
        true => keys.removing(&id),
        false if !record.enabled => return Ok(Change::Leave(Found::Already(id))),
        false => keys.revoking(&id),
    };
    let text = text.map_err(|Unchangeable| {
        let by_hand = if arguments.delete { "remove it" } else { "write `enabled: false` into it" };
        anyhow!(
            "the record {id} of {} is not laid out so that it alone can be changed: {by_hand} by hand; nothing was \
             changed",
            file.display()
        )
    })?;
    Ok(Change::Write(text, if arguments.delete { Found::Deleted(id) } else { Found::Revoked(id) }))
}

/// The record that `key` names, by its id or whole. What is no id is never quoted: it may be most of a key.
fn find<'r>(records: &'r [KeyRecord], key: &str, file: &Path) -> Result<&'r KeyRecord, String> {
    let file = file.display();
    if let Some(parts) = api_key::parse(key) {
        let hash = KeyHash::of(key);
        let found = records.iter().find(|record| record.sha256 == hash);
        return found.ok_or_else(|| format!("{file} has no record of this key, whose id is {}", parts.id));
    }
    if !api_key::find(key).is_empty() {
        return Err("this looks like a key, and its checksum is wrong: copy it again, or give its id".to_owned());
    }
    let Ok(id) = key.parse::<KeyId>() else {
        let near = nearest(records, key);
        return Err(format!("this is not the id of a key, which has 12 letters and digits{}", hint(&near)));
    };
    let found = records.iter().find(|record| record.id == id);
    found.ok_or_else(|| format!("{file} has no key {id}{}", hint(&nearest(records, key))))
}

fn hint(near: &[&str]) -> String {
    match near {
        [] => "; `tollgate keys list` shows those that there are".to_owned(),
        near => format!("; did you mean {}?", near.join(" or ")),
    }
}

fn nearest<'r>(records: &'r [KeyRecord], key: &str) -> Vec<&'r str> {
    if key.is_empty() || key.len() > 2 * NEAR + 12 {
        return Vec::new();
    }
    let distance = |id: &'r str| match id.starts_with(key) {
        true => (0, id),
        false => (strsim::damerau_levenshtein(id, key), id),
    };
    let mut near: Vec<_> = records.iter().map(|record| distance(record.id.as_str())).collect();
    near.retain(|(distance, _)| *distance <= NEAR);
    near.sort_unstable();
    near.into_iter().take(NAMED).map(|(_, id)| id).collect()
}
