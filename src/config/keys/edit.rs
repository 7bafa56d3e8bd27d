//! A file of keys that a program changes without disturbing what people wrote.
//!
//! In: the text of `keys.yaml`. Out: the text with one record more, less, or
//! revoked, every other byte as it was. A new text is read again before it is
//! given out: it says what was meant, or the change is declined. Not here:
//! writing it to disk (`cli::keys`).

use std::fmt;
use std::ops::Range;
use std::path::Path;

use super::{Listed, Named, keys_of, text_in, text_of};
use crate::config::decode::encode;
use crate::config::document::{Document, Node, NodeKind};
use crate::config::issue::Issues;
use crate::config::scalar::KeyId;
use crate::config::section::keys::KeyRecord;
use crate::config::show::one_line;
use crate::config::touched::Reader;

/// A record whose end is not found within this many lines is none that was written here.
const MAX_LINES: usize = 20;
/// What Windows' editors begin a file with; no position counts it.
const MARK: char = '\u{feff}';

/// A file of keys in which nothing is wrong.
pub struct KeyFile {
    name: String,
    /// Without [`MARK`].
    text: String,
    has_mark: bool,
    document: Document,
    records: Vec<KeyRecord>,
}

/// The file is laid out so that this change would touch more than it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unchangeable;

// Without the text.
impl fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let KeyFile { name, records, text: _, has_mark: _, document: _ } = self;
        f.debug_struct("KeyFile").field("name", name).field("records", records).finish_non_exhaustive()
    }
}

