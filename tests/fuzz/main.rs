//! What fuzzing has found worth keeping, tried in a moment: every property of `properties/` with every input of `corpus/`.
//!
//! Inventing more is `make fuzz`, whose finds are put into `corpus/` and fail here until they are mended.
#![expect(clippy::expect_used, clippy::panic, reason = "a test fails loudly")]

#[expect(unreachable_pub, reason = "targets use them, too")]
mod properties;

use std::collections::BTreeSet;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use properties::ALL;

/// More files than these of one property make the short form long.
const MOST: usize = 80;

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files
}

#[test]
fn every_property_holds_for_what_is_kept() {
    let mut wrong = Vec::new();
    for (name, holds) in ALL {
        let files = files(&here().join("corpus").join(name));
        assert!((10..=MOST).contains(&files.len()), "{name} has {} files, not 10 to {MOST}", files.len());
        for file in files {
            let bytes = std::fs::read(&file).expect("a file");
            if catch_unwind(|| holds(&bytes)).is_err() {
                wrong.push(file);
            }
        }
    }
    assert!(wrong.is_empty(), "does not hold for {wrong:#?}");
}

#[test]
fn every_property_has_a_target_and_a_corpus() {
    let names: BTreeSet<String> = ALL.iter().map(|(name, _)| (*name).to_owned()).collect();
    let stems = |folder: &str| -> BTreeSet<String> {
        files(&here().join(folder))
            .iter()
            .map(|path| path.file_stem().expect("a name").to_string_lossy().into_owned())
            .collect()
    };
    assert_eq!(stems("targets"), names);
    assert_eq!(stems("corpus"), names);
    assert_eq!(stems("dictionaries"), names);
    let package = std::fs::read_to_string(here().join("Cargo.toml")).expect("the package");
    for name in &names {
        assert!(package.contains(&format!("name = \"{name}\"\npath = \"targets/{name}.rs\"\n")), "{name} is no target");
    }
}
