//! The names of the pipes that a document describes, and nothing else of it.
//!
//! In: an OpenAPI document, JSON. Out: names. What is below the paths is not
//! read, so that no document costs more than its bytes. Not here: what the pipes
//! take (`Catalogue`).

use std::collections::BTreeSet;

use super::json::{self, Depth};
use super::{check_version, paths_of, pipe};

/// The pipes of a document by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Every pipe that a path names, those included that no route could take over.
    pub pipes: BTreeSet<String>,
    /// How many paths there are, whatever they are of.
    pub paths: usize,
}

impl Names {
    /// Reads a document.
    ///
    /// # Errors
    /// In one sentence, where it is no OpenAPI 3 document in JSON.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let document = json::parse(bytes, Depth::Outline)?.value;
        check_version(&document)?;
        let paths = paths_of(&document)?;
        Ok(Names { pipes: paths.keys().filter_map(|path| pipe::name_of(path)).collect(), paths: paths.len() })
    }
}
