//! One reading of a document, and how much it may cost.
//!
//! In: a parsed document. Out: its catalogue. References let a small document
//! say the same thing many thousand times, so everything that is looked at is
//! paid for, and what cannot be paid is a remark. Not here: what a path says
//! (`pipe`).

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::json::Twice;
use super::reference::Document;
use super::{Catalogue, Loss, Remark, cut, server};

/// More paths than these are no workspace.
const MAX_PATHS: usize = 20_000;
/// What a reading may cost, in bytes: several times what the largest document without references does.
const MAX_COST: usize = 64 << 20;
/// What it costs to look at something, beside its length.
pub(super) const LOOK: usize = 64;
/// What it costs to keep something.
pub(super) const KEEP: usize = 512;
/// Characters of a text that are kept; less is shown.
const MAX_SUBJECT: usize = 200;
const MAX_WHY: usize = 400;

/// The document makes more of itself than a reading may cost.
#[derive(Debug)]
pub(super) struct Spent;

/// A reading under way.
pub(super) struct Reading<'a> {
    pub(super) document: Document<'a>,
    pub(super) catalogue: Catalogue,
    root: &'a Value,
    left: usize,
}

impl<'a> Reading<'a> {
    pub(super) fn of(root: &'a Value) -> Self {
        Reading { document: Document::new(root), catalogue: Catalogue::default(), root, left: MAX_COST }
    }

    pub(super) fn server(&mut self) {
        match server::of(self.root) {
            Ok(server) => self.catalogue.server = server,
            Err(why) => self.approximated("servers", &why),
        }
    }

    pub(super) fn paths(&mut self, paths: &'a Map<String, Value>, twice: &BTreeSet<String>) {
        for (number, (path, item)) in paths.iter().enumerate() {
            let why = match (number, self.left) {
                (MAX_PATHS, _) => "there are more than any workspace has",
                (_, 0) => "the document says too much",
                _ => "",
            };
            if !why.is_empty() {
                return self.dropped("paths", &format!("{} more are not read: {why}", paths.len() - number));
            }
            if twice.contains(path) {
                self.dropped(path, "the document has this path twice, and nothing says which one is meant");
            } else if let Err(Spent) = self.path(path, item) {
                self.dropped(path, "the document says too much: what `$ref` leads to counts each time");
            }
        }
    }

    /// Keys that stand twice, apart from paths.
    pub(super) fn twice(&mut self, twice: &Twice) {
        for place in &twice.others {
            match place.as_str() {
                "/paths" => self.dropped("paths", "this key stands twice in the document: the first one is used"),
                _ => self.approximated(place, "this key stands twice in the document: the first one is used"),
            }
        }
        if twice.more > 0 {
            let why = format!("{} more keys stand twice: the first ones are used", twice.more);
            self.approximated("document", &why);
        }
    }

    /// Pays for something before it is done.
    pub(super) fn pay(&mut self, cost: usize) -> Result<(), Spent> {
        match self.left.checked_sub(cost) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => {
                self.left = 0;
                Err(Spent)
            }
        }
    }

    pub(super) fn dropped(&mut self, subject: &str, why: &str) {
        self.remark(Loss::Dropped, subject, why);
    }

    pub(super) fn approximated(&mut self, subject: &str, why: &str) {
        self.remark(Loss::Approximated, subject, why);
    }

    fn remark(&mut self, loss: Loss, subject: &str, why: &str) {
        self.left = self.left.saturating_sub(KEEP);
        let (subject, why) = (cut(subject, MAX_SUBJECT).to_owned(), cut(why, MAX_WHY).to_owned());
        self.catalogue.remarks.push(Remark { loss, subject, why });
    }
}
