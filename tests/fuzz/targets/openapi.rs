//! Any bytes as an OpenAPI document.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tollgate::upstream::catalogue::Catalogue;

fuzz_target!(|bytes: &[u8]| {
    let _ = Catalogue::read(bytes);
});
