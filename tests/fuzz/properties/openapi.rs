//! Any bytes as an OpenAPI document: its names are those of all its pipes, whatever else it says.

use tollgate::upstream::catalogue::{Catalogue, Names};

/// Tries these bytes.
pub fn holds(bytes: &[u8]) {
    let names = Names::read(bytes);
    let Ok(catalogue) = Catalogue::read(bytes) else { return };
    let names = names.expect("the outline of a document that can be read");
    for name in catalogue.pipes.keys() {
        assert!(names.pipes.contains(name), "{name:?}");
    }
    let parameters = catalogue.pipes.values().map(|pipe| pipe.parameters.len()).sum::<usize>();
    let most = 10 * bytes.len() + 1000;
    assert!(parameters <= most && catalogue.remarks.len() <= most, "more comes out than went in");
}