impl KeyFile {
    /// The file at `path`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(path: &Path) -> Result<Self, Issues> {
        let named = Named { place: None, order: 0 };
        let help = "`tollgate keys create -f FILE` makes it with its first key";
        let text = text_of(path, &named, &mut Reader::default(), help)?;
        Self::of(&path.display().to_string(), &text)
    }

    /// As [`KeyFile::read`], of bytes that were read from the file at `path`.
    ///
    /// # Errors
    /// As for [`KeyFile::read`].
    pub fn of_bytes(path: &Path, bytes: Vec<u8>) -> Result<Self, Issues> {
        Self::of(&path.display().to_string(), &text_in(path, 0, bytes)?)
    }

    /// As [`KeyFile::read`], of the text of a file called `name`.
    ///
    /// # Errors
    /// As for [`KeyFile::read`].
    pub fn of(name: &str, text: &str) -> Result<Self, Issues> {
        let body = text.strip_prefix(MARK).unwrap_or(text);
        let Listed { document, items, issues } = keys_of(name, 0, body);
        match issues.is_empty() {
            true => Ok(KeyFile {
                name: name.to_owned(),
                text: body.to_owned(),
                has_mark: body.len() < text.len(),
                document,
                records: super::records(items),
            }),
            false => Err(issues),
        }
    }

    /// The records, in file order.
    pub fn records(&self) -> &[KeyRecord] {
        &self.records
    }

    /// The text with a record more, as the last line.
    ///
    /// # Errors
    /// A line at the end would not be one of the list.
    pub fn adding(&self, record: &KeyRecord) -> Result<String, Unchangeable> {
        let line = format!("- {}", one_line(&encode(record).value));
        let new = match &self.document.root.kind {
            NodeKind::List(items) => match items.first() {
                None => self.instead_of_brackets(&line).ok_or(Unchangeable)?,
                Some(first) => self.with_line(&format!("{}{line}", self.indentation_of(first))),
            },
            NodeKind::Broken | NodeKind::Map(_) | NodeKind::Null | NodeKind::Scalar(_) => self.with_line(&line),
        };
        self.checked(new, self.records.iter().chain([record]))
    }

    /// The text with `enabled: false` in this record.
    ///
    /// # Errors
    /// The record does not stand on its own, or is not there.
    pub fn revoking(&self, id: &KeyId) -> Result<String, Unchangeable> {
        let (index, node) = self.find(id)?;
        let NodeKind::Map(entries) = &node.kind else { return Err(Unchangeable) };
        let new = match entries.entry("enabled") {
            Some((_, value)) => self.replaced(value.span.clone(), "false"),
            None if self.text.get(node.span.start..).is_some_and(|text| text.starts_with('{')) => {
                let behind = node.span.start + 1;
                self.replaced(behind..behind, " enabled: false,")
            }
            None => {
                let start = entries.first().ok_or(Unchangeable)?.0.span.start;
                let before = self.text.get(self.line_start(start)..start).unwrap_or_default();
                let indentation = " ".repeat(before.chars().count());
                self.replaced(start..start, &format!("enabled: false\n{indentation}"))
            }
        };
        let mut records = self.records.clone();
        records.get_mut(index).ok_or(Unchangeable)?.enabled = false;
        self.checked(new, records.iter())
    }

    /// The text without the lines of this record.
    ///
    /// # Errors
    /// As for [`KeyFile::revoking`].
    pub fn removing(&self, id: &KeyId) -> Result<String, Unchangeable> {
        let (index, node) = self.find(id)?;
        let start = self.line_start(node.span.start);
        let mut end = node.span.end;
        for _ in 0..MAX_LINES {
            // Where a record ends, brackets included, shows when the rest is read.
            end = self.line_end(end);
            let others = self.records.iter().enumerate().filter(|(at, _)| *at != index).map(|(_, record)| record);
            if let Ok(new) = self.checked(self.replaced(start..end, ""), others) {
                return Ok(new);
            }
            if end >= self.text.len() {
                break;
            }
        }
        Err(Unchangeable)
    }

    fn find(&self, id: &KeyId) -> Result<(usize, &Node), Unchangeable> {
        let index = self.records.iter().position(|record| record.id == *id).ok_or(Unchangeable)?;
        let node = self.document.root.child(&index.to_string()).ok_or(Unchangeable)?;
        Ok((index, node))
    }

    /// `new`, if that is what it says.
    fn checked<'a>(&self, new: String, wanted: impl Iterator<Item = &'a KeyRecord>) -> Result<String, Unchangeable> {
        let is_wanted = Self::of(&self.name, &new).is_ok_and(|file| wanted.eq(file.records.iter()));
        match (is_wanted, self.has_mark) {
            (false, _) => Err(Unchangeable),
            (true, false) => Ok(new),
            (true, true) => Ok(format!("{MARK}{new}")),
        }
    }

    fn with_line(&self, line: &str) -> String {
        let is_open = !self.text.is_empty() && !self.text.ends_with('\n');
        format!("{}{}{line}\n", self.text, if is_open { "\n" } else { "" })
    }

    fn replaced(&self, span: Range<usize>, by: &str) -> String {
        let (before, behind) = (self.text.get(..span.start), self.text.get(span.end..));
        [before.unwrap_or_default(), by, behind.unwrap_or_default()].concat()
    }

    /// An empty list is written `[]`.
    fn instead_of_brackets(&self, line: &str) -> Option<String> {
        let start = self.document.root.span.start;
        let behind = self.text.get(start..)?.strip_prefix('[')?;
        let inside = behind.split_once(']')?.0;
        Some(self.replaced(start..start + inside.len() + 2, line))
    }

    /// The blanks before the dash of an item.
    fn indentation_of(&self, item: &Node) -> &str {
        let before = self.text.get(self.line_start(item.span.start)..item.span.start).unwrap_or_default();
        before.split_once('-').map_or("", |(blanks, _)| blanks)
    }

    fn line_start(&self, at: usize) -> usize {
        self.text.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |newline| newline + 1)
    }

    /// Behind the line break that ends a line.
    fn line_end(&self, at: usize) -> usize {
        self.text.get(at..).and_then(|behind| behind.find('\n')).map_or(self.text.len(), |newline| at + newline + 1)
    }
}
